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
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from agents_store_cloudflare.database import Row, SqlValue, Statement, compact_sql
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
    "UNASKED",
    "WHERE",
    "read_rows",
    "read_statements",
    "statements_text",
    "with_place",
]

BATCH: Final = "batch"

PART: Final = "part"
"""The operation that sends a part of a request whose statements do not fit into one call.

After the last part comes `batch` with `request` and `parts`.
"""

DRAIN: Final = "drain"
"""The operation that sends the outbox to D1 now."""

PROJECT: Final = "project"
"""The operation that sends every session to the directory again. It needs no name, because a home knows its own name."""

SIZE: Final = "size"
"""The operation that returns the size of the home's database in bytes."""

WHERE: Final = "where"
"""The operation that returns whether the home has the lock and the stream of its name.

`where` and every operation of the lock and the stream carry a place, which is one of the next three constants or `APART`.
"""

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


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def statements_text(statements: Iterable[Statement]) -> str:
    """Return the payload of a request: one line for each statement."""
    return "\n".join(_encode([compact_sql(each.sql), each.parameters]) for each in statements)


def read_statements(payload: str) -> list[tuple[str, tuple[SqlValue, ...]]]:
    """Return the statements of a request."""
    lines: list[list[Any]] = [json.loads(line) for line in payload.split("\n")]
    return [(sql, tuple(parameters)) for sql, parameters in lines]


def read_rows(payload: str) -> list[list[Row]]:
    """Return the rows of each statement of a reply."""
    return [json.loads(line) for line in payload.split("\n")]
