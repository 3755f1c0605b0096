"""The names of the package: few at the top, the others where they belong, all of them found."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import agents_store_cloudflare
from tools.places import NODE_BIN, VENV

PARTS = ("budgets", "costs", "durable_streams", "gateway")
SERVERS = {"LockServer", "SessionServer", "StreamServer"}


def test_star_import_works_on_cpython() -> None:
    """`import *` gives every seed name and needs no Workers runtime."""
    code = "from agents_store_cloudflare import *; D1StateStore, AgentState, run_migration"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_seed_names_are_sorted_and_stand_once() -> None:
    """The list is sorted, and holds no name of operators or protocol servers."""
    names = agents_store_cloudflare.__all__
    assert len(set(names)) == len(names)
    assert not set(names) & {name for part in PARTS for name in _names(part)}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_s_names_are_also_found_at_the_top(part: str) -> None:
    """Every name of a part is the same object at the top level, and `dir` lists it."""
    module = import_module(f"agents_store_cloudflare.{part}")
    for name in _names(part):
        assert getattr(agents_store_cloudflare, name) is getattr(module, name)
    assert set(_names(part)) <= set(dir(agents_store_cloudflare))
    assert getattr(agents_store_cloudflare, part) is module


@pytest.mark.parametrize("name", sorted(SERVERS))
def test_servers_say_what_they_need(name: str) -> None:
    """The Durable Object classes cannot load on CPython, and the error names the remedy."""
    assert name in dir(agents_store_cloudflare)
    with pytest.raises(ImportError, match=f"{name}.*Workers runtime.*LocalObjects"):
        getattr(agents_store_cloudflare, name)


def test_a_wrong_name_is_an_attribute_error() -> None:
    """A name that does not exist is refused as Python refuses it."""
    with pytest.raises(AttributeError, match="no attribute 'StreamGatway'"):
        getattr(agents_store_cloudflare, "StreamGatway")  # noqa: B009 - a checker would refuse the plain form


LATE_NAMES = """
from agents_store_cloudflare import Budget, DurableStreams, LockObject, Meter, StreamGateway, StreamObject, StreamServer
from agents_store_cloudflare import HttpRequest, SubscriptionOptions
from agents_store_cloudflare.durable_streams import StreamObject as Same

reveal_type(StreamGateway)
reveal_type(Same)
"""


def test_checkers_know_the_late_names(tmp_path: Path) -> None:
    """Type checkers resolve the late names, and refuse a name that does not exist."""
    (tmp_path / "right.py").write_text(LATE_NAMES, encoding="utf-8")
    (tmp_path / "wrong.py").write_text("from agents_store_cloudflare import StreamGatway", encoding="utf-8")
    done = subprocess.run(
        [str(NODE_BIN / "pyright"), "--pythonpath", str(VENV / "bin" / "python"), "right.py", "wrong.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "type[StreamGateway]" in done.stdout
    assert "type[StreamObject]" in done.stdout
    assert "right.py" not in "".join(line for line in done.stdout.splitlines() if "error:" in line)
    assert '"StreamGatway" is unknown import symbol' in done.stdout


def _names(part: str) -> list[str]:
    return list(import_module(f"agents_store_cloudflare.{part}").__all__)
