"""The example Worker over HTTP: turns, streams resumed, sessions viewed, bad input, a live model, a killed runtime."""

import ast
import json
import re
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import LiveWorker
from tests.end_to_end.sse_client import PATIENCE_S, Answer, Event, call, events
from tools.local_runtime import LocalRuntime

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "research_agent"
DOCUMENTS = sorted(path.name for path in (EXAMPLE / "library").iterdir())
QUESTION = "How does a fencing token protect a session after its lock is lost?"
MAX_BODY_BYTES = 64 * 1024


@pytest.fixture
def session() -> str:
    """Return a session for this test only."""
    return f"session-{uuid.uuid4().hex[:12]}"


def ask(base: str, session: str, question: str = QUESTION) -> Answer:
    """Start a turn."""
    return call(base, "POST", f"/sessions/{session}/turns", body=json.dumps({"question": question}).encode())


def follow_turn(base: str, session: str, *, from_sequence: int) -> list[Event]:
    """Yield the chunks of a turn up to its last one."""
    chunks: list[Event] = []
    for event in events(base, f"/sessions/{session}/events?from={from_sequence}"):
        if event.kind == "chunk":
            chunks.append(event)
            if event.data["type"] in {"turn-end", "turn-failed"}:
                return chunks
    pytest.fail("the stream broke off")


def stored_turns(base: str, session: str, *, from_sequence: int, count: int) -> list[Event]:
    """Return the chunks of several turns, up to the end of the last turn."""
    chunks: list[Event] = []
    for _ in range(count):
        chunks += follow_turn(base, session, from_sequence=chunks[-1].sequence if chunks else from_sequence)
    return chunks


def stored_chunks(base: str, session: str) -> list[Event]:
    """Return all chunks that the stream has now."""
    chunks: list[Event] = []
    for event in events(base, f"/sessions/{session}/events"):
        if event.kind == "caught-up":
            return chunks
        chunks.append(event)
    pytest.fail("the stream broke off")


def view(base: str, session: str) -> dict[str, Any]:
    """Return the session's view."""
    answer = call(base, "GET", f"/sessions/{session}")
    assert answer.status == 200, answer.body
    return dict(answer.json)


def view_once_free(base: str, session: str) -> dict[str, Any]:
    """Return the session's view after its turn has released the lock."""
    deadline = time.monotonic() + PATIENCE_S
    while (seen := view(base, session))["locked"]:
        assert time.monotonic() < deadline, "the lock was not released"
        time.sleep(0.05)
    return seen


def spoken(chunks: list[Event]) -> str:
    """Return the text of the answer in these chunks."""
    return "".join(chunk.data["text"] for chunk in chunks if chunk.data["type"] == "text")


@pytest.mark.runtime
def test_a_turn_streams_an_answer_that_names_its_source(worker: LocalRuntime, session: str) -> None:
    """The 202 comes at once. Then come the tool's call and result, the answer word by word, and the end, without a gap in the numbers."""
    answer = ask(worker.url, session)
    assert answer.status == 202
    assert answer.json == {"turn": 1, "streamId": session, "fromSequence": 0}

    chunks = follow_turn(worker.url, session, from_sequence=0)

    kinds = [chunk.data["type"] for chunk in chunks]
    assert kinds[:3] == ["turn-start", "tool-call", "tool-result"]
    assert kinds[3:] == ["text"] * (len(kinds) - 5) + ["cost", "turn-end"]
    assert len(kinds) > 20
    assert [chunk.sequence for chunk in chunks] == list(range(1, len(chunks) + 1))
    assert {chunk.data["turn"] for chunk in chunks} == {1}
    assert any(name in spoken(chunks) for name in DOCUMENTS)


@pytest.mark.runtime
def test_the_session_view_agrees_with_the_stream(worker: LocalRuntime, session: str) -> None:
    """The stored messages, usage and checkpoint agree with the chunks."""
    ask(worker.url, session)
    chunks = follow_turn(worker.url, session, from_sequence=0)

    seen = view_once_free(worker.url, session)

    assert [message["role"] for message in seen["messages"]] == ["user", "assistant", "tool", "assistant"]
    assert seen["messages"][0]["content"] == QUESTION
    assert seen["messages"][1]["toolCalls"][0]["name"] == "search_docs"
    assert seen["messages"][2]["content"] == chunks[2].data["content"]
    assert seen["messages"][3]["content"] == spoken(chunks)
    assert seen["latest"] == {"turn": 1, "status": "completed"}
    assert seen["checkpoint"]["messageCount"] == 4
    assert seen["checkpoint"]["streamSequence"] == chunks[-1].sequence - 1
    assert seen["checkpoint"]["turnId"] == chunks[-1].data["turnId"]
    assert seen["usage"]["tokens"] == chunks[-2].data["usage"]
    assert seen["usage"]["tokensByModel"].keys() == {"offline"}
    assert seen["usage"]["toolStats"]["byTool"] == {"search_docs": 1}


@pytest.mark.runtime
def test_a_stream_resumes_without_gap_or_double(worker: LocalRuntime, session: str) -> None:
    """A client that disconnects in the middle and returns with Last-Event-ID gets every chunk once."""
    ask(worker.url, session)
    received: list[Event] = []
    for event in events(worker.url, f"/sessions/{session}/events"):
        received += [event] if event.kind == "chunk" else []
        if len(received) == 12:
            break

    headers = {"last-event-id": str(received[-1].sequence)}
    # The address still names where it began: the header goes before it.
    for event in events(worker.url, f"/sessions/{session}/events?from=0", headers=headers):
        received += [event] if event.kind == "chunk" else []
        if received[-1].data["type"] == "turn-end":
            break

    assert [event.sequence for event in received] == list(range(1, len(received) + 1))
    assert received == stored_chunks(worker.url, session)


@pytest.mark.runtime
def test_a_second_turn_on_a_locked_session_is_refused(worker: LocalRuntime, session: str) -> None:
    """A second turn gets 409 while the first one runs. The first turn ends normally, and then the session takes another."""
    ask(worker.url, session)

    refused = ask(worker.url, session, "Me too?")

    assert refused.status == 409
    assert refused.json["error"]["code"] == "lock_not_acquired"
    assert view(worker.url, session)["locked"]
    first = follow_turn(worker.url, session, from_sequence=0)
    assert first[-1].data["type"] == "turn-end"
    view_once_free(worker.url, session)
    second = ask(worker.url, session, "What is a checkpoint?")
    assert second.json == {"turn": 2, "streamId": session, "fromSequence": first[-1].sequence}
    follow_turn(worker.url, session, from_sequence=first[-1].sequence)
    assert len(view_once_free(worker.url, session)["messages"]) == 8


LONG_ID = "s" * 10_000
TURNS = "/sessions/s-bad/turns"
DEEP = b'{"question": ' + b"[" * 5_000 + b"]" * 5_000 + b"}"

BAD_INPUT: dict[str, tuple[str, str, bytes | None, int, str]] = {
    "no body": ("POST", TURNS, None, 400, "invalid_argument"),
    "wrong JSON": ("POST", TURNS, b'{"question": "What', 400, "invalid_argument"),
    "not UTF-8": ("POST", TURNS, b'{"question": "\xff"}', 400, "invalid_argument"),
    "nested too deep": ("POST", TURNS, DEEP, 400, "invalid_argument"),
    "not an object": ("POST", TURNS, b'["What?"]', 400, "invalid_argument"),
    "no question": ("POST", TURNS, b"{}", 400, "invalid_argument"),
    "a question of a wrong type": ("POST", TURNS, b'{"question": 42}', 400, "invalid_argument"),
    "an empty question": ("POST", TURNS, b'{"question": "  "}', 400, "invalid_argument"),
    "a lone surrogate": ("POST", TURNS, b'{"question": "\\ud800"}', 400, "invalid_argument"),
    "a body over the limit": ("POST", TURNS, b"x" * (MAX_BODY_BYTES + 1), 413, "body_too_large"),
    "a body far over the limit": ("POST", TURNS, b"x" * 3_000_000, 413, "body_too_large"),
    "a long session id, asked": ("POST", f"/sessions/{LONG_ID}/turns", b'{"question":"?"}', 400, "invalid_argument"),
    "a long session id, viewed": ("GET", f"/sessions/{LONG_ID}", None, 400, "invalid_argument"),
    "a long session id, followed": ("GET", f"/sessions/{LONG_ID}/events", None, 400, "invalid_argument"),
    "a reserved session id": ("GET", "/sessions/__proto__", None, 400, "invalid_argument"),
    "a session id that is not UTF-8": ("GET", "/sessions/%ff", None, 400, "invalid_argument"),
    "an empty session id": ("GET", "/sessions/", None, 400, "invalid_argument"),
    "an unknown session": ("GET", "/sessions/nobody", None, 404, "state_not_found"),
    "an unknown session's stream": ("GET", "/sessions/nobody/events", None, 404, "stream_not_found"),
    "a position that is no number": ("GET", "/sessions/nobody/events?from=x", None, 400, "invalid_argument"),
    "an unknown path": ("GET", "/sessions/s/turns/1", None, 404, "not_found"),
    "another unknown path": ("GET", "/favicon.ico", None, 404, "not_found"),
    "a wrong method": ("DELETE", "/sessions/s", None, 405, "method_not_allowed"),
    "a turn by GET": ("GET", TURNS, None, 405, "method_not_allowed"),
}


@pytest.mark.runtime
@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_told_apart(worker: LocalRuntime, case: str) -> None:
    """Each bad input gets its status and code as JSON, without internals of the Worker."""
    method, path, body, status, code = BAD_INPUT[case]

    answer = call(worker.url, method, path, body=body)

    assert (answer.status, answer.json["error"]["code"]) == (status, code)
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json == {"error": {"code": code, "message": answer.json["error"]["message"]}}
    assert "Traceback" not in answer.body.decode()
    assert len(answer.body) < 1_000


@pytest.mark.runtime
def test_the_page_is_served(worker: LocalRuntime) -> None:
    """The page loads nothing from other servers, and its policy forbids it."""
    answer = call(worker.url, "GET", "/")

    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert re.findall(rb'(?:src|href)="(?!/|#|data:)', answer.body) == []


@pytest.mark.runtime
def test_a_killed_runtime_loses_nothing_that_was_acknowledged(worker: LocalRuntime, session: str) -> None:
    """After SIGKILL in the middle of an answer, every seen chunk and every message is there, and the numbers continue."""
    ask(worker.url, session, "What is a checkpoint?")
    first = follow_turn(worker.url, session, from_sequence=0)
    before = view_once_free(worker.url, session)["messages"]
    assert ask(worker.url, session).status == 202
    received: list[Event] = []
    for event in events(worker.url, f"/sessions/{session}/events"):
        received += [event] if event.kind == "chunk" else []
        if len(received) == len(first) + 12:
            worker.kill()
    assert received[-1].data["type"] == "text", "the runtime was killed too late"

    worker.restart()

    stored = stored_chunks(worker.url, session)
    assert stored[: len(received)] == received
    assert [chunk.sequence for chunk in stored] == list(range(1, len(stored) + 1))
    seen = view(worker.url, session)
    assert seen["messages"][:-1] == before
    assert seen["messages"][-1] == {"role": "user", "content": QUESTION}
    assert seen["checkpoint"]["messageCount"] == len(before)
    again = ask_once_unlocked(worker.url, session, "What does a turn cost?")
    assert again.json == {"turn": 3, "streamId": session, "fromSequence": len(stored) + 1}
    told, *third = stored_turns(worker.url, session, from_sequence=len(stored), count=2)
    assert (told.data["type"], told.data["code"], told.data["turn"]) == ("turn-failed", "interrupted", 2)
    assert third[-1].data["type"] == "turn-end"
    assert [message["role"] for message in view(worker.url, session)["messages"][4:]] == [
        *("user", "user", "assistant", "tool", "assistant")
    ]


def ask_once_unlocked(base: str, session: str, question: str) -> Answer:
    """Start a turn as soon as the lock of a dead Worker has expired."""
    deadline = time.monotonic() + PATIENCE_S
    while (answer := ask(base, session, question)).status == 409:
        assert time.monotonic() < deadline, "the lock did not expire"
        time.sleep(0.1)
    assert answer.status == 202, answer.body
    return answer


@pytest.mark.runtime
def test_the_cron_trigger_tells_the_readers_of_a_lost_turn(worker: LocalRuntime, session: str) -> None:
    """TU-6: After a SIGKILL without further requests, the cron trigger closes the turn once its lock has expired."""
    ask(worker.url, session)
    for event in events(worker.url, f"/sessions/{session}/events"):
        if event.kind == "chunk" and event.sequence > 5:
            worker.kill()
    worker.restart()
    deadline = time.monotonic() + PATIENCE_S
    while view(worker.url, session)["latest"]["status"] == "running":
        assert call(worker.url, "GET", "/cdn-cgi/local/scheduled").status == 200
        assert time.monotonic() < deadline, "the turn was not closed"
        time.sleep(0.5)
    assert view(worker.url, session)["latest"] == {"turn": 1, "status": "interrupted"}
    last = follow_turn(worker.url, session, from_sequence=0)[-1]
    assert (last.data["type"], last.data["code"]) == ("turn-failed", "interrupted")


@pytest.mark.runtime
def test_a_live_model_is_reached_by_fetch(live_worker: LiveWorker, session: str) -> None:
    """The parts of a streamed tool call are joined, the answer streams, and the model's own usage figures are recorded."""
    base, stub = live_worker.runtime.url, live_worker.stub
    ask(base, session)

    chunks = follow_turn(base, session, from_sequence=0)

    assert json.loads(chunks[1].data["arguments"]) == {"query": "fencing tokens"}
    assert [chunk.data["text"] for chunk in chunks if chunk.data["type"] == "text"] == list(stub.answer)
    assert chunks[-2].data["usage"] == {"prompt": 200, "completion": 20, "reasoning": 6, "cached": 128, "total": 220}
    assert view_once_free(base, session)["usage"]["tokensByModel"].keys() == {"stub-model"}


@pytest.mark.runtime
def test_a_live_model_is_told_the_whole_history(live_worker: LiveWorker, session: str) -> None:
    """Stored messages return unchanged: the second turn sends the call and the result of the first."""
    base, stub = live_worker.runtime.url, live_worker.stub
    ask(base, session)
    chunks = follow_turn(base, session, from_sequence=0)
    view_once_free(base, session)
    first = [request for request in stub.requests if request["messages"][1]["content"] == QUESTION][-1]["messages"]

    ask(base, session, "And then?")
    follow_turn(base, session, from_sequence=chunks[-1].sequence)

    second = [request for request in stub.requests if request["messages"][-1]["content"] == "And then?"][-1]["messages"]
    assert [message["role"] for message in second] == ["system", "user", "assistant", "tool", "assistant", "user"]
    assert second[: len(first)] == first
    assert second[-2]["content"] == "".join(stub.answer)


@pytest.mark.runtime
def test_a_model_that_fails_ends_the_turn_with_an_error_chunk(live_worker: LiveWorker, session: str) -> None:
    """Readers get the error, the question is kept, the lock is free, and the next turn answers."""
    base = live_worker.runtime.url
    ask(base, session, "Please FAIL")

    chunks = follow_turn(base, session, from_sequence=0)

    assert [chunk.data["type"] for chunk in chunks] == ["turn-start", "turn-failed"]
    assert chunks[-1].data["code"] == "failed"
    seen = view_once_free(base, session)
    assert seen["messages"] == [{"role": "user", "content": "Please FAIL"}]
    assert (seen["latest"]["status"], seen["checkpoint"]) == ("failed", None)
    ask(base, session)
    assert follow_turn(base, session, from_sequence=2)[-1].data["type"] == "turn-end"


@pytest.mark.runtime
def test_a_turn_costs_what_the_readme_says(live_worker: LiveWorker, session: str) -> None:
    """TU-9: A turn is two D1 batches. The cost chunk before the end has the cost of the whole turn, and the log has the same."""
    base = live_worker.runtime.url
    ask(base, session)
    first = follow_turn(base, session, from_sequence=0)
    view_once_free(base, session)
    ask(base, session)
    second = follow_turn(base, session, from_sequence=first[-1].sequence)
    view_once_free(base, session)

    logged = _logged_costs(live_worker.runtime, session)
    assert [cost["d1"]["roundTrips"] for cost in logged] == [2, 2]
    assert [cost["d1"]["rowsWritten"] for cost in logged] == [33, 30]
    # Adding to totals reads what is in them: more where another turn of the day was first.
    assert [cost["d1"]["rowsRead"] <= most for cost, most in zip(logged, (70, 90), strict=True)] == [True, True]
    for cost, chunks in zip(logged, (first, second), strict=True):
        # Two to the lock; three to the stream at least: its start, what waits at the end, the closing chunk.
        # How often the writer flushes between them depends on the time that the model takes; each flush has a chunk.
        assert 5 <= cost["objects"]["calls"] <= 5 + len(chunks)
        told = chunks[-2].data["cost"]
        assert told["d1"]["rowsWritten"] == cost["d1"]["rowsWritten"]
        assert told["objects"]["calls"] == cost["objects"]["calls"]
        assert told["objects"]["rowsWritten"] == cost["objects"]["rowsWritten"]
        assert abs(told["d1"]["rowsRead"] - cost["d1"]["rowsRead"]) <= 25
        assert 30 <= float(told["perMillion"]) <= 40 + 2 * len(chunks)


def _logged_costs(runtime: LocalRuntime, session: str) -> list[dict[str, Any]]:
    lines = re.findall(rf"the turn of session '{session}' cost (\{{.*\}})", runtime.log().read_text())
    return [ast.literal_eval(line) for line in lines]


@pytest.mark.runtime
@pytest.mark.parametrize("page", [ROOT / "README.md", EXAMPLE / "README.md"], ids=["the project's", "the example's"])
def test_the_readmes_show_what_happens(worker: LocalRuntime, page: Path) -> None:
    """Every curl line of the READMEs runs as printed, and prints the text that the README shows."""
    text = page.read_text()
    commands = re.findall(r"^\$ (curl .*(?:\\\n.*)*)\n((?:(?!\$ |```).*\n)*)", text, re.MULTILINE)
    assert len(commands) >= 4
    for command, expected in commands:
        local = command.replace("http://localhost:8787", worker.url)
        done = subprocess.run(["bash", "-c", local], capture_output=True, text=True, check=False, timeout=PATIENCE_S)
        assert done.returncode in {0, 28}, (local, done.stderr)  # 28: --max-time ended a stream that goes on
        for line in expected.splitlines():
            assert all(part in done.stdout for part in line.split("…")), (local, line, done.stdout)


def test_every_document_is_in_the_library() -> None:
    """The Worker carries the documents below its entry module. The library links to each document, and each link works."""
    documents = {path.name: path for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]}

    links = {path.name: path for path in (EXAMPLE / "library").iterdir()}

    assert links.keys() == documents.keys()
    assert all(links[name].samefile(documents[name]) for name in links)
