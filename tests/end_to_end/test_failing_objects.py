"""Objects that fail on purpose, in the real runtime: the caller gets the cause or its id, the log has it once."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.sse_client import call
from tools.local_runtime import LocalRuntime

pytestmark = pytest.mark.runtime

WORKER = Path(__file__).with_name("failing_worker") / "wrangler.toml"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def worker() -> Iterator[LocalRuntime]:
    """The Worker whose objects fail."""
    with LocalRuntime(WORKER, ready_path="/") as runtime:
        yield runtime


@pytest.fixture
def logged(worker: LocalRuntime) -> Callable[[str], list[str]]:
    """Return the log's lines since the test began, as soon as one of them contains the text. Output arrives after its answer."""
    begins_at = len(worker.log().read_text())

    def lines(awaited: str) -> list[str]:
        deadline = time.monotonic() + PATIENCE_S
        while awaited not in (text := worker.log().read_text()[begins_at:]):
            assert time.monotonic() < deadline, text
            time.sleep(0.1)
        return [line for line in COLOUR.sub("", text).splitlines() if line.strip()]

    return lines


@pytest.mark.parametrize(
    ("path", "cause"), [("/stream", "no such column"), ("/lock", "JSONDecodeError: Expecting value")]
)
def test_a_failure_is_logged_once(
    worker: LocalRuntime, logged: Callable[[str], list[str]], path: str, cause: str
) -> None:
    """CO-12: The caller's error has the id. One line of the log has the id with the cause, and one line is the caller's own."""
    answer = call(worker.url, "GET", path)
    told = answer.body.decode()
    found = re.search(r"the object failed; its log has the cause under id '(\w+)'", told)
    assert found is not None, told
    assert cause not in told
    lines = [line for line in logged(f"GET {path} {answer.status}") if found[1] in line]
    assert len(lines) == 2, lines
    of_object, of_caller = lines
    assert f"internal error {found[1]}: " in of_object
    assert cause in of_object
    assert f"the call failed: {told}" in of_caller
    assert [line for line in logged(f"GET {path}") if "[ERROR]" in line] == lines


def test_a_class_that_raises_is_called_once(worker: LocalRuntime, logged: Callable[[str], list[str]]) -> None:
    """CO-12: The call is not repeated, because the platform prints a traceback for each call. The error says where to look."""
    answer = call(worker.url, "GET", "/raising")
    assert "in 1 attempts (the class of the object raised an exception" in answer.body.decode()
    lines = logged(f"GET /raising {answer.status}")
    assert sum("planted in call" in line for line in lines) == 2, "the line of the source, and the error"
