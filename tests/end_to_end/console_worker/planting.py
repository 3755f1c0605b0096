"""What the console's tests and pictures look at: a believable week of sessions, one that hangs, hostile texts, very many sessions."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from agents_store_cloudflare import AgentState, CloudflareStore, Message, StagedChange

__all__ = ["HOSTILE", "plant"]

DAY_MS = 86_400_000

HOSTILE = (
    "<script>window.hit = 1</script><img src=x onerror='window.hit = 2'> \x1b[31mred\x1b[0m \u202egnihtemos\u202c "
    '[x](javascript:window.hit=3) </pre><svg onload="window.hit=4"> ```</code>``` ${window.hit=5} '
)
"""HTML, a script, ANSI codes, text that runs backwards, a link to a script."""

HOSTILE_NAME = HOSTILE.replace("\x1b", "")
"""The same for names, which take no control characters."""

MARKDOWN = """The fence refuses **stale writers**. In short:

1. take the lock,
2. give its token to `save`,
3. stop when it is lost.

| holder | token | its save |
|---|---|---|
| A | 7 | refused |
| B | 8 | stored |

See [the page on fencing](https://example.com/fencing)."""


async def plant(store: CloudflareStore, db: Any, query: Mapping[str, str]) -> object:
    """Fill the store as `what` says."""
    planters: Mapping[str, Callable[[], Awaitable[object]]] = {
        "demo": lambda: _demo(store),
        "hang": lambda: _hang(store, query["id"]),
        "hostile": lambda: _hostile(store),
        "chunks": lambda: _chunks(store, query["id"], int(query["first"]), int(query["count"])),
        "session": lambda: _session(store, query["id"]),
        "many": lambda: _many(store, db, int(query["count"])),
    }
    return await planters[query["what"]]()


async def _session(store: CloudflareStore, session_id: str) -> list[str]:
    """Store a session of three turns with a checkpoint after each, and return the checkpoints' ids."""
    states = store.state_store
    state = await states.create_session(session_id, agent_type="support", initial_state={"plan": ["look"], "tries": 0})
    ids: list[str] = []
    for number in range(1, 4):
        said: list[dict[str, Any]] = [
            {"role": "user", "content": f"Question {number} of {session_id}"},
            {
                "role": "assistant",
                "thinking": "The question is about fencing, so look there first.",
                "content": None,
                "toolCalls": [{"id": f"call-{number}", "name": "search", "arguments": {"query": "fencing token"}}],
            },
            {
                "role": "tool",
                "toolCallId": f"call-{number}",
                "toolName": "search",
                "content": "fencing.md: the token rises",
            },
            {"role": "assistant", "content": MARKDOWN},
        ]
        state.messages += cast("list[Message]", said)
        state.step_count = number
        state.custom_state = {
            "plan": ["look", *["answer"] * number],
            "tries": number,
            "sources": {"fencing.md": number},
        }
        ids.append((await states.save_checkpoint(session_id, state)).id)
    await states.stage_changes(
        session_id, "step-4", StagedChange(tool_call_id="call-4", merge_changes={"notes": ["not yet sure"]})
    )
    return ids


async def _demo(store: CloudflareStore) -> None:
    """Store a week of three tenants."""
    now_ms = time.time_ns() // 1_000_000
    usage = store.usage_store
    await usage.set_budget("acme", 25_000_000, "micro_usd")
    await usage.set_budget("acme/monthly-report", 4_000_000, "micro_usd", parent="acme")
    for number, name in enumerate(
        ("acme/monthly-report", "acme/invoices", "beta/support-17", "beta/support-18", "gamma/research")
    ):
        await _session(store, name)
        entries: list[dict[str, Any]] = []
        for day in range(7):
            model = ("gpt-large", "claude-mid", "gpt-small")[(number + day) % 3]
            tokens = 900 * (1 + (number * 7 + day * 5) % 6)
            entries += [
                {
                    "session_id": name,
                    "kind": "tokens",
                    "timestamp": now_ms - day * DAY_MS,
                    "source": {"type": "agent", "name": name.split("/")[1].split("-")[0]},
                    "model": model,
                    "tokens": {"prompt": tokens, "completion": tokens // 3, "cached": tokens // 2},
                    "cost_micros": tokens * (90 if model == "gpt-large" else 25),
                },
                {
                    "session_id": name,
                    "kind": "tool",
                    "timestamp": now_ms - day * DAY_MS,
                    "source": {"type": "agent", "name": name.split("/")[1].split("-")[0]},
                    "tool_name": ("search", "fetch", "calculator")[day % 3],
                    "duration_ms": 120 + day,
                    "success": day != 3,
                },
            ]
        await usage.record_entries(entries)
        await _chunks(store, name, 1, 24)
    reservation = await usage.reserve("acme/monthly-report", 1_500_000)
    if reservation is not None:
        await usage.settle(reservation, 1_400_000)
    await usage.reserve("acme/monthly-report", 1_800_000)
    await store.state_store.create_session(
        "acme/monthly-report/charts", agent_type="charts", parent_session_id="acme/monthly-report"
    )
    await store.state_store.update_status("beta/support-17", "completed")
    failed = await store.state_store.load_state("acme/invoices", required=True)
    failed.status, failed.error = "failed", "the accounting API answered 503 three times"
    await store.state_store.save(failed)
    await store.state_store.start_run("gamma/research", "run-7")
    await store.state_store.update_run("gamma/research", "run-7", status="completed")
    await _hang(store, "beta/support-18")


async def _hang(store: CloudflareStore, session_id: str) -> None:
    """Enter a turn and never leave it, as a dead Worker does. Its lease ends after a second."""
    block = store.turn(session_id, agent_type="support", turn_id="message-4711", ttl=1, auto_refresh=False)
    turn = await block.__aenter__()
    await turn.write({"type": "text", "text": "Let me look that"})
    await turn.commit()


async def _hostile(store: CloudflareStore) -> None:
    """Store hostile texts in every field that takes a text."""
    states, session_id = store.state_store, "<b onclick=alert(1)>&\"'/../ä"
    state = AgentState(session_id=session_id, agent_type=HOSTILE[:200], status=HOSTILE[:100], error=HOSTILE)
    state.custom_state = {HOSTILE: [HOSTILE, {"__proto__": HOSTILE}], "long": "x" * 1_000_000}
    said: list[dict[str, Any]] = [
        {"role": HOSTILE, "content": HOSTILE},
        {
            "role": "assistant",
            "content": HOSTILE,
            "thinking": HOSTILE,
            "toolCalls": [{"name": HOSTILE, "arguments": HOSTILE}],
        },
        {"role": "tool", "content": [{"type": HOSTILE, "text": HOSTILE}, HOSTILE]},
        {"role": "user", "content": "y" * 1_500_000},
    ]
    state.messages = cast("list[Message]", said)
    await states.save_checkpoint(session_id, state)
    await states.start_run(session_id, "run <i>")
    await states.update_run(session_id, "run <i>", status="failed", error=HOSTILE)
    await states.stage_changes(session_id, "<i>", StagedChange(tool_call_id="<u>", merge_changes={HOSTILE: HOSTILE}))
    await store.usage_store.record_tokens(session_id, model=HOSTILE_NAME, tokens={"prompt": 1})
    await store.usage_store.set_budget("<img src=x onerror=alert(1)>", 10, "<i>")
    async with store.stream_manager.create_writer(session_id, HOSTILE_NAME, "t") as writer:
        await writer.write({"type": HOSTILE, "text": HOSTILE, "more": [HOSTILE]})
        await writer.write({"type": "text", "text": "z" * 900_000})


async def _chunks(store: CloudflareStore, session_id: str, first: int, count: int) -> None:
    async with store.stream_manager.create_writer(session_id, "assistant", "support") as writer:
        for number in range(first, first + count):
            await writer.write({"type": "text", "text": f"word {number} "})


async def _many(store: CloudflareStore, db: Any, count: int) -> None:
    """Store this number of sessions, each with the usage of one model and two tools."""
    for start in range(0, count, 1000):
        last = min(start + 1000, count)
        await (
            db.prepare(
                """
            WITH RECURSIVE number (n) AS (SELECT ?1 UNION ALL SELECT n + 1 FROM number WHERE n < ?2)
            INSERT INTO __agents_states (session_id, agent_type, status, created_at, updated_at, session_no)
            SELECT printf('many-%06d', n), CASE WHEN n = 3 THEN 'rare' ELSE 'common' END, 'active', n, n, 1000000 + n FROM number
            """
            )
            .bind(start, last - 1)
            .run()
        )
    await db.prepare(
        """
        INSERT INTO __agents_usage_by_session (session_id, kept, kind, name, first_timestamp, last_timestamp, amounts)
        SELECT s.session_id, 0, k.kind, k.name, 1, 1, '{"entries":1,"calls":1,"costMicros":5}'
        FROM __agents_states AS s
        JOIN (SELECT 'tokens' AS kind, 'm' AS name UNION ALL SELECT 'tool', 'a' UNION ALL SELECT 'tool', 'b') AS k
        WHERE s.session_id LIKE 'many-%'
        """
    ).run()
