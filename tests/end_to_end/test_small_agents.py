"""examples/openai_agent and examples/a2a_agent in the real runtime: what was begun goes on after the server was killed."""

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.end_to_end.sse_client import call
from tools.local_runtime import LocalRuntime

pytestmark = pytest.mark.runtime

EXAMPLES = Path(__file__).parents[2] / "examples"


def _get(runtime: LocalRuntime, path: str, status: int = 200, **query: str) -> Any:
    answer = call(runtime.url, "GET", f"/{path}?{urlencode(query)}")
    assert answer.status == status, answer.body
    return answer.json


def test_a_conversation_goes_on(tmp_path: Path) -> None:
    """OA-1, OA-7: the SDK's agent finds its items after a SIGKILL, and each answer's tokens count once."""
    config = EXAMPLES / "openai_agent/wrangler.toml"
    with LocalRuntime(config, persist=tmp_path, ready_path="/items?session=warm-up") as runtime:
        assert _get(runtime, "ask", say="fen") == {"answer": "It is wet land with reeds.", "promptTokens": 20}
        runtime.kill()
        runtime.restart()
        assert _get(runtime, "ask", say="moor")["promptTokens"] == 40
        assert _get(runtime, "items") == ["user", "function_call", "function_call_output", "message"] * 2
        assert _get(runtime, "forget") == {"taken": 4}
        assert _get(runtime, "elsewhere", 400)["error"]["code"] == "invalid_argument"


def test_a_task_goes_on(tmp_path: Path) -> None:
    """A2-1, A2-2: a task that waits for an answer outlives the server, and one that has ended cannot be cancelled."""
    config = EXAMPLES / "a2a_agent/wrangler.toml"
    with LocalRuntime(config, persist=tmp_path, ready_path="/tasks?context=warm-up") as runtime:
        asked = _get(runtime, "send", say="wood")
        other = _get(runtime, "send", say="coal")
        runtime.kill()
        runtime.restart()
        assert _get(runtime, "cancel", task=other["task"])["state"] == "canceled"
        ended = _get(runtime, "send", say="two", task=asked["task"])
        assert (asked["state"], ended["state"], ended["said"]) == ("input_required", "completed", ["bought: two"])
        assert _get(runtime, "cancel", 400, task=asked["task"])["error"]["code"] == "TaskNotCancelableError"
        assert [each["state"] for each in _get(runtime, "tasks")] == ["completed", "canceled"]
