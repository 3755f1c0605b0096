"""Acts: who may, what is shown before, that they happen once, and that nobody else can send their forms."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from agents_store_cloudflare import HttpResponse, InvalidArgumentError, OperatorConsole
from agents_store_cloudflare.testing import SqliteDatabase
from tests.console.conftest import HOST, Parsed, Site


class Form:
    """The form of a confirmation, as a browser holds it."""

    def __init__(self, site: Site, act: str, answer: HttpResponse) -> None:
        self.site, self.path = site, f"/console/act/{act}"
        self.page = Parsed(str(answer.body))
        self.cookie = answer.headers["set-cookie"].partition(";")[0]
        self.fields = {str(each["name"]): str(each["value"]) for each in self.page.tags("input")}

    async def send(self, headers: dict[str, str] | None = None, /, **changed: str) -> HttpResponse:
        sent = {
            "content_type": "application/x-www-form-urlencoded",
            "cookie": self.cookie,
            "origin": HOST,
            **(headers or {}),
        }
        return await self.site.ask(self.path, "POST", urlencode({**self.fields, **changed}).encode(), **sent)


async def form_of(site: Site, act: str, **query: str) -> Form:
    answer = await site.ask(f"/console/act/{act}?{urlencode(query)}")
    assert answer.status == 200, answer.body
    return Form(site, act, answer)


async def _session(site: Site, session_id: str = "s") -> tuple[str, str]:
    """A session of two messages, with a checkpoint after each."""
    states = site.store.state_store
    state = await states.create_session(session_id, agent_type="chat")
    ids: list[str] = []
    for number in range(2):
        state.messages.append({"role": "user", "content": f"message {number}"})
        ids.append((await states.save_checkpoint(session_id, state)).id)
    return ids[0], ids[1]


async def _stream(site: Site, stream_id: str = "s") -> None:
    async with site.store.stream_manager.create_writer(stream_id, "a", "chat") as writer:
        await writer.write({"type": "text", "text": "hello"})


async def test_a_stream_is_ended_with_a_status(site: Site) -> None:
    """The confirmation explains the act, and the operator gives the status. The same form sent twice is one act."""
    await _session(site)
    await _stream(site)
    form = await form_of(site, "end-stream", id="s")
    assert "takes no more chunks" in form.page.text
    assert (await site.store.stream_manager.get_info("s")).status == "active"  # type: ignore[union-attr]
    for _ in range(2):
        answer = await form.send(status="stopped")
        assert answer.status == 200, answer.body
    info = await site.store.stream_manager.get_info("s")
    assert info is not None
    assert (info.status, info.end_status) == ("ended", "stopped")


async def test_a_stream_is_failed_with_an_error(site: Site) -> None:
    """Readers get the operator's text."""
    await _session(site)
    await _stream(site)
    answer = await (await form_of(site, "fail-stream", id="s")).send(error="out of order")
    assert answer.status == 200
    info = await site.store.stream_manager.get_info("s")
    assert info is not None
    assert (info.status, info.error) == ("failed", "out of order")


async def test_a_dead_turn_is_marked_interrupted(site: Site) -> None:
    """The dead turn of one session ends. A running turn is left alone with 409."""
    block = site.store.turn("s", agent_type="chat", ttl=5, auto_refresh=False, turn_id="t-1")
    turn = await block.__aenter__()
    await turn.write({"type": "text", "text": "so far"})
    form = await form_of(site, "sweep", id="s")
    assert (await form.send()).status == 409
    await site.clock.advance(60_000)
    answer = await (await form_of(site, "sweep", id="s")).send()
    assert answer.status == 200
    assert "t-1" in Parsed(str(answer.body)).text
    assert (await site.store.state_store.list_runs("s"))[0].status == "interrupted"
    async with site.store.stream_manager.create_resumable_reader("s", until_turn="t-1") as reader:
        chunks = [chunk async for chunk in reader]
    assert chunks[-1]["type"] == "turn-failed"
    assert (await site.data("/console/api/session?id=s"))["findings"] == []


async def test_a_checkpoint_is_restored(site: Site) -> None:
    """Later messages are deleted. A session that has changed since the confirmation stays unchanged."""
    first, _ = await _session(site)
    form = await form_of(site, "restore", id="s", checkpoint=first)
    assert "1 later messages" in form.page.text
    await site.store.state_store.append_messages("s", [{"role": "user", "content": "meanwhile"}])
    assert (await form.send()).status == 409
    form = await form_of(site, "restore", id="s", checkpoint=first)
    for _ in range(2):
        answer = await form.send()
        assert answer.status == 200, answer.body
    assert (await site.store.state_store.get_messages("s")).total == 1


async def test_nothing_is_restored_under_a_holder(site: Site) -> None:
    """If somebody holds the session's lock, restoring and deleting are refused."""
    first, _ = await _session(site)
    async with site.store.locks.lock("s"):
        for act, query in (("restore", {"checkpoint": first}), ("delete", {})):
            assert (await (await form_of(site, act, id="s", **query)).send()).status == 409
    assert (await site.store.state_store.get_messages("s")).total == 2


async def test_a_checkpoint_is_forked(site: Site) -> None:
    """A new session begins at the checkpoint. An existing id is refused."""
    first, _ = await _session(site)
    form = await form_of(site, "fork", id="s", checkpoint=first)
    assert form.fields["new_id"].startswith("s-fork-")
    answer = await form.send(new_id="copy")
    assert answer.status == 200
    assert (await site.store.state_store.get_messages("copy")).total == 1
    assert (await site.store.state_store.get_messages("s")).total == 2
    assert (await (await form_of(site, "fork", id="s", checkpoint=first)).send(new_id="copy")).status == 409
    assert (await (await form_of(site, "fork", id="s", checkpoint=first)).send(new_id="")).status == 400


async def test_a_session_is_exported(site: Site) -> None:
    """The download equals the result of `export_session`."""
    await _session(site)
    answer = await (await form_of(site, "export", id="s")).send()
    assert answer.headers["content-disposition"] == 'attachment; filename="session.json"'
    copy = json.loads(str(answer.body))
    assert (copy["sessionId"], len(copy["messages"])) == ("s", 2)


async def test_a_session_is_deleted_with_a_receipt(site: Site) -> None:
    """The receipt lists the deleted sessions, streams, messages, checkpoints and usage."""
    await _session(site)
    await site.store.state_store.create_session("child", agent_type="chat", parent_session_id="s")
    await _stream(site)
    await site.store.usage_store.record_tokens("child", model="m", tokens={"prompt": 1}, cost_micros=1_500_000)
    form = await form_of(site, "delete", id="s")
    assert "1 sessions below it (child)" in form.page.text
    answer = await form.send()
    text = Parsed(str(answer.body)).text
    for part in ("2: s, child", "Messages2", "Checkpoints2", "Chunks1", "1, $1.50"):
        assert part in text, text
    assert not await site.store.state_store.exists("s")
    assert not await site.store.state_store.exists("child")
    assert await site.store.stream_manager.get_info("s") is None
    assert (await form.send()).status == 200


async def _reset(site: Site) -> None:
    await site.store.stream_manager.reset_stream("s")


async def _deleted_stream(site: Site) -> None:
    await site.store.stream_manager.delete_stream("s")
    await _stream(site)


async def _made_again(site: Site) -> None:
    await site.store.delete_session("s")
    await asyncio.sleep(0.002)  # a session is known by the millisecond of its creation
    await _session(site)
    await _stream(site)


@pytest.mark.parametrize("between", [_reset, _deleted_stream, _made_again])
@pytest.mark.parametrize("act", ["end-stream", "fail-stream"])
async def test_the_outcome_is_for_the_stream_that_was_shown(
    site: Site, act: str, between: Callable[[Site], Awaitable[None]]
) -> None:
    """CN-5: A stream that was reset, or deleted and made again, since the page was shown keeps its status."""
    await _session(site)
    await _stream(site)
    form = await form_of(site, act, id="s")
    await between(site)
    assert (await form.send()).status == 409
    info = await site.store.stream_manager.get_info("s")
    assert info is not None
    assert info.status == "active"


@pytest.mark.parametrize("act", ["end-stream", "fail-stream"])
async def test_an_outcome_comes_again_after_a_reset(site: Site, act: str) -> None:
    """CN-5: The form that ended a stream is sent again after others have reset it. It has its one effect."""
    await _session(site)
    await _stream(site)
    form = await form_of(site, act, id="s")
    assert (await form.send()).status == 200
    await _reset(site)
    assert (await form.send()).status == 200
    info = await site.store.stream_manager.get_info("s")
    assert info is not None
    assert info.status == "active"


async def test_a_stream_that_is_not_there_has_no_outcome(site: Site) -> None:
    """The confirmation says that there is no stream."""
    await _session(site)
    assert (await site.ask("/console/act/end-stream?id=s")).status == 404


async def test_the_deletion_is_for_the_session_that_was_shown(site: Site) -> None:
    """CN-5: A session that was deleted and made again since stays, also if it has the version that was shown."""
    await _session(site)
    form = await form_of(site, "delete", id="s")
    await _made_again(site)
    assert (await form.send()).status == 409
    assert await site.store.state_store.exists("s")
    assert await site.store.stream_manager.get_info("s") is not None


async def test_two_operators_raise_a_budget_at_once(site: Site) -> None:
    """CN-5: Of two forms from one cap the later one finds another cap, and the cap does not fall."""
    await site.store.usage_store.set_budget("team", 100, "tokens")
    forms = [await form_of(site, "raise-budget", scope="team") for _ in range(2)]
    answers = await asyncio.gather(forms[0].send(new_cap="300"), forms[1].send(new_cap="200"))
    assert [answer.status for answer in answers] == [200, 400]
    budget = await site.store.usage_store.get_budget("team")
    assert budget is not None
    assert budget.cap == 300


async def test_a_form_of_very_many_fields_is_refused(site: Site) -> None:
    """CN-1: It is a bad request, not a failure of the console."""
    await _session(site)
    form = await form_of(site, "delete", id="s")
    assert (await form.send(**{f"field{number}": "x" for number in range(60)})).status == 400


async def test_a_budget_is_raised(site: Site) -> None:
    """A cap can only rise, and only from the cap that was shown."""
    await site.store.usage_store.set_budget("team", 100, "tokens")
    form = await form_of(site, "raise-budget", scope="team")
    assert (await form.send(new_cap="50")).status == 400
    assert (await form.send(new_cap="1e9")).status == 400
    for _ in range(2):
        assert (await form.send(new_cap="200")).status == 200
    assert (await form.send(new_cap="300")).status == 400
    budget = await site.store.usage_store.get_budget("team")
    assert budget is not None
    assert budget.cap == 200
    assert (await site.ask("/console/act/raise-budget?scope=nobody")).status == 400


async def test_only_true_lets_act(site: Site) -> None:
    """`authorize` is called with `act` for the confirmation and for the act."""
    await _session(site)
    form = await form_of(site, "delete", id="s")
    assert site.asked == ["act"]
    await form.send()
    assert site.asked == ["act", "act"]

    def readers(request: object, action: str) -> Any:
        return True if action == "read" else "yes"

    other = Site(authorize=readers)
    assert (await other.ask("/console/act/delete?id=s")).status == 403
    assert (await other.ask("/console/act/delete", "POST", b"")).status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://agents.example"},
        {"cookie": ""},
        {"cookie": "__Host-agents-console=" + "0" * 64},
        {"cookie": "__Host-agents-console=x"},
        {"content_type": "text/plain"},
    ],
)
async def test_forged_forms_are_refused(site: Site, headers: dict[str, str]) -> None:
    """A form from another page, without this browser's cookie, or of a simple content type has no effect."""
    await _session(site)
    form = await form_of(site, "delete", id="s")
    assert (await form.send(headers)).status in (400, 403)
    assert await site.store.state_store.exists("s")


@pytest.mark.parametrize(
    "changed", [{"id": "t"}, {"version": "1"}, {"token": "0" * 64}, {"token": "é"}, {"expires": "1"}, {"x": "y"}]
)
async def test_what_a_form_fixes_cannot_be_changed(site: Site, changed: dict[str, str]) -> None:
    """CN-5: The token is valid only for the confirmed values."""
    await _session(site)
    await _session(site, "t")
    form = await form_of(site, "delete", id="s")
    assert (await form.send(**changed)).status == 403
    assert await site.store.state_store.exists("s")
    assert await site.store.state_store.exists("t")


async def test_a_form_is_good_for_its_own_act_and_an_hour(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token of one act is not valid for another act, and an old token is not valid."""
    await _session(site)
    form = await form_of(site, "export", id="s")
    form.path = "/console/act/sweep"
    assert (await form.send()).status == 403
    form = await form_of(site, "export", id="s")
    later = site.store.state_store.now_ms() + 3_600_001

    def now_ms(_: object) -> int:
        return later

    monkeypatch.setattr(type(site.store.state_store), "now_ms", now_ms)
    site.console = OperatorConsole(site.store, authorize=site.yes)
    assert (await form.send()).status == 403


async def test_requests_without_an_origin(site: Site) -> None:
    """Old browsers send no origin. Then the browser's other header about the site decides."""
    await _session(site)
    form = await form_of(site, "export", id="s")
    assert (await form.send({"origin": "", "sec_fetch_site": "cross-site"})).status == 403
    body = urlencode(form.fields).encode()
    kind = "application/x-www-form-urlencoded"
    answer = await site.ask(form.path, "POST", body, cookie=form.cookie, content_type=kind, sec_fetch_site="same-site")
    assert answer.status == 403
    answer = await site.ask(form.path, "POST", body, cookie=form.cookie, content_type=kind)
    assert answer.status == 200


async def test_acts_are_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """CN-5: The log has the beginning and the end or failure of an act, one line each, without the token."""
    first, _ = await _session(site)
    with caplog.at_level(logging.WARNING):
        form = await form_of(site, "fork", id="s", checkpoint=first)
        await form.send(new_id="a\nb\x1b[31m")
        await form.send(new_id="fine")
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(":")[1].split("(")[0].strip() for line in lines] == [
        "fork begins",
        "fork failed",
        "fork begins",
        "fork done",
    ]
    assert not any(form.fields["token"] in line or "\x1b" in line or "\n" in line for line in lines)


async def test_acts_over_json(site: Site) -> None:
    """A program gets the form, and sends it back as JSON with the cookie."""
    first, _ = await _session(site)
    shown = await site.ask(f"/console/api/act/fork?id=s&checkpoint={first}")
    form = json.loads(str(shown.body))["data"]["form"]
    body = json.dumps({**form, "new_id": "copy"}).encode()
    cookie = shown.headers["set-cookie"].partition(";")[0]
    answer = await site.ask("/console/api/act/fork", "POST", body, cookie=cookie, content_type="application/json")
    assert json.loads(str(answer.body))["data"] == {"sessionId": "copy", "messageCount": 1}
    answer = await site.ask("/console/api/act/fork", "POST", b"[1]", cookie=cookie, content_type="application/json")
    assert json.loads(str(answer.body))["error"]["code"] == "invalid_argument"
    assert (await site.ask("/console/api/act/fork", "POST", b"x" * 70_000, cookie=cookie)).status == 400


async def test_the_cookie_is_out_of_reach(site: Site) -> None:
    """No script can read the cookie, no other site can send it, and over https no other host can set it."""
    await _session(site)
    answer = await site.ask("/console/act/export?id=s")
    name, _, attributes = answer.headers["set-cookie"].partition("=")
    assert name == "__Host-agents-console"
    assert attributes.split("; ")[1:] == ["Path=/", "Secure", "HttpOnly", "SameSite=Strict"]


async def test_a_database_alone_offers_what_needs_no_object(tmp_path: Any) -> None:
    """Without Durable Objects pages read, and acts on streams and locks are not offered."""
    site = Site()
    await site.store.migrate()
    first, _ = await _session(site)
    assert isinstance(site.database, SqliteDatabase)
    site.console = OperatorConsole(site.database, authorize=site.yes)
    for path in (
        "",
        "/session?id=s",
        "/messages?id=s",
        "/state?id=s",
        "/checkpoints?id=s",
        "/stream?id=s",
        "/usage",
        "/budgets",
    ):
        await site.page(f"/console{path}")
    for act in ("end-stream", "fail-stream", "sweep", "delete"):
        assert (await site.ask(f"/console/act/{act}?id=s")).status == 404
    assert (await (await form_of(site, "fork", id="s", checkpoint=first)).send(new_id="copy")).status == 200
    with pytest.raises(TypeError):
        OperatorConsole(object(), authorize=site.yes)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError):
        OperatorConsole(site.store, authorize=site.yes, prefix="console")
    with pytest.raises(TypeError):
        OperatorConsole(site.store, authorize=None)  # type: ignore[arg-type]
