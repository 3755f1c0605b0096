"""The list of sessions: filters, paging, what runs and hangs."""

from tests.console.conftest import Site


async def _sessions(site: Site, count: int, **facts: str) -> None:
    for number in range(count):
        await site.store.state_store.create_session(f"s-{number:03}", agent_type=facts.get("agent_type", "chat"))


async def test_the_newest_sessions_come_first_and_pages_follow(site: Site) -> None:
    """40 sessions fill three pages, each session once, also with a prefix."""
    await _sessions(site, 40)

    async def listed(path: str | None) -> list[str]:
        seen: list[str] = []
        while path:
            page = await site.page(path)
            seen += [link.split("id=")[1] for link in page.links() if link.startswith("/console/session?id=")]
            path = next((link for link in page.links() if "cursor=" in link), None)
        return seen

    assert await listed("/console") == [f"s-{number:03}" for number in reversed(range(40))]
    assert await listed("/console?prefix=s-0") == [f"s-{number:03}" for number in range(40)]


async def test_filters_of_a_form(site: Site) -> None:
    """Prefix, status, agent and parent narrow the list. An empty field has no effect."""
    states = site.store.state_store
    await states.create_session("team-a/1", agent_type="chat")
    await states.create_session("team-a/2", agent_type="coder", parent_session_id="team-a/1")
    await states.create_session("team-b/1", agent_type="chat")
    await states.update_status("team-b/1", "failed")

    async def found(query: str) -> list[str]:
        return [each["sessionId"] for each in (await site.data(f"/console/api/sessions?{query}"))["sessions"]]

    assert await found("prefix=team-a%2F&status=&agent=") == ["team-a/1", "team-a/2"]
    assert await found("status=failed") == ["team-b/1"]
    assert await found("agent=coder") == ["team-a/2"]
    assert await found("parent=team-a%2F1") == ["team-a/2"]
    assert await found("prefix=team&agent=chat&status=active") == ["team-a/1"]
    assert await found("prefix=nobody") == []
    assert "No session fits" in (await site.page("/console?prefix=nobody")).text


async def test_a_filter_stops_after_its_rows_and_goes_on(site: Site) -> None:
    """CN-2: A filter without near matches says how many rows it read. Its cursor leads to the only match."""
    await site.store.state_store.create_session("wanted", agent_type="rare")
    await _sessions(site, 500)
    first = await site.data("/console/api/sessions?agent=rare")
    assert (first["sessions"], first["scanned"]) == ([], 460)
    page = await site.page("/console?agent=rare")
    assert "None of the 460 sessions that were read matches" in page.text
    onward = next(link for link in page.links() if "cursor=" in link)
    assert "agent=rare" in onward
    assert "wanted" in (await site.page(onward)).text


async def test_open_turns_expired_sessions_and_runs_have_lists(site: Site) -> None:
    """The three views show open turns, expired sessions and open runs, and no other sessions."""
    states = site.store.state_store
    await states.create_session("idle", agent_type="chat")
    await states.create_session("run", agent_type="chat")
    await states.start_run("run", "r1")
    old = await states.create_session("old", agent_type="chat")
    old.expires_at = site.store.state_store.now_ms() - 1000
    await states.save(old)
    async with site.store.turn("turn", agent_type="chat"):
        running = (await site.data("/console/api/sessions?view=running"))["sessions"]
        page = await site.page("/console?view=running")
    assert [each["sessionId"] for each in running] == ["turn"]
    assert running[0]["openTurn"]["turn"] == 1
    assert "turn open" in page.text

    async def found(view: str) -> list[str]:
        return [each["sessionId"] for each in (await site.data(f"/console/api/sessions?view={view}"))["sessions"]]

    assert await found("open-runs") == ["run"]
    assert await found("expired") == ["old"]
    assert await found("running") == []


async def test_the_cost_of_the_models_is_shown(site: Site) -> None:
    """The list adds up what the models of a session cost."""
    await _sessions(site, 2)
    await site.store.usage_store.record_tokens(
        "s-001", model="m", tokens={"prompt": 10, "completion": 5}, cost_micros=2_500_000
    )
    listed = (await site.data("/console/api/sessions"))["sessions"]
    assert [each["costMicros"] for each in listed] == [2_500_000, 0]
    assert "$2.50" in (await site.page("/console")).text


async def test_cursors_of_others_are_refused(site: Site) -> None:
    """A cursor of another list is an error, as a page and as JSON."""
    for cursor in ("x", "[]", '["prefix","a",0]', '["all",-1,0]', '["all",1e400,0]', '["all",true,0]', "[" * 3000):
        answer = await site.ask(f"/console/api/sessions?cursor={cursor}")
        assert answer.status == 400, cursor
        assert answer.headers["content-type"].startswith("application/json")
        answer = await site.ask(f"/console?cursor={cursor}")
        assert answer.status == 400
        assert answer.headers["content-type"].startswith("text/html")
    assert (await site.ask("/console?view=none")).status == 400
