"""The console over sessions in homes: lists from the directory, pages from the homes."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from agents_store_cloudflare import AgentState, D1StateStore, OperatorConsole, run_migration
from agents_store_cloudflare.testing import SqliteDatabase
from agents_store_cloudflare.transfer import import_session
from tests.console.conftest import Parsed, Site
from tests.console.test_acts import form_of
from tests.homes.worlds import HomeWorld


@pytest.fixture
async def world() -> HomeWorld:
    return HomeWorld()


@pytest.fixture
async def home_site(world: HomeWorld) -> Site:
    """A console over a store with homes."""
    site = Site()
    site.clock, site.database = world.clock, world.database
    site.store = await world.store()
    site.console = OperatorConsole(site.store, authorize=site.yes)
    return site


async def _known(world: HomeWorld) -> None:
    """Let the homes send their sessions to the directory."""
    await world.clock.advance(5)


async def test_lists_come_from_the_directory(home_site: Site, world: HomeWorld) -> None:
    """CN-2: Lists come newest first, by prefix and parent, page by page. A deleted session is not listed."""
    states = home_site.store.state_store
    for number in range(20):
        await states.create_session(f"s-{number:02}", agent_type="chat")
        await world.clock.advance(2)
    await states.create_session("s-00//child", agent_type="coder", parent_session_id="s-00")
    await states.delete_session("s-05")
    await _known(world)

    async def listed(query: str) -> list[str]:
        found: list[str] = []
        cursor = ""
        while True:
            page = await home_site.data(f"/console/api/sessions?{query}{cursor}")
            found += [each["sessionId"] for each in page["sessions"]]
            if page["nextCursor"] is None:
                return found
            cursor = f"&cursor={page['nextCursor']}"

    every = [f"s-{number:02}" for number in range(20) if number != 5]
    assert await listed("") == ["s-00//child", *reversed(every)]
    assert await listed("prefix=s-1") == every[9:]
    assert await listed("parent=s-00") == ["s-00//child"]
    assert await listed("agent=coder") == ["s-00//child"]
    assert (await home_site.ask("/console?view=open-runs")).status == 400


async def test_pages_come_from_the_home(home_site: Site, world: HomeWorld) -> None:
    """Each page of a session reads its home, also if the home does not have all tables yet."""
    states = home_site.store.state_store
    await states.create_session("ada", agent_type="chat", initial_state={"n": 1})
    for page in ("session", "messages", "state", "checkpoints", "runs", "stream"):
        await home_site.page(f"/console/{page}?id=ada")
    state = cast("AgentState", await states.load_state("ada"))
    state.messages.append({"role": "user", "content": "hello"})
    first = await states.save_checkpoint("ada", state)
    state.custom_state["n"] = 2
    await states.save_checkpoint("ada", state)
    found = await home_site.data(f"/console/api/compare?id=ada&from={first.id}")
    assert [each["path"] for each in found["differences"]] == ["/customState/n"]
    assert "hello" in (await home_site.page("/console/session?id=ada")).text


async def test_acts_reach_the_home(home_site: Site, world: HomeWorld) -> None:
    """Restore, export and delete work in the session's home."""
    states = home_site.store.state_store
    state = await states.create_session("ada", agent_type="chat")
    first = await states.save_checkpoint("ada", state)
    state.messages.append({"role": "user", "content": "hello"})
    await states.save(state)
    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        "restore": lambda: form_of(home_site, "restore", id="ada", checkpoint=first.id),
        "export": lambda: form_of(home_site, "export", id="ada"),
        "delete": lambda: form_of(home_site, "delete", id="ada"),
    }
    for name, form in calls.items():
        answer = await (await form()).send()
        assert answer.status == 200, (name, answer.body)
    assert not await states.exists("ada")


async def _fill(site: Site) -> None:
    """Make a session with a child, a stream, and usage that waits in a home."""
    states = site.store.state_store
    await states.create_session("ada", agent_type="chat")
    await states.create_session("ada//child", agent_type="chat", parent_session_id="ada")
    for session_id in ("ada", "ada//child"):
        async with site.store.turn(session_id, agent_type="chat") as turn:
            await turn.write({"type": "text", "text": "hello"})
            turn.add({"role": "assistant", "content": "hello"})
            turn.record_tool(tool_name="search", duration_ms=1, success=True)
    await states.stage_changes("ada", "step", {"toolCallId": "c", "mergeChanges": {"k": 1}})


async def test_a_copy_from_the_console_comes_back(home_site: Site, world: HomeWorld) -> None:
    """TR-13: The downloaded file holds the session with the usage that its home has not sent yet, and can be imported."""
    await _fill(home_site)
    answer = await (await form_of(home_site, "export", id="ada")).send()
    assert answer.status == 200, answer.body
    copy = json.loads(str(answer.body))
    assert len(copy["stored"]["__agents_usage"]) == 1
    database = SqliteDatabase()
    await run_migration(database)
    await import_session(database, copy)
    here = await home_site.store.state_store.load_state("ada", required=True)
    assert await D1StateStore(database).load_state("ada") == here


async def test_the_receipt_of_a_deletion(home_site: Site, site: Site) -> None:
    """CN-5: The plan and the receipt are the same for sessions in homes as in D1. Afterwards nothing is left."""
    receipts: list[Any] = []
    for each in (site, home_site):
        await _fill(each)
        form = await form_of(each, "delete", id="ada")
        answer = await form.send()
        assert answer.status == 200, answer.body
        receipts.append((form.page.text, Parsed(str(answer.body)).text))
        for session_id in ("ada", "ada//child"):
            assert not await each.store.state_store.exists(session_id)
            assert await each.store.usage_store.get_entries(session_id) == []
            assert await each.store.stream_manager.get_info(session_id) is None
    assert [[_without_counts(text) for text in pair] for pair in receipts[1:]] == [
        [_without_counts(text) for text in pair] for pair in receipts[:1]
    ]
    assert "2 usage entries" in receipts[1][0]


def _without_counts(text: str) -> str:
    """Return the text of a page without the cost in its footer."""
    return text.partition("This page:")[0]


async def test_a_checkpoint_of_a_home_is_forked(home_site: Site, world: HomeWorld) -> None:
    """The suggested id has its own home. Both sessions are listed, and an existing id is refused."""
    states = home_site.store.state_store
    state = await states.create_session("ada", agent_type="chat")
    state.messages.append({"role": "user", "content": "hello"})
    first = await states.save_checkpoint("ada", state)
    await states.append_messages("ada", [{"role": "user", "content": "later"}])
    form = await form_of(home_site, "fork", id="ada", checkpoint=first.id)
    new_id = form.fields["new_id"]
    for _ in range(2):
        answer = await form.send()
        assert answer.status == 200, answer.body
    assert (await states.get_messages(new_id)).total == 1
    assert (await states.get_messages("ada")).total == 2
    assert (await (await form_of(home_site, "fork", id="ada", checkpoint=first.id)).send(new_id=new_id)).status == 409
    await _known(world)
    listed = await home_site.data("/console/api/sessions")
    assert {each["sessionId"] for each in listed["sessions"]} == {"ada", new_id}


async def test_a_dead_turn_in_a_home_is_swept(home_site: Site, world: HomeWorld) -> None:
    """A running turn is left alone with 409. After its lease the page gives the reason, and the act ends the turn.

    The turn is a sub-session's. A home closes a dead turn of its own session by itself.
    """
    await home_site.store.state_store.create_session("ada", agent_type="chat")
    child = "ada//child"
    block = home_site.store.turn(
        child, agent_type="chat", ttl=5, auto_refresh=False, turn_id="t-1", parent_session_id="ada"
    )
    turn = await block.__aenter__()
    await turn.write({"type": "text", "text": "so far"})
    assert (await (await form_of(home_site, "sweep", id=child)).send()).status == 409
    await world.pass_time(60)
    assert "nobody holds the session's lock" in (await home_site.page(f"/console/session?id={child}")).text
    answer = await (await form_of(home_site, "sweep", id=child)).send()
    assert answer.status == 200, answer.body
    assert "t-1" in Parsed(str(answer.body)).text
    assert (await home_site.store.state_store.list_runs(child))[0].status == "interrupted"
    async with home_site.store.stream_manager.create_resumable_reader(child, until_turn="t-1") as reader:
        assert [chunk["type"] async for chunk in reader][-1] == "turn-failed"


async def test_streams_and_budgets_beside_homes(home_site: Site, world: HomeWorld) -> None:
    """A home's own stream is ended and failed, and a budget of D1 is raised."""
    for session_id, act, status in (("ada", "end-stream", "ended"), ("eve", "fail-stream", "failed")):
        async with home_site.store.turn(session_id, agent_type="chat") as turn:
            await turn.write({"type": "text", "text": "hello"})
        answer = await (await form_of(home_site, act, id=session_id)).send()
        assert answer.status == 200, answer.body
        info = await home_site.store.stream_manager.get_info(session_id)
        assert info is not None
        assert info.status == status
    await home_site.store.usage_store.set_budget("team", 100, "tokens")
    answer = await (await form_of(home_site, "raise-budget", scope="team")).send(new_cap="200")
    assert answer.status == 200, answer.body
    budget = await home_site.store.usage_store.get_budget("team")
    assert budget is not None
    assert budget.cap == 200
