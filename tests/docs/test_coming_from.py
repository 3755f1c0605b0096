"""docs/coming-from.md sets names of other frameworks beside names of this package that exist."""

import inspect
import re

import pytest

import agents_store_cloudflare
from agents_store_cloudflare import Turn
from agents_store_cloudflare.adapters import langgraph, openai_agents
from tools.places import ROOT

TEXT = (ROOT / "docs" / "coming-from.md").read_text(encoding="utf-8")
SECTIONS = ("LangGraph", "openai-agents", "Cloudflare `agents` (TypeScript)", "Helix (TypeScript)")
IS_NAME = re.compile(r"[A-Za-z_]+(?:\.[A-Za-z_]+)*(?:\(.*\))?")
NOT_OURS = {"env.AGENT_DB", "session_id", "agents_store_cloudflare.adapters.langgraph"}
"""A binding, an argument, and a module."""


def _rows(section: str) -> list[list[str]]:
    after = TEXT.split(f"## {section}\n")[1].split("\n## ")[0]
    lines = [line for line in after.splitlines() if line.startswith("| ") and "---" not in line]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


def _known() -> set[str]:
    """Every public name, and every public member of a public class."""
    values = [getattr(agents_store_cloudflare, name) for name in agents_store_cloudflare.__all__]
    members = {name for value in values if inspect.isclass(value) for name in dir(value)}
    return {*dir(agents_store_cloudflare), *members, *dir(Turn), *langgraph.__all__, *openai_agents.__all__}


def test_the_frameworks() -> None:
    """A table for each of the four, with more than a few rows."""
    assert re.findall(r"^## (.+)$", TEXT, re.MULTILINE) == list(SECTIONS)
    assert all(len(_rows(section)) >= 6 for section in SECTIONS)


@pytest.mark.parametrize("section", SECTIONS)
def test_our_names_exist(section: str) -> None:
    """The names of the second column are public."""
    known = _known()
    names = [name for row in _rows(section) for name in re.findall(r"`([^`]+)`", row[1]) if IS_NAME.fullmatch(name)]
    assert names
    strange = [name for name in names if name not in NOT_OURS and name.partition("(")[0].split(".")[-1] not in known]
    assert strange == []


def test_helix_names_are_the_same_in_pythons_spelling() -> None:
    """`saveState` stands beside `save_state`."""
    for theirs, ours in _rows("Helix (TypeScript)"):
        calls = [re.sub(r"\(.*", "", name).split(".")[-1] for name in re.findall(r"`([^`]+)`", theirs)]
        spelled = {re.sub(r"([A-Z])", lambda found: f"_{found[1].lower()}", call) for call in calls}
        assert any(name in ours for name in spelled), (theirs, ours)
