r"""What a Worker and a home say to each other about batches.

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
"""A part of a request whose statements do not fit into one call. `batch` with `request` and `parts` follows the last."""

DRAIN: Final = "drain"
"""Send the waiting outbox to D1 now."""

PROJECT: Final = "project"
"""Tell the directory of every session once more. It needs no name: a home knows its own."""

SIZE: Final = "size"
"""How many bytes the home's database has."""

WHERE: Final = "where"
"""Whether the home has the lock and the stream of its name. `where` and every operation of these comes with a place:"""

HERE: Final = "here"
"""The home is to have them: nothing of the name lives elsewhere, or nobody wants to know."""

UNASKED: Final = "unasked"
"""The home is to have them, unless objects of their own have something of the name. A home that must know says so."""

FOUND: Final = "found"
"""Objects of their own have something of the name, so they stay there."""

APART: Final = "apart"
"""They are to have objects of their own."""

ELSEWHERE: Final = encode_reply({"elsewhere": True})
ASK_FIRST: Final = encode_reply({"unasked": True})


def with_place(request: str, place: str) -> str:
    """Return a request for a lock or a stream, with its place."""
    return f'{{"place":"{place}",{request[1:]}'


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def statements_text(statements: Iterable[Statement]) -> str:
    """Return the payload of a request: one line a statement."""
    return "\n".join(_encode([compact_sql(each.sql), each.parameters]) for each in statements)


def read_statements(payload: str) -> list[tuple[str, tuple[SqlValue, ...]]]:
    """Return the statements of a request."""
    lines: list[list[Any]] = [json.loads(line) for line in payload.split("\n")]
    return [(sql, tuple(parameters)) for sql, parameters in lines]


def read_rows(payload: str) -> list[list[Row]]:
    """Return the rows of each statement of a reply."""
    return [json.loads(line) for line in payload.split("\n")]
