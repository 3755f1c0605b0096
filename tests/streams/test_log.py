"""`StreamLog` alone: rows, repetitions, splits, versions."""

import re
import tracemalloc
from collections.abc import Callable
from typing import Any, LiteralString

import pytest

from agents_store_cloudflare.contract.errors import (
    InvalidArgumentError,
    MigrationError,
    SequenceConflictError,
    StreamChunkTooLargeError,
    StreamClosedError,
    StreamNotFoundError,
)
from agents_store_cloudflare.database import Row, SqlValue
from agents_store_cloudflare.streams import sql as q
from agents_store_cloudflare.streams.blocks import MAX_BLOCK_BYTES, MAX_CHUNK_BYTES
from agents_store_cloudflare.streams.log import StreamLog
from agents_store_cloudflare.testing import SqliteObjectSql

NOW_MS = 1_700_000_000_000


class RecordingSql(SqliteObjectSql):
    """Records each statement."""

    def __init__(self) -> None:
        super().__init__()
        self.statements: list[str] = []

    def exec(self, sql: LiteralString, *parameters: SqlValue) -> list[Row]:
        self.statements.append(sql)
        return super().exec(sql, *parameters)


@pytest.fixture
def sql() -> RecordingSql:
    return RecordingSql()


@pytest.fixture
def log(sql: RecordingSql) -> StreamLog:
    log = StreamLog(sql, "s")
    log.create(now_ms=NOW_MS)
    return log


def _append(log: StreamLog, body: str, flush: int, *, writer: str = "w", now_ms: int = NOW_MS) -> int:
    return log.append(body, writer=writer, writer_sequence=flush, now_ms=now_ms).last_sequence


def test_reads_of_an_unknown_stream_write_nothing(sql: RecordingSql) -> None:
    """SM-17: No table is made before the stream."""
    log = StreamLog(sql, "s")
    assert log.head() is None
    assert log.writer_count() == 0
    for call in (
        lambda: log.read(0, max_bytes=1),
        lambda: log.end(status="completed", output="null", now_ms=NOW_MS),
        lambda: _append(log, "{}", 1),
    ):
        with pytest.raises(StreamNotFoundError):
            call()
    assert sql.exec("SELECT name FROM sqlite_schema") == []


def test_a_plain_append_writes_one_row_and_no_other(sql: RecordingSql, log: StreamLog) -> None:
    """SM-23: one statement, one row, no index."""
    _append(log, "1", 1)
    sql.statements.clear()
    _append(log, "1\n2", 2)
    assert sql.statements == [q.INSERT_BLOCK]
    assert sql.exec("SELECT first_sequence, count FROM blocks") == [[0, 0], [1, 1], [2, 2]]
    assert sql.exec("SELECT name FROM sqlite_schema WHERE type = 'index'") == []


def test_a_repeated_flush_gives_the_first_result(sql: RecordingSql, log: StreamLog) -> None:
    """SM-9: In the same object, in a reopened one, after later flushes of others, and after the end, the result is the first one."""
    assert _append(log, '{"n":1}\n{"n":2}', 1) == 2
    assert _append(log, '{"n":3}', 1, writer="other") == 3
    assert _append(log, '{"n":1}\n{"n":2}', 1) == 2
    assert _append(StreamLog(sql, "s"), '{"n":1}\n{"n":2}', 1) == 2
    log.end(status="completed", output="null", now_ms=NOW_MS)
    assert _append(log, '{"n":1}\n{"n":2}', 1) == 2
    with pytest.raises(StreamClosedError):
        _append(log, "{}", 2)
    assert log.existing_head().last_sequence == 3


def test_an_overtaken_flush_is_found_or_refused(log: StreamLog) -> None:
    """SM-9: A flush that arrives after a later one of its writer is never stored late."""
    assert _append(log, "1", 1) == 1
    assert _append(log, "2\n3", 3) == 3
    assert _append(log, "1", 1) == 1
    with pytest.raises(InvalidArgumentError, match="flush 2"):
        _append(log, "late", 2)
    with pytest.raises(InvalidArgumentError, match="chunk"):
        _append(log, "", 4)


def test_a_flush_over_the_block_size_is_split_in_one_transaction(sql: RecordingSql, log: StreamLog) -> None:
    """SM-5: A block holds at most 256 KB, or one larger chunk. A repetition finds all blocks of the flush."""
    texts = ["a" * 200_000, "é" * 100_000, "b" * 1_500_000, "c", "d"]
    assert _append(log, "\n".join(texts), 1) == 5
    rows = sql.exec("SELECT first_sequence, count, size_bytes FROM blocks WHERE first_sequence > 0")
    assert [row[:2] for row in rows] == [[1, 1], [2, 1], [3, 1], [4, 2]]
    assert all(int(str(row[2])) <= MAX_BLOCK_BYTES + 1 or row[1] == 1 for row in rows)
    assert _append(StreamLog(sql, "s"), "\n".join(texts), 1) == 5
    page = log.read(0, max_bytes=10_000_000)
    assert (page.first_sequence, page.count, page.body) == (1, 5, "\n".join(texts))
    assert log.read(1, max_bytes=1).body == texts[1]
    assert log.read(3, max_bytes=1).body == "c\nd"
    assert log.read(4, max_bytes=1).body == "d"


def test_a_chunk_that_fits_no_row_is_refused_whole(sql: RecordingSql, log: StreamLog) -> None:
    """SM-5: Its flush stores nothing."""
    with pytest.raises(StreamChunkTooLargeError):
        _append(log, "a\n" + "b" * (MAX_CHUNK_BYTES + 1), 1)
    assert sql.exec("SELECT * FROM blocks WHERE first_sequence > 0") == []
    assert _append(log, "a\n" + "b" * MAX_CHUNK_BYTES + "\nc", 1) == 3


def test_a_failing_transaction_changes_nothing(sql: RecordingSql, log: StreamLog) -> None:
    """SM-9: Rows and memory agree after a failure in the middle, and the flush can be sent again."""
    body = "\n".join(["x" * 150_000] * 4)
    sql.exec(
        "CREATE TRIGGER broken BEFORE INSERT ON blocks WHEN NEW.first_sequence > 2 BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    with pytest.raises(Exception, match="no"):
        log.append(body, writer="w", writer_sequence=1, now_ms=NOW_MS, fencing_token=9)
    assert sql.exec("SELECT * FROM blocks WHERE first_sequence > 0") == []
    assert log.existing_head().fencing_token is None
    assert StreamLog(sql, "s").existing_head() == log.existing_head()
    sql.exec("DROP TRIGGER broken")
    assert _append(log, body, 1) == 4


def test_pages_end_at_the_block_that_reaches_the_limit(log: StreamLog) -> None:
    """SM-12: A page holds whole blocks from the block of its position on, at least one."""
    for flush in range(1, 11):
        _append(log, "\n".join(["x" * 9] * 3), flush)
    page = log.read(4, max_bytes=60)
    assert (page.first_sequence, page.count, page.last_sequence) == (5, 8, 12)
    assert page.body.count("\n") == 7
    assert log.read(29, max_bytes=1).count == 1
    assert log.read(30, max_bytes=1).count == 0
    with pytest.raises(SequenceConflictError):
        log.read(31, max_bytes=1)


def test_more_blocks_than_one_page_takes(log: StreamLog) -> None:
    """SM-12: A page of very small blocks ends at a limit, and the next page continues there."""
    for flush in range(1, 2_101):
        _append(log, str(flush), flush)
    seen: list[str] = []
    while len(seen) < 2_100:
        page = log.read(len(seen), max_bytes=1_000_000)
        assert page.first_sequence == len(seen) + 1
        seen += page.body.split("\n")
    assert seen == [str(number) for number in range(1, 2_101)]


def test_a_stream_of_newer_code_is_not_touched(sql: RecordingSql, log: StreamLog) -> None:
    """SM-24: an unknown schema version is refused before anything else is read or written."""
    sql.exec("UPDATE blocks SET body = replace(body, '\"schemaVersion\":2', '\"schemaVersion\":99')")
    with pytest.raises(MigrationError, match="schema version"):
        StreamLog(sql, "s").create(now_ms=NOW_MS)


def test_no_statement_scans_but_those_that_must(sql: RecordingSql, log: StreamLog) -> None:
    """SM-23: Reads use the key. Only a writer's repetition after a restart reads all blocks."""
    run: Callable[..., list[Row]] = sql.exec
    for name in q.__all__:
        text: Any = getattr(q, name)
        if not isinstance(text, str) or name.startswith("CREATE"):
            continue
        parameters = [1] * max([0, *map(int, re.findall(r"\?(\d)", text))])
        plan = " ".join(str(row[3]) for row in run("EXPLAIN QUERY PLAN " + text, *parameters))
        scans = "SCAN blocks" in plan and name != "SELECT_LAST_BLOCK"
        assert not scans or name in {"SELECT_WRITERS", "SELECT_FLUSH"}, (name, plan)


@pytest.mark.parametrize(
    ("count", "text"), [(150_000, "1"), (400, '"' + 10_000 * "x" + '"'), (300, '"' + 3_000 * "🎉" + '"')]
)
def test_a_large_flush_needs_little_memory(log: StreamLog, count: int, text: str) -> None:
    """SM-5: A flush takes less than four times its body, whatever number of chunks it has."""
    body = "\n".join([text] * count)
    size_bytes = len(body.encode())
    tracemalloc.start()
    try:
        log.append(body, writer="w", writer_sequence=1, now_ms=NOW_MS)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 3 * size_bytes
    assert log.existing_head().last_sequence == count
