"""Driving a call from one suspension point to the next, so that something can happen at each of them."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Coroutine, Generator, Mapping
from typing import Any, cast

__all__ = ["Steps", "mutate", "settle"]


class Steps:
    """A coroutine that counts its suspensions, and does something at one of them.

    Args:
        at: the number of the suspension, from 0. at_suspension: called there, before the task waits.
    """

    def __init__(
        self, work: Coroutine[Any, Any, Any], *, at: int = -1, at_suspension: Callable[[], object] | None = None
    ) -> None:
        self._work = work
        self._at = at
        self._at_suspension = at_suspension
        self.count = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._work.__await__()
        sent: Any = None
        failure: BaseException | None = None
        while True:
            try:
                waiting_for = steps.send(sent) if failure is None else steps.throw(failure)
            except StopIteration as end:
                return end.value
            if self.count == self._at and self._at_suspension is not None:
                self._at_suspension()
            self.count += 1
            sent, failure = None, None
            try:
                sent = yield waiting_for
            except BaseException as error:  # noqa: BLE001 - it belongs to the coroutine
                failure = error


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(40):
        await asyncio.sleep(0)


def mutate(value: Any, seen: set[int] | None = None) -> int:
    """Change every mutable part of a value, and return how many parts there were."""
    seen = set() if seen is None else seen
    if id(value) in seen or value is None:
        return 0
    seen.add(id(value))
    if isinstance(value, dict):
        mapping = cast("dict[Any, Any]", value)  # type: ignore[redundant-cast]
        changed = sum(mutate(each, seen) for each in list(mapping.values()))
        mapping["intruder"] = "intruder"
        return changed + 1
    if isinstance(value, list):
        items = cast("list[Any]", value)  # type: ignore[redundant-cast]
        changed = sum(mutate(each, seen) for each in list(items))
        items.append(items[0] if items and isinstance(items[0], str) else {"role": "user", "type": "t", "intruder": 1})
        return changed + 1
    if isinstance(value, Mapping | tuple):
        parts = list(cast("Any", value).values()) if isinstance(value, Mapping) else list(cast("Any", value))
        return sum(mutate(each, seen) for each in parts)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return sum(mutate(getattr(value, each.name), seen) for each in dataclasses.fields(value))
    return 0
