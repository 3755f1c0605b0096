r"""The operations of a history, and the format of its file.

Each line is one JSON object. The lines may have any order. `start` and `end` are the caller's times, by one clock that never goes
back (one machine's monotonic clock, or a counter). A call with a lost reply has the outcome `unknown`, and its `end` does not
count. The fields depend on `op`:

```text
grant     key  token                an acquire that got a lock; not needed where it got none
refresh   key  token                with the token that was refreshed
release   key  token
write     resource  token  value    to a register, or appended to a log; each value of a resource is written once
read      resource  value           what a register held; null before its first write
contents  resource  values          all of a log, in its order
enter     session  token  value     a turn was entered; its value is the turn id. Without a reply there is no token
commit    session  token  value     a commit on the way or at the end, with something unique that it stored
close     session  token  value     the turn ended; its value is the run's status
sweep     session  token            a sweep that closed a dead turn, with the sweep's own token
told      session  values           the tokens of the turns whose closing chunks a reader got, in their order
kept      session  values           what the commits have left in the session, in its order
```

`outcome` is `ok`, `refused` (the call returned and had no effect) or `unknown`. One lock guards a resource. Every call that sends a
token of this lock to the resource is a `write`. A grant or a refresh may have `valid_until`, the end of the lease. A refresh may
also have `clock`, the lowest reading of the same clock between its start and its end. With both, the check also finds leases that
lived on after their end when nobody took them over. `client` and all other fields are for people.

    {"op": "grant", "key": "k", "token": 7, "outcome": "ok", "start": 10, "end": 14, "client": "a"}
    {"op": "write", "resource": "r", "token": 7, "value": "a-1", "outcome": "ok", "start": 15, "end": 19}
    {"op": "read", "resource": "r", "value": "a-1", "outcome": "ok", "start": 16, "end": 18}
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from agents_store_cloudflare.contract.errors import InvalidArgumentError

__all__ = ["Kind", "Operation", "Outcome", "Value", "parse_operations", "read_history"]

Kind: TypeAlias = Literal[
    "grant", "refresh", "release", "write", "read", "contents", "enter", "commit", "close", "sweep", "told", "kept"
]
Outcome: TypeAlias = Literal["ok", "refused", "unknown"]
Value: TypeAlias = "str | int | float | bool | None"

FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "grant": ("key", "token"),
    "refresh": ("key", "token"),
    "release": ("key", "token"),
    "write": ("resource", "token", "value"),
    "read": ("resource", "value"),
    "contents": ("resource", "values"),
    "enter": ("session", "token", "value"),
    "commit": ("session", "token", "value"),
    "close": ("session", "token", "value"),
    "sweep": ("session", "token"),
    "told": ("session", "values"),
    "kept": ("session", "values"),
}
VALUED: Final = frozenset({"write", "commit", "close"})
"""The operations whose value and token are known even without a reply."""

OUTCOMES: Final = ("ok", "refused", "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One call, from its caller's view.

    Attributes:
        name: the lock's key, the resource, or the session.
        end: infinite if the outcome is unknown, because the call may take effect at any later time.
        token: 0 if the operation has no token.
    """

    op: Kind
    name: str
    outcome: Outcome
    start: float
    end: float
    line: int
    token: int = 0
    value: Value = None
    values: tuple[Value, ...] = ()
    valid_until: float | None = None
    clock: float | None = None


def read_history(path: str | Path) -> list[Operation]:
    """Return the operations of a file.

    Raises:
        OSError: the file cannot be read.
        InvalidArgumentError: a line is no operation. The message has its number.
    """
    with Path(path).open(encoding="utf-8") as lines:
        return list(parse_operations(lines))


def parse_operations(lines: Iterable[str]) -> Iterator[Operation]:
    """Return the operations in these lines. Empty lines are skipped."""
    for number, text in enumerate(lines, 1):
        if text.strip():
            try:
                yield _operation(json.loads(text), number)
            except (ValueError, KeyError, TypeError) as error:
                raise InvalidArgumentError(f"line {number} is no operation of a history: {error!r}") from error


def _operation(fields: Mapping[str, Any], line: int) -> Operation:
    op, outcome = fields["op"], fields["outcome"]
    if op not in FIELDS or outcome not in OUTCOMES:
        raise ValueError(f"op {op!r}, outcome {outcome!r}")
    has_value = outcome == "ok" or op in VALUED
    given = {name: fields[name] for name in FIELDS[op] if has_value or name not in ("value", "values", "token")}
    start = _number(fields["start"])
    end = math.inf if outcome == "unknown" else _number(fields["end"])
    if end < start:
        raise ValueError(f"it ends at {end} before it starts at {start}")
    return Operation(
        op=op,
        name=_text(fields[FIELDS[op][0]]),
        outcome=outcome,
        start=start,
        end=end,
        line=line,
        token=_token(fields.get("token"), is_needed="token" in given),
        value=_scalar(given.get("value")),
        values=tuple(map(_scalar, given.get("values", ()))),
        valid_until=None if fields.get("valid_until") is None else _number(fields["valid_until"]),
        clock=None if fields.get("clock") is None else _number(fields["clock"]),
    )


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no time")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no name")
    return value


def _token(value: object, *, is_needed: bool) -> int:
    if value is None and not is_needed:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is no token")
    return value


def _scalar(value: object) -> Value:
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"{type(value).__name__}: values are text, numbers, true, false or null")
