"""What stays of forgotten keys: the highest token, and the tokens whose leases expired. One row an object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agents_store_cloudflare.database import ObjectSql
from agents_store_cloudflare.locks.lease import LostTokens, StoredLease

__all__ = ["Floor"]

FLOOR: Final = "floor_v1"
LOST_REMEMBERED: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """The row: `token` is the highest forgotten one; `lost` holds the newest lost tokens with their keys, rising by token.

    `blurred` is the highest lost token that is in no list any more: up to it nobody can tell a release from an expiry.
    """

    token: int = 0
    blurred: int = 0
    lost: tuple[tuple[str, int], ...] = ()


class Floor:
    """The tokens of keys that were forgotten. A new key begins above the highest one."""

    def __init__(self, sql: ObjectSql) -> None:
        self._sql = sql

    def token(self) -> int:
        """The highest token of a forgotten key; 0 when no key was forgotten."""
        return self._read().token

    def was_released(self, key: str, token: int) -> bool:
        """Whether the token of a forgotten key was given back while its lease was live."""
        stored = self._read()
        return stored.blurred < token <= stored.token and (key, token) not in stored.lost

    def lost_of(self, key: str, *, first: int) -> LostTokens:
        """The lost tokens of a key that has no lease. When no key was forgotten, its next token, `first`, is its first one."""
        stored = self._read()
        if not stored.token:
            return LostTokens(first=first)
        tokens = [token for lost_key, token in stored.lost if lost_key == key]
        return LostTokens(forgotten=stored.blurred).with_tokens(tokens)

    def raise_to(self, leases: Mapping[str, StoredLease]) -> None:
        """Remember these leases of keys that are forgotten now."""
        if not leases:
            return
        stored = self._read()
        all_lost = {key: lease.all_lost() for key, lease in leases.items()}
        lost = {*stored.lost, *((key, token) for key, each in all_lost.items() for token in each.tokens)}
        rising = sorted(lost, key=lambda pair: (pair[1], pair[0]))
        dropped = rising[:-LOST_REMEMBERED]
        self._write(
            stored,
            _Stored(
                token=max(stored.token, *(lease.fencing_token for lease in leases.values())),
                blurred=max(
                    stored.blurred,
                    *(each.forgotten for each in all_lost.values()),
                    *(token for _, token in dropped),
                ),
                lost=tuple(rising[-LOST_REMEMBERED:]),
            ),
        )

    def _read(self) -> _Stored:
        text = self._sql.get_text(FLOOR)
        if text is None:
            return _Stored()
        token, blurred, lost = json.loads(text)
        return _Stored(token=token, blurred=blurred, lost=tuple((key, number) for key, number in lost))

    def _write(self, stored: _Stored, floor: _Stored) -> None:
        if floor != stored:
            self._sql.put_text(FLOOR, json.dumps([floor.token, floor.blurred, floor.lost], ensure_ascii=False))
