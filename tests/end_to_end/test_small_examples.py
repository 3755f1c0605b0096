"""The quickstart and the scheduled clean-up, served as their READMEs say."""

import json
import re
import shutil
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tools.local_runtime import LocalRuntime, wrangler

pytestmark = pytest.mark.runtime

EXAMPLES = Path(__file__).parents[2] / "examples"
DAY_MS = 86_400_000


def _get(runtime: LocalRuntime, path: str) -> Any:
    with urlopen(f"{runtime.url}{path}", timeout=60) as response:
        return json.load(response)


def _wait_for_log(runtime: LocalRuntime, line: str) -> None:
    """Wait for a line of the log. The runtime's output arrives a little after its answer."""
    deadline = time.monotonic() + 60
    while line not in runtime.log().read_text():
        assert time.monotonic() < deadline, runtime.log().read_text()
        time.sleep(0.1)


def test_the_quickstart_remembers(tmp_path: Path) -> None:
    """Each request adds a message. Every answered message is there after a SIGKILL."""
    with LocalRuntime(
        EXAMPLES / "quickstart/wrangler.toml", persist=tmp_path, ready_path="/?session=warm-up"
    ) as runtime:
        first = _get(runtime, "/?session=ada&say=hello")
        assert (first["version"], first["messages"]) == (2, [{"role": "user", "content": "hello"}])
        assert re.fullmatch(r"2 D1 round trips, 5 calls to objects: \$\d+\.\d+ per million", first["cost"])
        assert _get(runtime, "/?session=ada&say=again")["version"] == 4
        runtime.kill()
        runtime.restart()
        answer = _get(runtime, "/?session=ada&say=still")
    assert [message["content"] for message in answer["messages"]] == ["hello", "again", "still"]


def test_the_worker_of_the_readme_runs(tmp_path: Path) -> None:
    """The README's first code runs in a folder outside this project with the quickstart's configuration."""
    folder = tmp_path / "mine"
    shutil.copytree(EXAMPLES / "quickstart", folder)
    [code, *_] = re.findall(r"```python\n(.*?)```", (EXAMPLES.parent / "README.md").read_text(), re.DOTALL)
    (folder / "entry.py").write_text(code)
    with LocalRuntime(folder / "wrangler.toml") as runtime, urlopen(runtime.url, timeout=60) as response:
        assert response.read() == b"I have 1 messages of yours and mine."


def test_the_clean_up_deletes_what_has_had_its_time(tmp_path: Path) -> None:
    """Expired sessions and old usage are deleted, and everything else stays."""
    config = EXAMPLES / "scheduled_cleanup/wrangler.toml"
    now = int(time.time() * 1000)

    def execute(command: str) -> str:
        arguments = ("d1", "execute", "AGENT_DB", "--local", "--json", "--command", command)
        return wrangler(*arguments, config=config, persist=tmp_path)

    with LocalRuntime(config, persist=tmp_path) as runtime:
        with urlopen(f"{runtime.url}/cdn-cgi/local/scheduled", timeout=60) as response:
            assert response.status == 200
        runtime.stop()
        execute(
            "INSERT INTO __agents_states (session_id, agent_type, session_no, expires_at, created_at, updated_at) VALUES"
            f" ('expired', 'x', 1, {now - 1000}, 1, 1), ('young', 'x', 2, {now + DAY_MS}, 1, 1), ('kept', 'x', 3, NULL, 1, 1);"
            "INSERT INTO __agents_usage VALUES"
            f" ('old', 'kept', 'custom', 0, {now - 91 * DAY_MS}, 'agent', 'x', '{{}}', 1),"
            f" ('new', 'kept', 'custom', 0, {now - 89 * DAY_MS}, 'agent', 'x', '{{}}', 1)"
        )
        runtime.restart()
        with urlopen(f"{runtime.url}/cdn-cgi/local/scheduled", timeout=60) as response:
            assert response.status == 200
        _wait_for_log(runtime, "deleted 1 sessions and 1 usage entries")
        assert not re.search("ERROR.*deleted", runtime.log().read_text()), "a success is shown as an error"
        runtime.stop()
        left = json.loads(
            execute("SELECT session_id AS id FROM __agents_states UNION ALL SELECT id FROM __agents_usage ORDER BY id")
        )
    assert [row["id"] for row in left[0]["results"]] == ["kept", "new", "young"]
