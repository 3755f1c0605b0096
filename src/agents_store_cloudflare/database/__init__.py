"""The two SQL seams. Above them is plain Python and SQL text. Below them is D1, a Durable Object or sqlite3.

- `Database` is asynchronous and has one call: a batch of statements. A batch is one transaction; this is D1's own rule.
- `ObjectSql` is synchronous: the SQLite database inside a Durable Object. Code between two awaits is exclusive there.

Numbers cross into JavaScript as doubles, so no parameter is an integer beyond 2^53 - 1. User JSON crosses as text. A guard is a SELECT
that aborts its batch. It puts live facts into the text of the error (`GUARD_MARK`) and writes no row.
"""

from agents_store_cloudflare.database.errors import GUARD_MARK, LostReplyError, SqlError
from agents_store_cloudflare.database.interfaces import (
    BatchCost,
    BatchObserver,
    Database,
    DatabaseSession,
    HasSessions,
    Homes,
    ObjectSql,
    OneDatabase,
    RowCursor,
    primary_of,
)
from agents_store_cloudflare.database.retry import ATTEMPTS, batch_with_retry, pause_before_retry
from agents_store_cloudflare.database.statements import (
    LOCK_TOKEN,
    MAX_VALUE_BYTES,
    HomeNumber,
    Row,
    SqlValue,
    Statement,
    compact_sql,
)

__all__ = [
    "ATTEMPTS",
    "GUARD_MARK",
    "LOCK_TOKEN",
    "MAX_VALUE_BYTES",
    "BatchCost",
    "BatchObserver",
    "Database",
    "DatabaseSession",
    "HasSessions",
    "HomeNumber",
    "Homes",
    "LostReplyError",
    "ObjectSql",
    "OneDatabase",
    "Row",
    "RowCursor",
    "SqlError",
    "SqlValue",
    "Statement",
    "batch_with_retry",
    "compact_sql",
    "pause_before_retry",
    "primary_of",
]
