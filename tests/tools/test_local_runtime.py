"""Servers that do not start say why, and none outlives the process that asked for it."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from tools import local_runtime, staging
from tools.local_runtime import LocalRuntime, RuntimeStartError

SUPERVISOR = Path(local_runtime.__file__).with_name("supervisor.py")


@pytest.fixture
def javascript_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Worker that needs no packages, staged below `tmp_path`."""
    monkeypatch.setattr(staging, "STAGES", tmp_path / ".stages")
    (tmp_path / "index.js").touch()
    (tmp_path / "wrangler.toml").write_text('name = "js"\nmain = "index.js"\ncompatibility_date = "2026-11-01"\n')
    return tmp_path / "wrangler.toml"


def pretend_wrangler(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Let the runtime start a small Python program where it would start wrangler."""

    def command(_stage_folder: Path, **_options: object) -> list[str]:
        return [sys.executable, "-c", program]

    monkeypatch.setattr(local_runtime, "dev_command", command)


def test_a_runtime_that_ends_early_reports_its_last_words(
    javascript_worker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error carries the output, and the staged copy is gone."""
    pretend_wrangler(monkeypatch, "print('no such binding')")

    with pytest.raises(RuntimeStartError, match="no such binding"), LocalRuntime(javascript_worker):
        pytest.fail("it must not start")
    assert list(staging.STAGES.iterdir()) == []


def test_a_runtime_that_never_answers_is_ended_at_the_deadline(
    javascript_worker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hanging start costs the deadline and no more."""
    pretend_wrangler(monkeypatch, "import time; print('still thinking', flush=True); time.sleep(60)")

    runtime = LocalRuntime(javascript_worker, deadline_s=0.5)
    with pytest.raises(RuntimeStartError, match="no answer"):
        runtime.start()
    assert "still thinking" in runtime.log().read_text()
    runtime.close()


def test_a_first_request_without_an_answer_is_a_failed_start(
    javascript_worker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Worker that listens and never answers costs the deadline, and the error carries its output."""
    runtime = LocalRuntime(javascript_worker, deadline_s=2, ready_path="/")
    address = ("127.0.0.1", int(runtime.url.rpartition(":")[2]))
    pretend_wrangler(
        monkeypatch,
        f"import socket, time; listening = socket.create_server({address}); "
        f"print({local_runtime.READY!r}, flush=True); time.sleep(60)",
    )
    with pytest.raises(RuntimeStartError, match=local_runtime.READY):
        runtime.start()
    runtime.close()


def test_a_taken_port_is_reported_before_anything_starts(
    javascript_worker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other program's answers are never mistaken for the Worker's."""
    monkeypatch.setattr(local_runtime, "PORT_RELEASE_S", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as other:
        runtime = LocalRuntime(javascript_worker, port=other.getsockname()[1])
        with pytest.raises(RuntimeStartError, match="is taken"):
            runtime.start()
    runtime.close()


def test_two_servers_of_one_folder_have_nothing_in_common(javascript_worker: Path) -> None:
    """Each has its own staged copy, state, log and port."""
    one, other = LocalRuntime(javascript_worker), LocalRuntime(javascript_worker)

    assert one.persist() != other.persist()
    assert one.log() != other.log()
    assert one.url != other.url
    one.close()
    other.close()


def test_stages_of_dead_processes_are_removed(javascript_worker: Path) -> None:
    """A test run that was killed leaves no copy behind for long."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    abandoned = staging.STAGES / f"js-{gone.pid}-1"
    abandoned.mkdir(parents=True)

    staging.stage(javascript_worker)

    assert not abandoned.exists()


def test_the_whole_group_dies_when_its_parent_does() -> None:
    """Even a SIGKILL of the parent, which runs no handler, ends the supervised process."""
    parent_program = (
        "import subprocess, sys, time\n"
        f"command = [sys.executable, {str(SUPERVISOR)!r}, sys.executable, '-c', "
        "'import os, time; print(os.getpid(), flush=True); time.sleep(60)']\n"
        "child = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", parent_program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        supervised = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)

    deadline = time.monotonic() + 10
    while _runs(supervised) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _runs(supervised)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A killed process whose new parent has not collected it yet still has a number, but runs no more.
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return not state.stdout.startswith("Z")


def test_a_missing_package_is_named_with_the_file_to_change(
    javascript_worker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import that fails at the start ends in one sentence, below the runtime's own output."""
    pretend_wrangler(monkeypatch, """print("ModuleNotFoundError: No module named 'httpx'")""")

    with pytest.raises(RuntimeStartError, match=r"imports 'httpx'.*pyproject\.toml"), LocalRuntime(javascript_worker):
        pytest.fail("it must not start")


def test_edits_reach_the_staged_copy(javascript_worker: Path) -> None:
    """A changed file, a new one and a removed one are followed, and nothing else is touched."""
    folder = staging.stage(javascript_worker)
    source, copy = javascript_worker.parent, folder / "worker"
    assert staging.follow_edits(javascript_worker, folder) == []

    (source / "index.js").write_text("// edited")
    (source / "parts").mkdir()
    (source / "parts" / "new.js").write_text("// new")
    assert sorted(staging.follow_edits(javascript_worker, folder)) == [Path("index.js"), Path("parts/new.js")]
    assert (copy / "index.js").read_text() == "// edited"
    assert (copy / "parts" / "new.js").read_text() == "// new"

    (source / "parts" / "new.js").unlink()
    assert staging.follow_edits(javascript_worker, folder) == [Path("parts/new.js")]
    assert not (copy / "parts" / "new.js").exists()


@pytest.mark.runtime
def test_the_start_sends_no_request_and_edits_reload(tmp_path: Path) -> None:
    """The first request that reaches a Worker is its user's; an edited entry module answers the next one."""
    entry = tmp_path / "entry.py"
    entry.write_text(COUNTING)
    config = 'name = "counting"\nmain = "entry.py"\ncompatibility_date = "2026-11-01"\ncompatibility_flags = ["python_workers"]\n'
    (tmp_path / "wrangler.toml").write_text(config)
    with LocalRuntime(tmp_path / "wrangler.toml") as runtime:
        waiting = threading.Thread(target=runtime.wait, daemon=True)
        waiting.start()
        assert answer(runtime.url) == "request 1"
        entry.write_text(COUNTING.replace("request", "edited"))
        deadline = time.monotonic() + 30
        while not answer(runtime.url).startswith("edited"):
            assert time.monotonic() < deadline, "the edit did not reach the Worker"
            time.sleep(0.2)
    waiting.join(10)


def answer(url: str) -> str:
    """The body of a GET."""
    with urlopen(url, timeout=30) as response:
        return str(response.read().decode())


COUNTING = """
from workers import Response, WorkerEntrypoint

requests = []


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        requests.append(1)
        return Response(f"request {len(requests)}")
"""
