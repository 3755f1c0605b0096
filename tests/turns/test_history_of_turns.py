"""The checker of histories knows turns: what it must find, what it must let pass, and what real turns leave."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest

from agents_store_cloudflare import AgentsStoreError, CloudflareStore
from agents_store_cloudflare.testing.history import Recorder, check_history, read_history
from agents_store_cloudflare.testing.history.operations import parse_operations
from tests.lengths import length
from tests.turns.world import World

Made = dict[str, Any]


def _op(op: str, start: float, end: float, *, outcome: str = "ok", **fields: Any) -> Made:
    return {"op": op, "outcome": outcome, "start": start, "end": end, "session": "s", **fields}


def _enter(token: int, turn_id: str, start: float, end: float, **fields: Any) -> Made:
    return _op("enter", start, end, token=token, value=turn_id, **fields)


def _commit(token: int, value: str, start: float, end: float, **fields: Any) -> Made:
    return _op("commit", start, end, token=token, value=value, **fields)


def _close(token: int, start: float, end: float, status: str = "completed", **fields: Any) -> Made:
    return _op("close", start, end, token=token, value=status, **fields)


def _told(*tokens: int) -> Made:
    return _op("told", 90, 99, values=list(tokens))


def _kept(*values: str) -> Made:
    return _op("kept", 90, 99, values=list(values))


def _rules(*operations: Made) -> set[str]:
    return {violation.rule for violation in check_history(parse_operations(map(json.dumps, operations)))}


DIES = [_enter(1, "t", 0, 1), _commit(1, "a", 2, 3)]
TAKES_OVER = [_enter(2, "u", 10, 11), _commit(2, "b", 12, 13), _close(2, 14, 15)]


def test_good_turns_pass() -> None:
    """LK-27: Dead turns, lost replies, second attempts and sweeps are no violations."""
    assert _rules(*DIES, *TAKES_OVER, _told(1, 2), _kept("a", "b")) == set()
    assert _rules(*DIES, _enter(2, "t", 10, 11), _close(2, 12, 13), _told(1, 2), _kept("a")) == set()
    assert _rules(*DIES, _op("sweep", 10, 11, token=2), _told(1)) == set()
    lost = _op("enter", 5, 5, outcome="unknown", value="x")
    assert _rules(*DIES, lost, *TAKES_OVER, _told(1, 7, 2)) == set()
    assert _rules(_enter(1, "t", 0, 1), _close(1, 2, 2, outcome="unknown"), _told()) == set()
    assert _rules(_enter(1, "t", 0, 1), _close(1, 2, 2, outcome="unknown"), _told(1)) == set()
    assert _rules(*DIES, _commit(1, "late", 12, 13, outcome="refused"), *TAKES_OVER, _kept("a", "b")) == set()


@pytest.mark.parametrize(
    ("rule", "operations"),
    [
        ("token reused", [_enter(1, "t", 0, 1), _enter(1, "u", 5, 6)]),
        ("token fell", [_enter(2, "t", 0, 1), _enter(1, "u", 5, 6)]),
        ("turn wrote after its end", [*DIES, *TAKES_OVER, _commit(1, "late", 16, 17)]),
        ("turn wrote after its end", [*DIES, *TAKES_OVER, _close(1, 16, 17)]),
        ("turn wrote after its end", [*DIES, _op("sweep", 10, 11, token=2), _commit(1, "late", 12, 13)]),
        ("turn wrote after its end", [*DIES, _close(1, 4, 5), _commit(1, "late", 6, 7)]),
        ("turn ran twice", [*DIES, _close(1, 4, 5), _enter(2, "t", 6, 7)]),
        ("end told twice", [*DIES, *TAKES_OVER, _told(1, 1, 2)]),
        ("end not told", [*DIES, *TAKES_OVER, _told(2)]),
        ("end not told", [*DIES, _op("sweep", 10, 11, token=2), _told()]),
        ("end not told", [*DIES, _close(1, 4, 5), _told()]),
        ("end from nowhere", [*DIES, _told(1)]),
        ("end from nowhere", [*DIES, *TAKES_OVER, _told(1, 2, 3)]),
        ("write lost", [*DIES, *TAKES_OVER, _kept("b")]),
        ("write from nowhere", [*DIES, _kept("a", "a")]),
        ("write from nowhere", [*DIES, _commit(1, "no", 5, 6, outcome="refused"), _kept("a", "no")]),
        ("write out of token order", [*DIES, *TAKES_OVER, _kept("b", "a")]),
    ],
)
def test_bad_turns_are_found(rule: str, operations: list[Made]) -> None:
    """LK-27: Few operations break each guarantee of turns, and the checker finds it."""
    assert rule in _rules(*operations)


class Caller:
    """Makes turns in a store and records the results."""

    def __init__(self, name: str, store: CloudflareStore, recorder: Recorder, dice: Random) -> None:
        self._name = name
        self._store = store
        self._recorder = recorder
        self._dice = dice

    async def work(self, turns: int) -> None:
        for number in range(turns):
            with suppress(AgentsStoreError, ZeroDivisionError):
                await self._turn(f"{self._name[:-1]}-{self._dice.choice('xy')}{number}")

    async def _turn(self, turn_id: str) -> None:
        start = self._recorder.now()
        block = self._store.turn("s", agent_type="a", turn_id=turn_id, auto_refresh=False)
        token = 0
        try:
            async with block as turn:
                token = turn.lock.fencing_token
                self._add("enter", start, token, turn_id)
                start = self._recorder.now()
                turn.add({"role": "user", "content": f"{self._name} {turn_id}"})
                await turn.commit()
                self._add("commit", start, token, f"{self._name} {turn_id}")
                await asyncio.sleep(0)
                if self._dice.random() < 0.3:
                    _ = 1 / 0
                start = self._recorder.now()
        except ZeroDivisionError:
            self._add("close", start, token, "failed")
            raise
        self._add("close", start, token, "completed")

    def _add(self, op: Any, start: int, token: int, value: str) -> None:
        self._recorder.add(op, "ok", start, session="s", token=token, value=value, client=self._name)


async def _history(tmp_path: Path, bend: Callable[[list[Made]], None] | None = None) -> set[str]:
    """Return the violations of a real history after one change."""
    world = await World.of("plain")
    path = tmp_path / "turns.jsonl"
    with Recorder(path) as recorder:
        stores = [world.worker().store for _ in range(3)]
        for number in range(length(4, 60)):
            callers = [
                Caller(f"c{number}-{at}", store, recorder, Random(number * 3 + at)) for at, store in enumerate(stores)
            ]
            for caller in callers:
                await caller.work(2)
        await stores[0].sweep_turns()
        start = recorder.now()
        runs = await stores[0].state_store.list_runs("s")
        state = await stores[0].state_store.load_state("s", required=True)
        values = [str(message.get("content")) for message in state.messages][1:]
        recorder.add("kept", "ok", start, session="s", values=values)
        assert len(runs) > 10
    operations = [json.loads(line) for line in path.read_text().splitlines()]
    if bend is not None:
        bend(operations)
    path.write_text("".join(json.dumps(each) + "\n" for each in operations))
    return {violation.rule for violation in check_history(read_history(path))}


def _lose_a_commit(operations: list[Made]) -> None:
    operations[-1]["values"] = operations[-1]["values"][1:]


def _let_a_dead_turn_write(operations: list[Made]) -> None:
    first = next(each for each in operations if each["op"] == "enter")
    last = operations[-1]["start"]
    operations.append(_commit(first["token"], "late", last, last + 1))


@pytest.mark.parametrize(
    ("bend", "rule"),
    [(None, None), (_lose_a_commit, "write lost"), (_let_a_dead_turn_write, "turn wrote after its end")],
)
async def test_real_turns(tmp_path: Path, bend: Callable[[list[Made]], None] | None, rule: str | None) -> None:
    """LK-27: The history of turns of several Workers has no violation. A changed history has one."""
    assert await _history(tmp_path, bend) == (set() if rule is None else {rule})
