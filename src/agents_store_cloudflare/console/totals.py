"""Usage over all sessions: by day, model, agent and tool, and by tenant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, cast, get_args

from agents_store_cloudflare.console.asking import Asked
from agents_store_cloudflare.console.sources import Sources
from agents_store_cloudflare.console.usage_sql import TENANT_TOTALS
from agents_store_cloudflare.contract.arguments import check_id, check_text
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.record import Record
from agents_store_cloudflare.contract.usage.records import TokenCounts, UsageTotals
from agents_store_cloudflare.database import Row, Statement
from agents_store_cloudflare.usage.amounts import SPLIT
from agents_store_cloudflare.usage.table_names import for_table

__all__ = ["By", "UsageQuery", "UsageTable", "usage_query", "usage_table"]

By: TypeAlias = Literal["day", "model", "agent", "tool", "tenant"]

MOST_KEYS: Final = 400
TENANT_ROWS: Final = 2_000
LAST_CHARACTER: Final = "\U0010ffff"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageQuery(Record):
    """The query of a page of usage.

    Attributes:
        prefix, separator: for tenants: the prefix of the session ids, and the text that ends a tenant's name in an id.
    """

    by: By = "day"
    first_day: str | None = None
    last_day: str | None = None
    agent: str | None = None
    model: str | None = None
    tool: str | None = None
    prefix: str | None = None
    separator: str = "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageTable(Record):
    """Totals by key.

    Attributes:
        next_cursor: for tenants: the cursor of the next part.
        partial: the tenant with so many sessions that only the first of them are counted; None if all tenants are complete.
    """

    by: By
    totals: tuple[UsageTotals, ...]
    next_cursor: str | None = None
    partial: str | None = None


def usage_query(asked: Asked) -> UsageQuery:
    """Return the query of a request.

    Raises:
        InvalidArgumentError: a parameter breaks a rule.
    """
    query = asked.query
    by = query.get("by", "day")
    if by not in get_args(By):
        raise InvalidArgumentError(f"by must be one of {', '.join(get_args(By))}")
    for name in ("prefix", "separator"):
        if name in query:
            check_text(query[name], name, max_bytes=512)
    names = ("first_day", "last_day", "agent", "model", "tool", "prefix")
    given: dict[str, Any] = {name: query.get(name) for name in names}
    return UsageQuery(by=cast("By", by), separator=query.get("separator", "/"), **given)


async def usage_table(sources: Sources, query: UsageQuery, cursor: str | None = None) -> UsageTable:
    """Return the totals of a query, at most 400 keys. For tenants it reads at most 2,000 rows.

    Raises:
        InvalidArgumentError: a day is no date.
    """
    if query.by == "tenant":
        return await _tenants(sources, query, cursor)
    totals = await sources.usage.get_totals(
        query.by,
        first_day=query.first_day,
        last_day=query.last_day,
        agent=query.agent,
        model=query.model,
        tool=query.tool,
        limit=MOST_KEYS,
    )
    return UsageTable(by=query.by, totals=tuple(totals))


async def _tenants(sources: Sources, query: UsageQuery, cursor: str | None) -> UsageTable:
    start = "" if cursor is None else check_id(cursor, "cursor")
    prefix = query.prefix or ""
    statement = Statement(
        for_table(TENANT_TOTALS, sources.usage_table),
        (start, prefix, prefix + LAST_CHARACTER, query.separator, TENANT_ROWS),
    )
    [rows] = await sources.rows(statement)
    is_full = sum(cast("int", row[1]) for row in rows) >= TENANT_ROWS
    # The last tenant of a full part may have more rows, so the next part begins with this tenant. A tenant that fills a whole part
    # is passed over.
    whole = rows[:-1] if is_full and len(rows) > 1 else rows
    partial = cast("str", rows[0][0]) if is_full and len(rows) == 1 else None
    onward = cast("str", whole[-1][2]) if partial is None and is_full else None
    return UsageTable(
        by="tenant",
        totals=tuple(_totals(row) for row in whole),
        next_cursor=onward if partial is None else partial + LAST_CHARACTER,
        partial=partial,
    )


def _totals(row: Row) -> UsageTotals:
    (
        tenant,
        _,
        _,
        entries,
        calls,
        failed,
        prompt,
        prompt_high,
        completion,
        completion_high,
        cost,
        cost_high,
        unpriced,
        unreadable,
    ) = cast("list[Any]", row)
    return UsageTotals(
        key=tenant,
        entry_count=entries,
        calls=calls,
        failed=failed,
        tokens=TokenCounts(prompt=prompt + prompt_high * SPLIT, completion=completion + completion_high * SPLIT),
        cost_micros=cost + cost_high * SPLIT,
        unpriced_entries=unpriced,
        unreadable_rows=unreadable,
    )
