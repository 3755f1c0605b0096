r"""The requests and replies between a Worker and a home.

```text
request  {"op": "batch", "home": …, "session": …, "schema": 1, …}\n["SELECT …", [parameters]]\n…
reply    {"ok": {}}\n[rows of the first statement]\n…
         {"ok": {"next": [statement, rows], "stamp": …}}\n…   the reply was full: ask again with both
         {"ok": {"moved": true}}                             the session has changed since the stamp: read from the beginning
         {"ok": {"failed": "the database's words"}}          nothing was written
         {"ok": {"unchecked": true}}                         it would create a session: does D1 hold one of this id?
         {"ok": {"behind": 1}}                               the object knows schema 1 alone: send the statements of the steps
```

A turn enters in one call, and commits in one call. The parts of a call are ordinary requests to the lock, the home and the stream:

```text
request  {"place": …, "op": "together", "home": …, "acquires": true, "lengths": [characters of each part]}\nthe parts, one after the other
reply    {"ok": {"lengths": […]}}\nthe replies that there are: a part that is refused ends the call
```

The home puts two numbers into the parameters of such a batch. `{"put": "token"}` is the fencing token that the call acquires.
`{"put": "sequence"}` is the stream's last sequence after the call's chunks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, Final

from agents_store_cloudflare.contract.json_values import JsonValue
from agents_store_cloudflare.database import HomeNumber, Row, SqlValue, Statement, compact_sql
from agents_store_cloudflare.objects.rpc_text import encode_reply

__all__ = [
    "APART",
    "ASK_FIRST",
    "BATCH",
    "DRAIN",
    "ELSEWHERE",
    "FOUND",
    "HERE",
    "PART",
    "PROJECT",
    "SIZE",
    "TOGETHER",
    "UNASKED",
    "WATCH",
    "WHERE",
    "joined",
    "put_in",
    "read_rows",
    "read_statements",
    "split",
    "statements_lines",
    "statements_text",
    "with_place",
]

BATCH: Final = "batch"

PART: Final = "part"
"""The operation that sends a part of a request whose statements do not fit into one call.

After the last part comes `batch` with `request` and `parts`.
"""

DRAIN: Final = "drain"
"""The operation that sends the outbox to D1 now; with `tree`, also the sessions that the directory does not have yet."""

PROJECT: Final = "project"
"""The operation that sends every session to the directory again. It needs no name, because a home knows its own name."""

SIZE: Final = "size"
"""The operation that returns the size of the home's database in bytes."""

WHERE: Final = "where"
"""The operation that returns whether the home has the lock and the stream of its name.

`where` and every operation of the lock and the stream carry a place, which is one of the next three constants or `APART`.
"""

TOGETHER: Final = "together"
"""The operation that does calls of a home's lock, sessions and stream in one transaction."""

WATCH: Final = "watch"
"""The operation that waits until the summary of a session is not the known one."""

HERE: Final = "here"
"""The home gets them: no other object has the name, or no check is needed."""

UNASKED: Final = "unasked"
"""The home gets them unless other objects have the name. A home that needs the check says so in its reply."""

FOUND: Final = "found"
"""Other objects have the name, so the lock and the stream stay there."""

APART: Final = "apart"
"""The lock and the stream get objects of their own."""

ELSEWHERE: Final = encode_reply({"elsewhere": True})
ASK_FIRST: Final = encode_reply({"unasked": True})


def with_place(request: str, place: str) -> str:
    """Return a request for a lock or a stream with the place added."""
    return f'{{"place":"{place}",{request[1:]}'


PUT: Final = "put"

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def statements_text(statements: Iterable[Statement], *, leaves_numbers: bool = False) -> str:
    """Return the payload of a request. The reader takes a comma between two statements as the end of a line.

    Args:
        leaves_numbers: True lets the home put in the value of each `HomeNumber`.
    """
    return _encode(_sent(statements, leaves_numbers=leaves_numbers))[1:-1]


def statements_lines(statements: Iterable[Statement], *, leaves_numbers: bool = False) -> str:
    """Return the payload of a request that comes in parts: one line for each statement, because the home reads line by line."""
    return "\n".join(map(_encode, _sent(statements, leaves_numbers=leaves_numbers)))


def _sent(statements: Iterable[Statement], *, leaves_numbers: bool) -> list[list[object]]:
    # A call for each statement would cost more than the rest.
    return [
        [
            compact_sql(each.sql),
            _left(each.parameters) if leaves_numbers and HomeNumber in map(type, each.parameters) else each.parameters,
        ]
        for each in statements
    ]


def _left(parameters: Iterable[SqlValue]) -> list[object]:
    return [{PUT: each.name} if isinstance(each, HomeNumber) else each for each in parameters]


def put_in(parameters: Sequence[Any], numbers: Mapping[str, int]) -> tuple[SqlValue, ...]:
    """Return the parameters of a statement with the numbers that the home puts in."""
    if dict not in map(type, parameters):
        return tuple(parameters)
    return tuple([numbers[each[PUT]] if type(each) is dict else each for each in parameters])


def read_statements(payload: str, numbers: Mapping[str, int]) -> list[tuple[str, tuple[SqlValue, ...]]]:
    """Return the statements of a request."""
    lines: list[list[Any]] = _read_lines(payload)
    if not numbers:
        return [(sql, tuple(parameters)) for sql, parameters in lines]
    return [(sql, put_in(parameters, numbers)) for sql, parameters in lines]


def joined(texts: Sequence[str]) -> tuple[list[JsonValue], str]:
    """Return the lengths of several texts, and the texts as one."""
    return [len(text) for text in texts], "".join(texts)


def split(lengths: Iterable[int], text: str) -> list[str]:
    """Return the texts from the result of `joined`."""
    ends = list(accumulate(lengths, initial=0))
    return [text[start:end] for start, end in pairwise(ends)]


def read_rows(payload: str) -> list[list[Row]]:
    """Return the rows of each statement of a reply."""
    return _read_lines(payload)


def _read_lines(payload: str) -> list[Any]:
    """Return the values of a payload, one for each line. JSON text holds no raw newline, so all lines are read at once."""
    values: list[Any] = json.loads("[" + payload.replace("\n", ",") + "]")
    return values
