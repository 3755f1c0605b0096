"""docs/costs.md says what every public call costs, and it is so."""

import inspect
import re
from collections.abc import Iterator, Mapping

import pytest

from agents_store_cloudflare import (
    CloudflareStore,
    D1StateStore,
    D1UsageStore,
    DurableObjectLockManager,
    DurableObjectStreamManager,
    migrations,
)
from agents_store_cloudflare.adapters.a2a import D1TaskStore
from agents_store_cloudflare.adapters.langgraph import D1Saver, D1Store
from agents_store_cloudflare.adapters.openai_agents import D1Session
from agents_store_cloudflare.adapters.pydantic_ai import D1ConversationStore
from agents_store_cloudflare.adapters.ui import MessageStreams
from agents_store_cloudflare.console import OperatorConsole
from agents_store_cloudflare.console.pages import PAGES
from agents_store_cloudflare.gateway import StreamGateway
from agents_store_cloudflare.locks import held_locks, lock
from agents_store_cloudflare.streams import reader, writer
from tests.costs.table import BEGIN, PAGE, Line, measured, page_with, table_of

CLASSES: dict[str, type] = {
    "store": CloudflareStore,
    "state_store": D1StateStore,
    "usage_store": D1UsageStore,
    "stream_manager": DurableObjectStreamManager,
    "writer": writer.DurableObjectStreamWriter,
    "reader": reader.DurableObjectStreamReader,
    "lock_manager": DurableObjectLockManager,
    "lock": lock.DurableObjectLock,
    "held_locks": held_locks.HeldLocks,
}
OWN_CALLS: dict[str, type] = {
    "gateway": StreamGateway,
    "console": OperatorConsole,
    "message_streams": MessageStreams,
    "saver": D1Saver,
    "item_store": D1Store,
    "conversations": D1ConversationStore,
    "sdk_session": D1Session,
    "task_store": D1TaskStore,
}
"""Classes of which only the calls that they define themselves are measured: a framework's own calls are made of these."""

SEND_NOTHING = {
    "store.follow",  # each step of the iteration is one call to the home
    "store.meter",
    "stream_manager.on",
    "writer.open",  # within create_writer
    "writer.speak_as",
    "reader.open",  # within create_reader
    "writer.flush_for_end",  # within end_stream and its like
    "lock.gave_back",
    "lock.leave",
    "lock.let_expire",
    "lock.release_arguments",
    "lock_manager.acquiring",  # goes with the call that enters a turn in its home
    "writer.hold",
    "writer.open_heard",
    "writer.open_request",
    "writer.travelling",  # goes with the commit of a turn in its home
    "writer.let_go",
    "lock.keep_refreshed",  # within acquire; a refresh each third of the ttl
    "lock.on",
    "lock.remaining",
    "lock.stop_background",
    "held_locks.remaining",
    "gateway.signed_path",
    "saver.with_allowlist",
    "saver.get_next_version",
}
WITHIN_OTHERS = {
    # The twins of `a…` for synchronous code.
    *(f"saver.{name}" for name in ("get_tuple", "list", "put", "put_writes", "delete_thread", "delete_for_runs")),
    *(f"saver.{name}" for name in ("copy_thread", "prune", "get_delta_channel_history")),
    "item_store.batch",
    "sdk_session.record_usage",  # as usage_store.record_entries
    # The parts of a turn: store.turn and store.sweep_turns have their lines.
    "state_store.append_after",  # by an adapter, as append_messages
    "stream_manager.close_turn",
    "stream_manager.turn_writer",
    "store.project_home",  # an operator's call to one home; docs/homes.md tells what homes cost
    "state_store.now_ms",
    "has_other_record",  # within run_migration
    # The parts of store.delete_session and store.cleanup_expired_sessions.
    "state_store.carry_out",
    "state_store.cleanup_expired_trees",
    "state_store.find_expired_streams",
    "state_store.forget_streams",
    "state_store.is_stream_used",
    "state_store.plan_deletion",
    "stream_manager.delete_marked_stream",
    "stream_manager.mark_stream",
}


def _public_calls() -> Iterator[str]:
    for prefix, cls in CLASSES.items():
        for name in dir(cls):
            value = inspect.getattr_static(cls, name)
            is_own = not name.startswith("_") and not hasattr(tuple, name) and not hasattr(Mapping, name)
            if is_own and not isinstance(value, property) and callable(getattr(cls, name)):
                yield f"{prefix}.{name}"
    for prefix, cls in OWN_CALLS.items():
        yield from (
            f"{prefix}.{name}" for name, value in vars(cls).items() if name[0] != "_" and inspect.isfunction(value)
        )
    for name in migrations.__all__:
        if inspect.iscoroutinefunction(getattr(migrations, name)):
            yield name


def _calls_in_the_page() -> set[str]:
    return set(re.findall(r"^\| `([a-z_.]+)", PAGE.read_text().split(BEGIN)[1], re.MULTILINE))


def test_every_public_call_has_a_line() -> None:
    """CO-9: A new public call is measured in tests/costs/worker, or is listed as one that sends nothing. No line outlives its call."""
    calls = set(_public_calls())
    assert calls >= SEND_NOTHING | WITHIN_OTHERS
    priced = _calls_in_the_page() - {"reader"}
    assert sorted(calls - SEND_NOTHING - WITHIN_OTHERS - priced) == []
    assert sorted(priced - calls) == []


def test_every_page_of_the_console_has_a_line() -> None:
    """CO-9: A new page of the console is measured too."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| `console.handle` | ")]
    assert len(lines) == len({line.split("|")[2] for line in lines}) == len(PAGES) + 3  # usage.csv, api/events, an act


@pytest.mark.runtime
def test_calls_cost_what_the_page_says() -> None:
    """CO-9: A new measurement in the real runtime equals each line. `make costs` rewrites the lines, so that you see the difference."""
    lines = measured()
    assert len(lines) > 100
    stated = PAGE.read_text()
    assert stated.splitlines() == page_with(lines, stated).splitlines(), "run `make costs` and read the difference"


def test_a_dearer_call_shows() -> None:
    """CO-9: One more row in one call changes the page."""
    line: Line = ["store.migrate", "a current one", 1, 1, 0, 0, 0, 0]
    dearer: Line = ["store.migrate", "a current one", 1, 2, 0, 0, 0, 0]
    assert "| `store.migrate` | a current one | 1 | 1 | 0 | | | |" in table_of([line])
    assert table_of([line]) != table_of([dearer])
    page = page_with([line], PAGE.read_text())
    assert page_with([dearer], page) != page == page_with([line], page)
