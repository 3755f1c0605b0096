"""docs/command.md shows what the command really prints."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from agents_store_cloudflare.contract.state.records import AgentState
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing import FakeClock, SqliteDatabase
from agents_store_cloudflare.usage import D1UsageStore
from tests.command.conftest import NOW_MS, Outcome

PAGE = (Path(__file__).parents[2] / "docs/command.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^\$ python -m agents_store_cloudflare (.*)\n((?:(?!\$ |```).*\n)*)", PAGE, re.MULTILINE)


@pytest.fixture
async def worker_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of a Worker whose sessions the page shows, with one history that somebody has damaged."""
    folder = tmp_path / ".wrangler/state/v3/d1/miniflare-D1DatabaseObject"
    folder.mkdir(parents=True)
    database = SqliteDatabase(folder / "9ba2b04b.sqlite")
    await run_migration(database)
    clock = FakeClock(NOW_MS)
    states, usage = D1StateStore(database, now_ms=clock.now_ms), D1UsageStore(database, now_ms=clock.now_ms)
    texts = [
        "Plan a trip to Kyoto in April.",
        "I looked at flights, temples and the weather. " * 4,
        "Four days, please.",
    ]
    state = AgentState(session_id="trip-7", agent_type="planner", custom_state={"city": "Kyoto", "days": 4})
    for number, text in enumerate(texts):
        state.messages.append({"role": ("user", "assistant")[number % 2], "content": text})
        await states.save(state)
        await clock.advance(61)
    await states.start_run("trip-7", "run-1")
    await clock.advance(183)
    await states.save_checkpoint("trip-7")
    await clock.advance(122)
    await states.create_session("trip-7/weather", agent_type="weather", parent_session_id="trip-7")
    await states.update_status("trip-7/weather", "completed")
    await clock.advance(61)
    tokens = {"prompt": 5200, "completion": 640, "cached": 4096}
    await usage.record_tokens("trip-7", model="large-1", tokens=tokens, cost_micros=12_400)
    await clock.advance(122)
    await usage.record_tool("trip-7", tool_name="flights", duration_ms=420, success=True)
    database.close()
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("arguments", "output"), SHOWN, ids=[arguments for arguments, _ in SHOWN])
def test_what_the_page_shows(worker_folder: None, command: Callable[..., Outcome], arguments: str, output: str) -> None:
    """Each command of the page prints the text below it. `…` at the end of a line stands for its rest."""
    done = command(*shlex.split(arguments))
    shown, printed = output.strip("\n").split("\n"), done.out.splitlines()
    assert done.status == 0
    assert len(shown) == len(printed)
    for line, real in zip(shown, printed, strict=True):
        assert real == line or (line.endswith("…") and real.startswith(line[:-1]))


def test_the_page_shows_something() -> None:
    """The page has the output of each command except one for wrangler's files."""
    assert {arguments.split()[0] for arguments, _ in SHOWN} == {
        "sessions",
        "show",
        "usage",
        "export",
        "doctor",
        "migrate",
    }
