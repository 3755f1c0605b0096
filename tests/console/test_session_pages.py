"""The pages behind a session's overview: messages, state, differences, checkpoints, runs, stream."""

import json

from agents_store_cloudflare import AgentState, StagedChange
from tests.console.conftest import Site


async def _history(site: Site) -> tuple[AgentState, str, str]:
    """Make a session of 60 messages with two checkpoints and a change of state between them."""
    states = site.store.state_store
    state = await states.create_session(
        "s", agent_type="chat", initial_state={"plan": ["a", "b"], "gone": 1, "deep": {"n": 1}, "same": True}
    )
    state.messages.extend({"role": "user", "content": f"message {number}"} for number in range(40))
    await states.save(state)
    first = await states.save_checkpoint("s", state)
    state.custom_state = {"plan": ["a", "c", "d"], "deep": {"n": 1.0}, "same": True, "new/key": None}
    state.messages.extend({"role": "user", "content": f"message {number}"} for number in range(40, 60))
    state.step_count = 3
    second = await states.save_checkpoint("s", state)
    return state, first.id, second.id


async def test_messages_page_by_page(site: Site) -> None:
    """The last 25 messages come first, then earlier ones. Each message has a page of its own."""
    await _history(site)
    page = await site.page("/console/messages?id=s")
    assert "message 59" in page.text
    assert "message 35" in page.text
    assert "message 34" not in page.text
    earlier = next(link for link in page.links() if link == "/console/messages?id=s&from=10")
    assert "message 10" in (await site.page(earlier)).text
    assert (await site.data("/console/api/message?id=s&n=7"))["message"]["content"] == "message 7"
    assert (await site.ask("/console/message?id=s&n=60")).status == 400
    assert (await site.ask("/console/message?id=s&n=x")).status == 400


async def test_a_long_message_is_cut_and_has_a_whole_page(site: Site) -> None:
    """The list shows the beginning of a line of two megabytes, and links to the whole message."""
    await site.store.state_store.create_session("s", agent_type="chat")
    text = "x" * 1_700_000
    await site.store.state_store.append_messages("s", [{"role": "user", "content": text}])
    page = await site.page("/console/messages?id=s")
    assert len(page.text) < 10_000
    assert "Show all 1,700,000 characters" in page.text
    assert text in (await site.page("/console/message?id=s&n=0")).text


async def test_state_as_a_tree(site: Site) -> None:
    """The tree has keys, values and sizes, and a long value links to its page."""
    states = site.store.state_store
    await states.create_session("s", agent_type="chat", initial_state={"a/b": ["x", {"y": None}], "long": "z" * 3000})
    await states.stage_changes("s", "step-1", StagedChange(tool_call_id="call-1", merge_changes={"n": 1}))
    page = await site.page("/console/state?id=s")
    for text in ("object of 2", "list of 2", '"x"', "null", "show all 3,000 characters", "step-1", "call-1"):
        assert text in page.text
    assert (await site.data("/console/api/value?id=s&path=/a~1b/1"))["value"] == {"y": None}
    assert "z" * 3000 in (await site.page("/console/value?id=s&path=/long")).text
    assert (await site.ask("/console/value?id=s&path=/a~1b/7")).status == 400
    assert (await site.ask("/console/state?id=nobody")).status == 404


async def test_what_differs_between_checkpoints(site: Site) -> None:
    """Added, removed and changed places are named by their paths. 1 and 1.0 differ. The present state can be compared too."""
    _, first, second = await _history(site)
    data = await site.data(f"/console/api/compare?id=s&from={first}&to={second}")
    found = {each["path"]: (each["kind"], each["before"], each["after"]) for each in data["differences"]}
    assert found == {
        "/stepCount": ("changed", 0, 3),
        "/customState/gone": ("removed", 1, None),
        "/customState/new~1key": ("added", None, None),
        "/customState/plan/1": ("changed", "b", "c"),
        "/customState/plan/2": ("added", None, "d"),
        "/customState/deep/n": ("changed", 1, 1.0),
    }
    assert data["messageCounts"] == [40, 60]
    page = await site.page(f"/console/compare?id=s&from={first}")
    assert "20 messages were added" in page.text
    assert "Nothing differs" in (await site.page(f"/console/compare?id=s&from={second}&to=now")).text
    assert (await site.ask("/console/compare?id=s&from=cpv1-s-s0-t0-000001")).status == 404
    assert (await site.ask("/console/compare?id=s&from=x")).status == 404


async def test_checkpoints_on_a_line_of_time(site: Site) -> None:
    """Checkpoints come newest first, with forms and links to compare, fork and restore."""
    _, first, second = await _history(site)
    listed = (await site.data("/console/api/checkpoints?id=s"))["checkpoints"]
    assert [each["id"] for each in listed] == [second, first]
    page = await site.page("/console/checkpoints?id=s")
    assert [each["value"] for each in page.tags("input") if each.get("name") == "from"] == [second, first]
    assert f"/console/act/restore?id=s&checkpoint={first}" in page.links()
    then = await site.page(f"/console/state?id=s&at={first}")
    assert '"b"' in then.text
    assert "What has changed since" in then.text


async def test_runs_page_by_page(site: Site) -> None:
    """30 runs fill two pages."""
    await site.store.state_store.create_session("s", agent_type="chat")
    for number in range(30):
        await site.store.state_store.start_run("s", f"r-{number}")
        await site.store.state_store.update_run("s", f"r-{number}", status="failed", error="no luck")
    first = await site.data("/console/api/runs?id=s")
    assert (len(first["runs"]), first["nextBefore"]) == (25, 6)
    page = await site.page("/console/runs?id=s&before=6")
    assert "r-4" in page.text
    assert "no luck" in page.text


async def test_the_chunks_of_a_stream(site: Site) -> None:
    """The page has the last 50 chunks, a link to earlier ones, and the address of live chunks."""
    await site.store.state_store.create_session("s", agent_type="chat")
    async with site.store.stream_manager.create_writer("s", "a", "chat") as writer:
        for number in range(120):
            await writer.write({"type": "text", "text": f"word {number}"})
    page = await site.page("/console/stream?id=s")
    assert "word 119" in page.text
    assert "word 69" not in page.text
    [live] = [each["data-events"] for each in page.tags("ol") if each.get("id") == "chunks"]
    assert live == "/console/api/events?stream=s&from=120"
    assert "word 20" in (await site.page("/console/stream?id=s&after=20")).text
    answer = await site.ask("/console/api/events?stream=s&from=118")
    assert answer.headers["content-type"].startswith("text/event-stream")
    await site.store.stream_manager.end_stream("s")
    body = answer.body
    assert "word 119" in str(body.read())  # type: ignore[attr-defined]
    page = await site.page("/console/stream?id=s")
    assert [each["data-events"] for each in page.tags("ol") if each.get("data-events")] == []


async def test_live_events_are_for_readers(site: Site) -> None:
    """The route of live events also calls `authorize`."""

    def nobody(request: object, action: str) -> bool:
        return False

    refused = Site(authorize=nobody)
    assert (await refused.ask("/console/api/events?stream=s")).status == 403
    assert (await site.ask("/console/api/events?stream=missing")).status == 404
    assert (await site.ask("/console/api/events?stream=s&from=-1")).status == 400


async def test_state_that_is_deep_and_wide_is_cut(site: Site) -> None:
    """Parts of a state of 190 levels and of one with 5,000 keys are shown."""
    deep: object = 1
    for _ in range(190):
        deep = [deep]
    await site.store.state_store.create_session(
        "deep", agent_type="chat", initial_state=json.loads(json.dumps({"d": deep}))
    )
    wide = {f"k{number}": number for number in range(5000)}
    await site.store.state_store.create_session("wide", agent_type="chat", initial_state=json.loads(json.dumps(wide)))
    assert "1 more" in (await site.page("/console/state?id=deep")).text
    page = await site.page("/console/state?id=wide")
    assert "4,001 more" in page.text
