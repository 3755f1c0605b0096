"""The layers of the package: arrows lead down only, and JavaScript has one door."""

from pathlib import Path

import pytest

import agents_store_cloudflare
from tests.package import walls

HERE = Path(next(iter(agents_store_cloudflare.__path__)))


@pytest.fixture(scope="module")
def imports() -> list[walls.Import]:
    """Return every import of the installed package."""
    return walls.imports_of(HERE)


def test_arrows_lead_down(imports: list[walls.Import]) -> None:
    """Each part of the package imports only the parts that `walls.ARROWS` allows."""
    assert walls.unknown_parts(imports) == set(), "a new part needs a line in tests/package/walls.py"
    assert [str(found) for found in walls.forbidden_arrows(imports)] == []


def test_arrows_make_no_circle() -> None:
    """No part may reach itself through the allowed arrows."""
    reached = {part: set(below) for part, below in walls.ARROWS.items()}
    for _ in reached:
        for below in reached.values():
            below.update(*(reached[part] for part in tuple(below)))
    assert [part for part, below in reached.items() if part in below] == []


def test_javascript_has_one_door(imports: list[walls.Import]) -> None:
    """Only `cloudflare/` imports js and pyodide; only the shells in `durable_objects/` import workers."""
    assert [str(found) for found in walls.platform_outside_its_folder(imports)] == []


def test_production_does_not_import_testing(imports: list[walls.Import]) -> None:
    """Nothing that runs in a Worker imports the test tools."""
    assert [str(found) for found in walls.testing_in_production(imports)] == []


PLANTED = {
    "contract/a.py": "from agents_store_cloudflare.state import D1StateStore",
    "streams/b.py": "from agents_store_cloudflare import durable_streams",
    "locks/c.py": "def late():\n    import agents_store_cloudflare.usage.sql",
    "gateway/d.py": "def late():\n    from js import Response",
    "durable_objects/e.py": "import pyodide.ffi",
    "cloudflare/f.py": "from workers import DurableObject",
    "store.py": "from agents_store_cloudflare.testing import FakeClock",
    "attic/g.py": "import json",
}
ALLOWED = {
    "state/ok.py": "from agents_store_cloudflare.usage import UsageOptions",
    "cloudflare/ok.py": "import js",
    "durable_objects/ok.py": "from workers import DurableObject",
    "testing/ok.py": "from agents_store_cloudflare.testing.clock import FakeClock",
}


@pytest.fixture
def planted(tmp_path: Path) -> list[walls.Import]:
    """Return the imports of a tree with eight violations and some allowed imports."""
    for name, text in {**PLANTED, **ALLOWED}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return walls.imports_of(tmp_path)


def test_planted_violations_are_found(planted: list[walls.Import]) -> None:
    """Each wall reports exactly the violations that were planted for it."""
    assert {found.importer for found in walls.forbidden_arrows(planted)} == {
        "contract/a.py",
        "streams/b.py",
        "locks/c.py",
        "store.py",
    }
    assert walls.unknown_parts(planted) == {"attic"}
    assert {found.importer for found in walls.platform_outside_its_folder(planted)} == {
        "gateway/d.py",
        "durable_objects/e.py",
        "cloudflare/f.py",
    }
    assert [found.importer for found in walls.testing_in_production(planted)] == ["store.py"]
