"""docs/frameworks.md, and each framework's page: what a Worker with it uploads and imports."""

import gzip
import re

import pytest

from tests.end_to_end.framework_imports import HERE, PAGE, ROW, WORKERS, first_import
from tools.requirements import worker_requirements
from tools.vendor import third_party

pytestmark = pytest.mark.runtime

MOST_GZIP_MB = 7.0
ROWS = {name: tuple(float(each.replace(",", "")) for each in told) for name, *told in ROW.findall(PAGE.read_text())}
PAGES = ("pydantic-ai", "openai-agents", "a2a")
"""The frameworks whose own page says the sizes too."""
OF_PAGE = re.compile(r"(\d+\.\d) MB, (\d+\.\d) MB after gzip")


def test_every_row_is_measured() -> None:
    """No row without a Worker, no Worker without a row."""
    assert ROWS.keys() == WORKERS.keys()


@pytest.mark.parametrize("framework", WORKERS)
def test_size(framework: str) -> None:
    """To a tenth of a megabyte, and below 7 MB after gzip."""
    folder = HERE / WORKERS[framework][0]
    [main] = folder.glob("*_entry.py")
    installed = third_party(worker_requirements(folder / "wrangler.toml", main))
    content = b"".join(path.read_bytes() for path in sorted(installed.rglob("*")) if path.is_file())
    sizes_mb = len(content) / 1e6, len(gzip.compress(content, 6)) / 1e6
    assert sizes_mb[1] < MOST_GZIP_MB
    assert ROWS[framework][:2] == pytest.approx(sizes_mb, abs=0.1)
    if framework in PAGES:
        told = OF_PAGE.search((PAGE.parent / f"{framework}.md").read_text())
        assert told is not None, sizes_mb
        assert tuple(map(float, told.groups())) == pytest.approx(sizes_mb, abs=0.1)


@pytest.mark.parametrize("framework", WORKERS)
def test_modules(framework: str) -> None:
    """The modules of the first import, to a twentieth. The seconds are the machine's: framework_imports.py measures them."""
    modules, _ = first_import(framework)
    assert ROWS[framework][2] == pytest.approx(modules, rel=0.05)
