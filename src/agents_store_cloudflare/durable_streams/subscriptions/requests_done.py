"""The ids of the requests that have changed the subscription index. So a repeated request changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_values import JsonValue
from agents_store_cloudflare.durable_streams.subscriptions.table import SubscriptionTable
from agents_store_cloudflare.streams.commits import Commit

__all__ = ["RequestsDone"]

MOST: Final = 128
"""The number of requests that are remembered. The oldest request is forgotten first."""

SETTING: Final = "requests"


class RequestsDone:
    """The latest requests that made, changed or deleted a subscription, each with its answer. They are stored with the change."""

    def __init__(self, table: SubscriptionTable) -> None:
        self._table = table

    def answer(self, arguments: Mapping[str, Any]) -> list[JsonValue] | None:
        """Return a list with the answer that this request got before; None for a new request.

        Raises:
            InvalidArgumentError: another request has used its commit id.
        """
        commit = Commit.of_request(arguments, "")
        known = None if commit is None else self._all().get(commit.id)
        if commit is None or known is None:
            return None
        digest, answer = known
        if digest not in ("", commit.digest):
            raise InvalidArgumentError(f"commit_id {commit.id!r} was used for another call; give each call its own")
        return [answer]

    def note(self, arguments: Mapping[str, Any], answer: JsonValue) -> None:
        """Remember a request. Call it inside the transaction of its change."""
        commit = Commit.of_request(arguments, "")
        if commit is not None:
            self._add({commit.id: (commit.digest, answer)})

    def note_ended(self, commit_ids: Iterable[str]) -> None:
        """Remember requests of a subscription that is deleted. Call it inside the transaction of the deletion."""
        ended: dict[str, tuple[str, JsonValue]] = dict.fromkeys(commit_ids, ("", None))
        if ended:
            self._add(ended)

    def _add(self, more: dict[str, tuple[str, JsonValue]]) -> None:
        kept = list({**self._all(), **more}.items())[-MOST:]
        self._table.set(SETTING, json.dumps(dict(kept), separators=(",", ":")))

    def _all(self) -> dict[str, tuple[str, JsonValue]]:
        stored = self._table.setting(SETTING)
        return (
            {} if stored is None else {name: (digest, answer) for name, (digest, answer) in json.loads(stored).items()}
        )
