"""The page of one session: what it says, and why it hangs."""

from typing import Any

from tests.console.conftest import Site


async def _codes(site: Site, session_id: str) -> list[str]:
    found: list[dict[str, Any]] = (await site.data(f"/console/api/session?id={session_id}"))["findings"]
    return [each["code"] for each in found]


async def test_a_missing_session_is_404(site: Site) -> None:
    """An unknown id gives 404, and a missing id is a bad request."""
    assert (await site.ask("/console/session?id=nobody")).status == 404
    assert (await site.ask("/console/session")).status == 400
    assert (await site.ask("/console/api/session?id=__x")).status == 400


async def test_ids_that_are_no_path(site: Site) -> None:
    """Sessions with dots, slashes and markup in their ids are found by their links."""
    for session_id in ("..", ".", "a/b", "<b>&\"'", "ä?#%", "a" * 512, "+ +"):
        await site.store.state_store.create_session(session_id, agent_type="chat")
    page = await site.page("/console")
    links = [link for link in page.links() if link.startswith("/console/session?id=")]
    assert len(links) == 7
    for link in links:
        assert (await site.ask(link)).status == 200


async def test_a_dead_turn_says_why_it_hangs(site: Site) -> None:
    """CN-3: The page names a turn whose lease ended without an end, says that nobody holds the lock, and names the remedy."""
    block = site.store.turn("s", agent_type="chat", ttl=5, auto_refresh=False)
    await block.__aenter__()
    assert await _codes(site, "s") == ["turn-running"]
    await site.clock.advance(60_000)
    assert await _codes(site, "s") == ["turn-dead"]
    page = await site.page("/console/session?id=s")
    assert "Hangs:" in page.text
    assert "nobody holds the session's lock" in page.text
    assert (await site.store.sweep_turns()).closed == ("s",)
    assert await _codes(site, "s") == []


async def test_a_run_without_a_lock_hangs(site: Site) -> None:
    """The page names an open run of a session that nobody has locked."""
    await site.store.state_store.create_session("s", agent_type="chat")
    await site.store.state_store.start_run("s", "r-1")
    assert await _codes(site, "s") == ["run-without-lock"]
    async with site.store.locks.lock("s"):
        assert await _codes(site, "s") == ["run-running"]
    await site.store.state_store.update_run("s", "r-1", status="completed")
    assert await _codes(site, "s") == []


async def test_an_expired_session_and_a_paused_stream_are_told(site: Site) -> None:
    """The page names an expired session and a paused stream."""
    state = await site.store.state_store.create_session("s", agent_type="chat")
    state.expires_at = site.store.state_store.now_ms() - 5_000
    await site.store.state_store.save(state)
    async with site.store.stream_manager.create_writer("s", "a", "chat") as writer:
        await writer.write({"type": "text"})
    await site.store.stream_manager.pause_stream("s")
    assert sorted(await _codes(site, "s")) == ["expired", "stream-paused"]


async def test_messages_tools_and_thinking(site: Site) -> None:
    """Messages of each kind are shown: text open, and tool calls, results and thinking folded."""
    await site.store.state_store.create_session("s", agent_type="chat")
    await site.store.state_store.append_messages(
        "s",
        [
            {"role": "user", "content": "How many?"},
            {
                "role": "assistant",
                "thinking": "let me count",
                "content": None,
                "tool_calls": [{"id": "1", "function": {"name": "count", "arguments": '{"what": "sheep"}'}}],
            },
            {"role": "tool", "content": "4", "tool_call_id": "1"},
            {"role": "assistant", "content": [{"type": "text", "text": "There are 4."}], "metadata": {"model": "m"}},
        ],
    )
    page = await site.page("/console/session?id=s")
    for text in (
        "How many?",
        "let me count",
        "Calls count",
        '"what": "sheep"',
        "Result",
        "There are 4.",
        '"model": "m"',
    ):
        assert text in page.text
    assert [each["class"] for each in page.tags("details")] == ["thinking", "call", "result", "rest"]


async def test_the_tree_below_a_session(site: Site) -> None:
    """Children and grandchildren stand below their parents, and a cycle ends."""
    states = site.store.state_store
    await states.create_session("root", agent_type="chat")
    await states.create_session("child", agent_type="chat", parent_session_id="root")
    await states.create_session("grandchild", agent_type="chat", parent_session_id="child")
    below = (await site.data("/console/api/session?id=root"))["descendants"]
    assert [(each["sessionId"], each["depth"]) for each in below] == [("child", 1), ("grandchild", 2)]
    await states.create_session("x", agent_type="chat", parent_session_id="y")
    await states.create_session("y", agent_type="chat", parent_session_id="x")
    below = (await site.data("/console/api/session?id=x"))["descendants"]
    assert [each["sessionId"] for each in below] == ["y", "x"]


async def test_usage_and_cost_of_the_page(site: Site) -> None:
    """The page has the models, tools and money of a session. The footer has the cost of the page."""
    await site.store.state_store.create_session("s", agent_type="chat")
    await site.store.usage_store.record_tokens(
        "s", model="gpt-x", tokens={"prompt": 1000, "completion": 50}, cost_micros=1_234_567
    )
    await site.store.usage_store.record_tool("s", tool_name="search", duration_ms=5, success=True)
    page = await site.page("/console/session?id=s")
    for text in ("gpt-x", "1,000", "search", "$1.234567", "queries to D1"):
        assert text in page.text
    lines = (await site.data("/console/api/session?id=s"))["usage"]
    assert [(each["kind"], each["name"], each["costMicros"]) for each in lines] == [
        ("tokens", "gpt-x", 1_234_567),
        ("tool", "search", 0),
    ]
