"""The checker of histories: what it must find, what it must let pass, and that its answers are exact."""

import itertools
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.testing.history import Operation, Recorder, check_history, read_history
from agents_store_cloudflare.testing.history.operations import parse_operations
from tests.lengths import length


def _op(op: str, start: float, end: float, *, outcome: str = "ok", **fields: Any) -> dict[str, Any]:
    return {"op": op, "outcome": outcome, "start": start, "end": end, **fields}


def _grant(token: int, start: float, end: float, **fields: Any) -> dict[str, Any]:
    return _op("grant", start, end, key="k", token=token, **fields)


def _refresh(token: int, start: float, end: float, **fields: Any) -> dict[str, Any]:
    return _op("refresh", start, end, key="k", token=token, **fields)


def _write(value: str, token: int, start: float, end: float, **fields: Any) -> dict[str, Any]:
    return _op("write", start, end, resource="r", token=token, value=value, **fields)


def _read(value: str | None, start: float, end: float) -> dict[str, Any]:
    return _op("read", start, end, resource="r", value=value)


def _contents(*values: str, start: float = 90, end: float = 99) -> dict[str, Any]:
    return _op("contents", start, end, resource="r", values=list(values))


def _rules(*operations: dict[str, Any]) -> set[str]:
    return {violation.rule for violation in check_history(parse_operations(map(json.dumps, operations)))}


GOOD = [
    _grant(1, 0, 1),
    _refresh(1, 1, 2),
    _read(None, 2, 3),
    _write("a", 1, 2, 4),
    _read("a", 3, 5),
    _refresh(1, 8, 9, outcome="refused"),
    _grant(2, 6, 7),
    _write("b", 2, 7, 8),
    _write("late", 1, 9, 10, outcome="refused"),
    _write("lost", 2, 9, 9, outcome="unknown"),
    _read("b", 10, 11),
    _read("lost", 12, 13),
    _op("release", 13, 14, key="k", token=2),
    _op("release", 14, 15, key="k", token=2),
    _write("never", 2, 15, 16, outcome="unknown"),
]


def test_a_good_history_passes() -> None:
    """LK-27: Refusals, lost replies and overlapping calls are no violations."""
    assert _rules(*GOOD) == set()
    assert _rules(_write("a", 1, 0, 1), _write("u", 1, 2, 2, outcome="unknown"), _contents("a", "u")) == set()


@pytest.mark.parametrize(
    ("rule", "operations"),
    [
        ("token reused", [_grant(5, 0, 1), _grant(5, 0, 9)]),
        ("token fell", [_grant(5, 0, 1), _grant(4, 2, 3)]),
        ("token fell", [_grant(9, 0, 1), _grant(3, 0, 5), _grant(4, 2, 3)]),
        ("lease revived", [_grant(1, 0, 1), _grant(2, 2, 3), _refresh(1, 4, 5)]),
        ("lease revived", [_grant(1, 0, 1), _refresh(1, 2, 3, outcome="refused"), _refresh(1, 4, 5)]),
        ("lease revived", [_grant(1, 0, 1), _op("release", 2, 3, key="k", token=1), _refresh(1, 4, 5)]),
        ("lease revived", [_grant(1, 0, 1, valid_until=50), _refresh(1, 4, 5, clock=50, valid_until=80)]),
        ("write out of token order", [_write("b", 2, 0, 1), _write("a", 1, 2, 3)]),
        ("write out of token order", [_write("b", 2, 0, 9), _read("b", 2, 3), _write("a", 1, 0, 8), _read("a", 4, 5)]),
        ("write out of token order", [_write("b", 2, 0, 9), _write("a", 1, 0, 9), _contents("b", "a")]),
        ("write lost", [_write("a", 1, 0, 1), _contents()]),
        ("write from nowhere", [_read("x", 0, 1)]),
        ("write from nowhere", [_read("a", 0, 1), _write("a", 1, 2, 3)]),
        ("write from nowhere", [_write("b", 2, 0, 1), _write("a", 1, 0, 1, outcome="refused"), _read("a", 2, 3)]),
        ("write from nowhere", [_write("b", 2, 0, 1), _write("a", 1, 0, 1, outcome="refused"), _contents("a", "b")]),
        ("write from nowhere", [_write("a", 1, 0, 1), _contents("a", "a")]),
        ("write refused for nothing", [_write("b", 2, 0, 1), _write("a", 2, 2, 3, outcome="refused")]),
        ("not linearizable", [_write("a", 1, 0, 1), _read(None, 2, 3)]),
        ("not linearizable", [_write("a", 1, 0, 1), _write("b", 1, 2, 3), _read("a", 4, 5)]),
        ("not linearizable", [_write("a", 1, 0, 1), _write("b", 1, 2, 3), _contents("b", "a")]),
    ],
)
def test_what_is_broken_is_found(rule: str, operations: list[dict[str, Any]]) -> None:
    """LK-27: Each rule is broken by as few operations as possible, and the checker finds it."""
    assert rule in _rules(*operations)


@pytest.mark.parametrize(
    "operations",
    [
        [_grant(5, 0, 3), _grant(4, 2, 3)],
        [_grant(1, 0, 1), _grant(2, 2, 6), _refresh(1, 4, 5)],
        [_grant(1, 0, 1, valid_until=50), _refresh(1, 1, 2, outcome="unknown"), _refresh(1, 4, 5, clock=60)],
        [
            _grant(1, 0, 1, valid_until=50),
            _refresh(1, 1, 5, valid_until=90),
            _refresh(1, 4, 5, clock=60, valid_until=95),
        ],
        [_write("b", 2, 0, 2), _write("a", 1, 1, 3)],
        [_write("a", 1, 0, 95), _contents()],
        [_write("a", 1, 0, 1), _write("b", 1, 2, 3), _read("a", 0, 2), _read("b", 3, 4)],
    ],
)
def test_what_may_have_been_is_let_pass(operations: list[dict[str, Any]]) -> None:
    """LK-27: If calls overlap or an outcome is unknown, one order without a violation is enough."""
    assert _rules(*operations) == set()


def _can_be_put_in_order(operations: Sequence[Operation]) -> bool:
    """Return whether some order works, by trying every order. Reads see the last write, and tokens never fall."""
    sure = [each for each in operations if each.outcome == "ok"]
    unsure = [each for each in operations if each.outcome == "unknown"]
    happened = itertools.chain.from_iterable(itertools.combinations(unsure, count) for count in range(len(unsure) + 1))
    return any(_has_an_order([*sure, *some]) for some in happened)


def _has_an_order(operations: list[Operation]) -> bool:
    def extend(left: list[Operation], value: object, token: int) -> bool:
        if not left:
            return True
        for each in left:
            if any(other.end < each.start for other in left):
                continue
            rest = [other for other in left if other is not each]
            if each.op == "read" and each.value == value and extend(rest, value, token):
                return True
            if each.op == "write" and each.token >= token and extend(rest, each.value, each.token):
                return True
        return False

    return extend(operations, None, 0)


@st.composite
def _registers(draw: st.DrawFn) -> list[Operation]:
    writes = draw(st.integers(0, 4))
    values: list[str | None] = [None, *(f"v{number}" for number in range(writes))]
    operations: list[Operation] = []
    for number in range(writes + draw(st.integers(0, 4))):
        start = draw(st.integers(0, 12))
        is_unknown = draw(st.booleans()) and number < writes
        operations.append(
            Operation(
                op="write" if number < writes else "read",
                name="r",
                outcome="unknown" if is_unknown else "ok",
                start=start,
                end=math.inf if is_unknown else start + draw(st.integers(0, 6)),
                line=number + 1,
                token=draw(st.integers(1, 3)) if number < writes else 0,
                value=values[number + 1] if number < writes else draw(st.sampled_from(values)),
            )
        )
    return operations


@settings(max_examples=length(600, 20_000), deadline=None)
@given(_registers())
def test_the_answer_is_exact(operations: list[Operation]) -> None:
    """LK-27: The quick check of a guarded register gives the same answer as trying every order."""
    assert (check_history(operations) == []) == _can_be_put_in_order(operations)


def test_values_that_look_alike_are_refused() -> None:
    """LK-27: Two writes of one value are refused, because a read cannot tell them apart."""
    with pytest.raises(InvalidArgumentError, match="line 2"):
        _rules(_write("a", 1, 0, 1), _write("a", 1, 2, 3))


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"op": "steal", "key": "k", "outcome": "ok", "start": 0, "end": 1}',
        '{"op": "grant", "key": "k", "outcome": "ok", "start": 0, "end": 1}',
        '{"op": "grant", "key": "k", "token": true, "outcome": "ok", "start": 0, "end": 1}',
        '{"op": "grant", "key": 5, "token": 1, "outcome": "ok", "start": 0, "end": 1}',
        '{"op": "grant", "key": "k", "token": 1, "outcome": "fine", "start": 0, "end": 1}',
        '{"op": "grant", "key": "k", "token": 1, "outcome": "ok", "start": 2, "end": 1}',
        '{"op": "grant", "key": "k", "token": 1, "outcome": "ok", "start": "2", "end": 3}',
        '{"op": "write", "resource": "r", "token": 1, "value": [], "outcome": "ok", "start": 2, "end": 3}',
        '{"op": "read", "resource": "r", "outcome": "ok", "start": 2, "end": 3}',
    ],
)
def test_what_is_no_operation_is_refused(line: str) -> None:
    """LK-27: A line outside the format is an error that names the line. It is never skipped."""
    with pytest.raises(InvalidArgumentError, match="line 3"):
        list(parse_operations(["", json.dumps(GOOD[0]), line]))


def test_what_is_recorded_is_read(tmp_path: Path) -> None:
    """LK-27: The checker reads the lines that the recorder writes."""
    times = itertools.count(1)
    with Recorder(tmp_path / "h.jsonl", now=lambda: next(times)) as recorder:
        start = recorder.now()
        recorder.add("grant", "ok", start, key="k", token=7, valid_until=40, client="a")
        recorder.add("refresh", "ok", recorder.now(), key="k", token=7, valid_until=60, clock=30)
        recorder.add("write", "unknown", recorder.now(), resource="r", token=7, value="é\n")
        recorder.add("read", "ok", recorder.now(), resource="r")
        recorder.add("contents", "ok", recorder.now(), resource="r", values=["é\n"])
        assert recorder.count == 5
    operations = read_history(tmp_path / "h.jsonl")
    assert [(each.op, each.name, each.start, each.end, each.token, each.value) for each in operations] == [
        ("grant", "k", 1, 2, 7, None),
        ("refresh", "k", 3, 4, 7, None),
        ("write", "r", 5, math.inf, 7, "é\n"),
        ("read", "r", 7, 8, 0, None),
        ("contents", "r", 9, 10, 0, None),
    ]
    assert operations[1].clock == 30
    assert operations[4].values == ("é\n",)
    assert check_history(operations) == []


@pytest.mark.parametrize(
    ("operations", "status", "says"),
    [
        (GOOD, 0, "15 operations, no violation"),
        ([_grant(5, 0, 1), _grant(4, 2, 3)], 1, "token fell: k: token 4 was granted after 5 (line 1, 2)"),
        ([{"op": "nothing"}], 2, "line 1"),
    ],
)
def test_the_command(tmp_path: Path, operations: list[dict[str, Any]], status: int, says: str) -> None:
    """LK-27: The exit status is 0 without findings, 1 for violations, and 2 for a file that is no history. The output names the lines."""
    path = tmp_path / "h.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in operations))
    command = [sys.executable, "-m", "agents_store_cloudflare.testing.history", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert says in done.stdout + done.stderr
