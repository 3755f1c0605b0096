"""The row that an object keeps for forgotten keys: the highest token, and the tokens whose leases expired."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agents_store_cloudflare.database import ObjectSql
from agents_store_cloudflare.locks.lease import LostTokens, StoredLease

__all__ = ["Floor", "ForgottenTokens"]

FLOOR: Final = "floor_v1"
LOST_REMEMBERED: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgottenTokens:
    """The tokens of keys that were forgotten.

    Attributes:
        token: the highest token of all forgotten keys. A new key begins above it. 0 when no key was forgotten.
        blurred: the highest lost token that has left the list. Up to it, releases and expiries cannot be told apart.
        lost: the newest lost tokens with their keys, the lowest token first.
    """

    token: int = 0
    blurred: int = 0
    lost: tuple[tuple[str, int], ...] = ()

    def was_released(self, key: str, token: int) -> bool:
        """Return whether the token of a forgotten key was given back while its lease was live."""
        return self.blurred < token <= self.token and (key, token) not in self.lost

    def lost_of(self, key: str, *, first: int) -> LostTokens:
        """Return the lost tokens of a key that has no lease.

        `first` is the key's next token. If no key was forgotten, no lower token was ever given.
        """
        if not self.token:
            return LostTokens(first=first)
        tokens = [token for lost_key, token in self.lost if lost_key == key]
        return LostTokens(forgotten=self.blurred).with_tokens(tokens)


class Floor:
    """The row of the forgotten tokens."""

    def __init__(self, sql: ObjectSql) -> None:
        self._sql = sql

    def raise_to(self, leases: Mapping[str, StoredLease]) -> None:
        """Remember the leases of keys that are being forgotten."""
        if not leases:
            return
        stored = self.read()
        all_lost = {key: lease.all_lost() for key, lease in leases.items()}
        lost = {*stored.lost, *((key, token) for key, each in all_lost.items() for token in each.tokens)}
        rising = sorted(lost, key=lambda pair: (pair[1], pair[0]))
        dropped = rising[:-LOST_REMEMBERED]
        self._write(
            stored,
            ForgottenTokens(
                token=max(stored.token, *(lease.fencing_token for lease in leases.values())),
                blurred=max(
                    stored.blurred,
                    *(each.forgotten for each in all_lost.values()),
                    *(token for _, token in dropped),
                ),
                lost=tuple(rising[-LOST_REMEMBERED:]),
            ),
        )

    def read(self) -> ForgottenTokens:
        """Return the tokens. Reads one row."""
        text = self._sql.get_text(FLOOR)
        if text is None:
            return ForgottenTokens()
        token, blurred, lost = json.loads(text)
        return ForgottenTokens(token=token, blurred=blurred, lost=tuple((key, number) for key, number in lost))

    def _write(self, stored: ForgottenTokens, floor: ForgottenTokens) -> None:
        if floor != stored:
            self._sql.put_text(FLOOR, json.dumps([floor.token, floor.blurred, floor.lost], ensure_ascii=False))
