"""`import`: an export comes back whole, or not at all."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents_store_cloudflare.contract.errors import InvalidArgumentError, SessionExistsError
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing import SqliteDatabase
from agents_store_cloudflare.transfer import export_session, import_session
from tests.command.conftest import Outcome

Command = Callable[..., Outcome]


def _comparable(text: str, *, versions: bool = True) -> list[Any]:
    """The lines of an export, without times, digests and the numbers of sessions."""
    lines = [json.loads(line) for line in text.splitlines()[1:]]
    for line in lines:
        line.pop("digest", None)
        row = line.get("row", {})
        row.update({name: 0 for name in ("session_no", "id", "base_id") if type(row.get(name)) is int})
        for facts in (row, line.get("state", {})):
            if not versions:
                facts.pop("version", None)
    return sorted(lines, key=lambda line: line["sessionId"])


def test_an_export_comes_back(
    command: Command, file: Path, filled: SqliteDatabase, empty: Path, tmp_path: Path
) -> None:
    """Exported, imported and exported again, every line is the same; a second import is refused, --replace is not."""
    text = command("export", "--all", "--database", file).out
    dump = tmp_path / "dump.jsonl"
    dump.write_text(text)
    assert command("import", dump, "--database", empty).status == 0
    assert _comparable(command("export", "--all", "--database", empty).out) == _comparable(text)
    refused = command("import", dump, "--database", empty)
    assert (refused.status, "--replace" in refused.err, "line 2" in refused.err) == (1, True, True)
    assert command("import", dump, "--database", empty, "--replace").status == 0
    replaced = command("export", "--all", "--database", empty).out
    assert _comparable(replaced, versions=False) == _comparable(text, versions=False)
    assert command("doctor", "--database", empty).status == 0


def test_sessions_keep_their_order(
    command: Command, file: Path, filled: SqliteDatabase, empty: Path, tmp_path: Path
) -> None:
    """`sessions` lists the newest first, before the export and after the import."""
    dump = tmp_path / "dump.jsonl"
    dump.write_text(command("export", "--all", "--database", file).out)
    command("import", dump, "--database", empty)
    listed = [command("sessions", "--json", "--database", each).json() for each in (file, empty)]
    assert listed[1]["sessions"] == listed[0]["sessions"]


Lines = list[str]
BAD: list[tuple[Callable[[Lines], Lines], str]] = [
    (lambda lines: ['{"type": "export", "format": 2}', *lines[1:]], "line 1"),
    (lambda lines: [*lines[:3], "{", *lines[4:]], "line 4"),
    (lambda lines: [*lines[:-3], *lines[-2:]], "counts other lines"),
    (lambda lines: lines[:-1], "ends within"),
    (lambda lines: [*lines[:3], '{"type": "x"}', *lines[3:]], "line 4"),
]


@pytest.mark.parametrize(("change", "said"), BAD)
def test_a_bad_file_leaves_nothing(  # noqa: PLR0917 - fixtures
    command: Command, file: Path, filled: SqliteDatabase, empty: Path, tmp_path: Path, change: Any, said: str
) -> None:
    """The line is named, and no session was stored."""
    dump = tmp_path / "dump.jsonl"
    dump.write_text("\n".join(change(command("export", "--all", "--database", file).out.splitlines())))
    done = command("import", dump, "--database", empty)
    assert (done.status, said in done.err) == (1, True), done.err
    assert command("sessions", "--database", empty).out == "no sessions\n"


async def test_the_library_call(filled: SqliteDatabase) -> None:
    """A copy holds versions, fences and checkpoints; later writes go on from it."""
    other = SqliteDatabase()
    await run_migration(other)
    copy = json.loads(json.dumps(await export_session(filled, "trip")))
    await import_session(other, copy)
    with pytest.raises(SessionExistsError):
        await import_session(other, copy)
    with pytest.raises(InvalidArgumentError, match="format"):
        await import_session(other, {**copy, "format": 2}, replace=True)
    old, new = D1StateStore(filled), D1StateStore(other)
    for store in (old, new):
        await store.append_messages("trip", [{"role": "user", "content": "more"}], commit_id="one")
    [before, after] = [await store.load_state("trip", required=True) for store in (old, new)]
    assert (after.version, json.dumps(after.messages)) == (before.version, json.dumps(before.messages))
    pages = [await store.list_checkpoints("trip") for store in (old, new)]
    assert json.dumps([each.to_dict() for each in pages[0].items]) == json.dumps(
        [each.to_dict() for each in pages[1].items]
    )
