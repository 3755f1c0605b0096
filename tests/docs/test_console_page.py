"""docs/console.md describes the JSON that the console answers with, its acts and its pictures, as they are."""

import re
from collections.abc import AsyncIterator
from urllib.parse import urlencode

import pytest

from agents_store_cloudflare.console.acts import ACTS
from tests.console.conftest import Site
from tools.places import ROOT
from tools.screenshots import PICTURES

PAGE = ROOT / "docs" / "console.md"
TEXT = PAGE.read_text(encoding="utf-8")
QUERIES = {
    "sessions": {"prefix": "s", "view": "all"},
    "session": {"id": "s"},
    "messages": {"id": "s", "from": "0"},
    "message": {"id": "s", "n": "0"},
    "state": {"id": "s", "at": "now"},
    "value": {"id": "s", "at": "now", "path": "/plan"},
    "checkpoints": {"id": "s"},
    "runs": {"id": "s"},
    "stream": {"id": "s", "after": "0"},
    "usage": {"by": "model"},
    "budgets": {},
    "act/{name}": {"id": "s"},
}
"""A row of the table -> parameters with which it can be asked. `compare` needs the ids of two checkpoints, `events` is a stream."""


def documented() -> dict[str, tuple[set[str], list[str]]]:
    """Return each row of the table of the JSON: its parameters, and the keys of its data."""
    rows: dict[str, tuple[set[str], list[str]]] = {}
    for line in TEXT.split("## JSON")[1].splitlines():
        cells = line.strip("|").split(" | ")
        if len(cells) == 3 and cells[0].startswith(" `") and "GET" not in cells[0]:
            keys = re.findall(r"`([a-zA-Z]+)`", cells[2])
            rows[cells[0].strip(" `")] = (set(re.findall(r"`([a-z_]+)`", cells[1])), keys)
    return rows


@pytest.fixture
async def filled() -> AsyncIterator[Site]:
    """A console over one session with two checkpoints, a stream, usage and a budget."""
    site = Site()
    await site.store.migrate()
    states = site.store.state_store
    state = await states.create_session("s", agent_type="chat", initial_state={"plan": "go"})
    await states.save_checkpoint("s", state)
    async with site.store.turn("s", agent_type="chat", messages=[{"role": "user", "content": "hello"}]) as turn:
        await turn.write({"type": "text", "text": "hello"})
        turn.record_tokens(model="m", prompt=1, completion=1)
    await site.store.usage_store.set_budget("team", 100, "tokens")
    yield site
    site.database.close()


def test_the_table_is_read() -> None:
    """Every row of the table is asked by the test below."""
    assert documented().keys() == QUERIES.keys() | {"compare", "events"}


@pytest.mark.parametrize("name", QUERIES)
async def test_each_answer_has_the_keys_of_its_row(filled: Site, name: str) -> None:
    """CN-2: The data of each address has these keys and no other."""
    parameters, keys = documented()[name]
    assert set(QUERIES[name]) <= parameters or name == "act/{name}"
    path = name.replace("{name}", "delete")
    found = await filled.data(f"/console/api/{path}?{urlencode(QUERIES[name])}")
    assert sorted(found) == sorted(keys)


async def test_compare(filled: Site) -> None:
    """The differences of two checkpoints, by their ids."""
    newest, oldest = [each.id for each in await filled.store.state_store.list_checkpoints("s")]
    found = await filled.data(f"/console/api/compare?id=s&from={oldest}&to={newest}")
    assert sorted(found) == sorted(documented()["compare"][1])


async def test_an_error_is_a_code_and_a_message(filled: Site) -> None:
    """As the page says."""
    answer = await filled.ask("/console/api/session?id=nobody")
    assert answer.status == 404
    assert str(answer.body).startswith('{"error": {"code": "')


def test_every_act_stands_in_the_table() -> None:
    """And none that does not exist."""
    shown = set(re.findall(r"`act/([a-z-]+)`", TEXT.split("## Acts")[1].split("## ")[0]))
    assert shown == set(ACTS)


def test_every_picture_is_shown_and_described() -> None:
    """`make screenshots` takes the pictures that the page shows, and no other."""
    shown = dict(re.findall(r"!\[([^\]]+)\]\(console/([a-z]+)\.png\)", TEXT))
    assert sorted(shown.values()) == sorted(name for name, *_ in PICTURES)
    assert all((PAGE.parent / "console" / f"{name}.png").is_file() for name in shown.values())
