"""The example Worker in the real runtime, once with its offline model and once with a live one that is a stub."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.end_to_end.browsing import new_window, started_browser
from tests.end_to_end.openai_stub import KEY, OpenAIStub, openai_stub
from tools.local_runtime import LocalRuntime, apply_migrations

CONFIG = Path(__file__).resolve().parents[2] / "wrangler.toml"


@dataclass(frozen=True, slots=True)
class LiveWorker:
    """The example Worker with a live model, and that model."""

    runtime: LocalRuntime
    stub: OpenAIStub


@pytest.fixture(scope="session")
def migrated_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a state folder, to copy, whose D1 database has the schema."""
    folder = tmp_path_factory.mktemp("migrated")
    apply_migrations(CONFIG, folder)
    return folder


@pytest.fixture(scope="module")
def worker(migrated_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRuntime]:
    """Serve the example Worker with its offline model, a word every 15 ms."""
    folder = _copy(migrated_state, tmp_path_factory)
    variables = {"TOKEN_DELAY_MS": "15", "LOCK_TTL_S": "10"}
    with LocalRuntime(CONFIG, persist=folder, vars=variables) as runtime:
        yield runtime


@pytest.fixture(scope="module")
def live_worker(migrated_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveWorker]:
    """Serve the example Worker with a live model."""
    folder = _copy(migrated_state, tmp_path_factory)
    with openai_stub() as stub:
        variables = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": stub.url, "OPENAI_MODEL": "stub-model"}
        with LocalRuntime(CONFIG, persist=folder, vars=variables) as runtime:
            yield LiveWorker(runtime, stub)


def _copy(migrated_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(migrated_state, tmp_path_factory.mktemp("worker") / "state")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start one browser for the tests of a module."""
    with started_browser() as started:
        yield started


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Open a new window. Errors of the page's own scripts fail the test."""
    with new_window(browser) as opened:
        yield opened
