"""Usage and budgets: charts, tables, CSV."""

import csv
import io

import pytest

from agents_store_cloudflare import OperatorConsole, StreamObject, UsageOptions, create_cloudflare_store
from agents_store_cloudflare.console.csv_text import csv_text
from agents_store_cloudflare.testing import LocalObjects
from tests.console.conftest import Site


async def _use(
    site: Site, session_id: str, model: str = "m", cost_micros: int = 1_000_000, agent: str = "chat"
) -> None:
    await site.store.usage_store.record_tokens(
        session_id, model=model, tokens={"prompt": 100, "completion": 20}, cost_micros=cost_micros, agent=agent
    )


@pytest.mark.parametrize("by", ["day", "model", "agent", "tool"])
async def test_totals_are_the_stores(site: Site, by: str) -> None:
    """The page shows the result of `get_totals` as a chart, a table, JSON and CSV."""
    await _use(site, "a/1", "m1", 2_000_000)
    await _use(site, "a/2", "m2", 500_000, agent="coder")
    await site.store.usage_store.record_tool("a/1", tool_name="search", duration_ms=3, success=False)
    expected = await site.store.usage_store.get_totals(by)  # type: ignore[arg-type]
    listed = (await site.data(f"/console/api/usage?by={by}"))["totals"]
    assert listed == [each.to_dict() for each in expected]
    page = await site.page(f"/console/usage?by={by}")
    assert len(page.tags("rect")) == len(expected)
    for each in expected:
        assert each.key in page.text
    answer = await site.ask(f"/console/usage.csv?by={by}")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(str(answer.body))))
    assert [(row[by], int(row["cost_micros"])) for row in rows] == [(each.key, each.cost_micros) for each in expected]


async def test_filters_and_bad_ones(site: Site) -> None:
    """Days and names narrow the totals. A bad day is refused."""
    await _use(site, "a/1", "m1")
    await _use(site, "a/1", "m2")
    found = await site.data("/console/api/usage?by=model&model=m2&first_day=2000-01-01")
    assert [each["key"] for each in found["totals"]] == ["m2"]
    assert (await site.data("/console/api/usage?by=model&last_day=2000-01-01"))["totals"] == []
    assert "No usage fits" in (await site.page("/console/usage?last_day=2000-01-01")).text
    for bad in ("by=x", "first_day=yesterday", "by=tenant&cursor=__x"):
        assert (await site.ask(f"/console/usage?{bad}")).status == 400


async def test_tenants_are_prefixes_of_session_ids(site: Site) -> None:
    """The page has the cost of each tenant, also with a prefix."""
    for session_id, cost in (("acme/1", 1), ("acme/2", 2), ("beta/1", 5), ("solo", 7)):
        await _use(site, session_id, cost_micros=cost * 1_000_000)

    async def found(query: str) -> dict[str, int]:
        totals = (await site.data(f"/console/api/usage?by=tenant&{query}"))["totals"]
        return {each["key"]: each["costMicros"] // 1_000_000 for each in totals}

    assert await found("") == {"acme/": 3, "beta/": 5, "solo": 7}
    assert await found("prefix=acme") == {"acme/": 3}
    assert await found("separator=a") == {"a": 3, "beta": 5, "solo": 7}


async def test_many_tenants_come_in_parts(site: Site) -> None:
    """2,000 rows of totals are one part. The next part begins after the last complete tenant, and nobody is counted twice."""
    entries = [
        {
            "session_id": f"t{number // 3:04}/{number % 3}",
            "kind": "tokens",
            "source": {"type": "agent", "name": "a"},
            "model": "m",
            "tokens": {"prompt": 1, "completion": 0},
            "cost_micros": 1,
        }
        for number in range(2400)
    ]
    for start in range(0, 2400, 400):
        await site.store.usage_store.record_entries(entries[start : start + 400])
    first = await site.data("/console/api/usage?by=tenant")
    second = await site.data(f"/console/api/usage?by=tenant&cursor={first['nextCursor']}")
    assert second["nextCursor"] is None
    totals = [*first["totals"], *second["totals"]]
    assert len(totals) == 800
    assert {each["costMicros"] for each in totals} == {3}


async def test_a_tenant_of_very_many_sessions_is_told_to_be_counted_in_part(site: Site) -> None:
    """A tenant that fills a whole part is marked, and the next part begins after it."""
    for start in range(0, 2001, 400):
        await site.store.usage_store.record_entries(
            [
                {
                    "session_id": f"big/{number}",
                    "kind": "custom",
                    "source": {"type": "agent", "name": "a"},
                    "name": "n",
                    "value": 1,
                }
                for number in range(start, min(start + 400, 2001))
            ]
        )
    await _use(site, "small/1")
    first = await site.data("/console/api/usage?by=tenant")
    assert (first["partial"], first["totals"][0]["entryCount"]) == ("big/", 2000)
    page = await site.page("/console/usage?by=tenant")
    assert "its totals are not complete" in page.text
    onward = next(link for link in page.links() if "cursor=" in link)
    assert "small/" in (await site.page(onward)).text


async def test_budgets_with_bars(site: Site) -> None:
    """Each scope has a bar of spent and reserved amounts. A session shows its own scope and the scopes around it."""
    usage = site.store.usage_store
    await usage.set_budget("team", 10_000_000, "micro_usd")
    await usage.set_budget("s", 4_000_000, "micro_usd", parent="team")
    reservation = await usage.reserve("s", 1_000_000)
    assert reservation is not None
    await usage.settle(reservation, 2_000_000)
    page = await site.page("/console/budgets")
    bars = page.tags("meter")
    assert [(bar["value"], bar["max"]) for bar in bars] == [("2000000", "4000000"), ("2000000", "10000000")]
    assert "50 %" in page.text
    assert "$8.00" in page.text
    listed = (await site.data("/console/api/budgets"))["budgets"]
    assert [(each["scope"], each["remaining"], each["overruns"]) for each in listed] == [
        ("s", 2_000_000, 1),
        ("team", 8_000_000, 1),
    ]
    await site.store.state_store.create_session("s", agent_type="chat")
    of_session = (await site.data("/console/api/session?id=s"))["budgets"]
    assert [each["scope"] for each in of_session] == ["s", "team"]


async def test_budgets_page_by_page(site: Site) -> None:
    """60 budgets fill two pages."""
    for number in range(60):
        await site.store.usage_store.set_budget(f"b-{number:02}", 10, "tokens")
    first = await site.data("/console/api/budgets")
    assert (len(first["budgets"]), first["nextAfter"]) == (50, "b-49")
    second = await site.data("/console/api/budgets?after=b-49")
    assert (len(second["budgets"]), second["nextAfter"]) == (10, None)


def test_no_cell_is_a_formula() -> None:
    """A text that a spreadsheet would compute stays text. Quotes, commas and line breaks stay in their cell."""
    texts = ["=1+1", "+1", "-1", "@x", "\t=1", "  =1", "\r\n=1", "＝1", 'a"b,c\nd', "plain"]
    rows = list(csv.reader(io.StringIO(csv_text(["text", "number"], [(text, -5) for text in texts]), newline="")))
    assert [row[1] for row in rows[1:]] == ["-5"] * len(texts)
    assert [row[0] for row in rows[1:]] == [f"'{text}" for text in texts[:8]] + texts[8:]


async def test_a_store_with_a_usage_table_of_its_own(site: Site) -> None:
    """The console reads the table of `usage_options`, for example for the totals of tenants."""
    streams = LocalObjects(StreamObject)
    options = UsageOptions(table_name="mine")
    site.store = create_cloudflare_store(db=site.database, streams=streams, locks=site.locks, usage_options=options)
    site.console = OperatorConsole(site.store, authorize=site.yes)
    await site.store.usage_store.ensure_table()
    await _use(site, "a/1", "m1", 2_000_000)
    [tenant] = (await site.data("/console/api/usage?by=tenant"))["totals"]
    assert (tenant["key"], tenant["costMicros"]) == ("a/", 2_000_000)
