"""The core of a home: its record, its tables, and the batches that run on them. It is synchronous and has no clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, LiteralString, NamedTuple, TypeAlias, TypeVar, cast

from agents_store_cloudflare.contract.errors import InvalidArgumentError, MigrationError
from agents_store_cloudflare.database import ObjectSql, Row, RowCursor, SqlValue
from agents_store_cloudflare.homes.answers import Answer, Place
from agents_store_cloudflare.homes.missing_tables import (
    DELETE,
    INSERT,
    change_of,
    inserts_into,
    names_made,
    statement_without,
)
from agents_store_cloudflare.homes.schema import (
    BASE,
    BASE_TABLES,
    CHILDREN,
    CHILDREN_INDEX,
    LATER,
    READABLE_FROM,
    SCHEMA,
    STEPS,
    TABLES,
)
from agents_store_cloudflare.state.session_tables import SESSION_TABLES

__all__ = [
    "BatchRequest",
    "BatchResult",
    "HomeBehindError",
    "HomeRecord",
    "HomeTables",
    "MovedError",
    "UncheckedSessionError",
]

RECORD: Final = "home_v1"
RUNS: Final = "__agents_runs"
STATES: Final = "__agents_states"

MOST_TOGETHER: Final = 20
"""The most statements that cross to the database at once. Their texts are in memory twice."""

SMALL_BYTES: Final = 1_000_000
"""The most bytes of a home whose reads cross together with the writes, because every result of such a home fits into a reply."""

NOTHING: Final[Mapping[Any, Any]] = MappingProxyType({})

T = TypeVar("T")

_Call: TypeAlias = "tuple[LiteralString | None, tuple[SqlValue, ...]]"

# The platform's own tables (`_cf_…`) are left out.
_NAMES: LiteralString = """
    SELECT name
    FROM sqlite_master
    WHERE type IN ('table', 'view', 'index')
      AND substr(name, 1, 4) <> '_cf_'
"""

_EXISTS: LiteralString = "SELECT 1 FROM __agents_states\nWHERE session_id = ?1"

# ?1 session id -> (version, history epoch, the newest commit id) or no row. Primary key.
_STAMP: LiteralString = """
    SELECT version, history_epoch, json_extract(commits, '$[#-1][0]') AS newest_commit
    FROM __agents_states
    WHERE session_id = ?1
"""

_IS_KEPT: LiteralString = """
    SELECT
      EXISTS (SELECT 1 FROM __agents_states)
      OR EXISTS (SELECT 1 FROM __agents_fences)
      OR EXISTS (SELECT 1 FROM __agents_message_blocks) AS kept
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeRecord:
    """The facts about a home. They are stored under a key, with the home's first row.

    Attributes:
        home: the home's name. It is stored because the platform lists objects without their names.
        schema, readable_from: the version of its schema, and the oldest version whose code understands it.
        options: the options of its first Worker. They never change.
    """

    home: str
    schema: int
    readable_from: int
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def text(self) -> str:
        """Return the record as it is stored."""
        return json.dumps([self.home, self.schema, self.readable_from, self.options], separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> HomeRecord:
        """Return the record of a stored text."""
        home, schema, readable_from, options = json.loads(text)
        return cls(home=home, schema=schema, readable_from=readable_from, options=options)


class BatchRequest(NamedTuple):
    """One batch of a Worker.

    Attributes:
        session: the session of the call.
        schema: the version that the Worker's code needs.
        is_checked: D1 holds no session of this id, or no check is needed.
        place: the place at which to continue after an earlier reply. `stamp` came with that reply.
        steps: version -> statements, from a Worker with newer code than the object. `readable_from` comes with them.
    """

    home: str
    session: str
    schema: int
    statements: Iterable[tuple[str, tuple[SqlValue, ...]]]
    options: Mapping[str, Any] = NOTHING
    is_checked: bool = True
    place: Place = (0, 0)
    stamp: str | None = None
    steps: Mapping[int, Sequence[str]] = NOTHING
    readable_from: int = READABLE_FROM


class _Writes(NamedTuple):
    """The writes of a batch.

    Attributes:
        last: the index of the last statement that may change a row; -1 when there is none.
        tables: the tables into which statements insert.
        deletes: whether a statement may delete sessions.
    """

    last: int
    tables: frozenset[str]
    deletes: bool

    @classmethod
    def of(cls, request: BatchRequest) -> _Writes:
        """Return the writes of a request. The statements are read once, because they may be stored."""
        last, deletes = -1, False
        tables: list[str] = []
        for index, (sql, _) in enumerate(request.statements):
            change = change_of(sql)
            if change is None:
                continue
            last = index
            if change[0] == INSERT:
                tables.append(change[1])
            elif change == (DELETE, STATES):
                deletes = True
        return cls(last, frozenset(tables), deletes)


class BatchResult(NamedTuple):
    """The rows of the statements as text. A reply holds as many rows as fit.

    Attributes:
        place: the place at which the Worker continues; None at the end.
        stamp: a text of the page. While it stays the same, the session has not changed.
        is_write: True when rows may have changed.
        adds_run: whether the batch adds a run, as the entering of a turn does.
        is_first: whether the object's database had no table before.
    """

    text: str
    place: Place | None
    stamp: str | None
    is_write: bool
    adds_run: bool = False
    is_first: bool = False


class HomeBehindError(Exception):
    """The Worker needs a newer schema than this object's code has, so it must send the steps."""


class UncheckedSessionError(Exception):
    """The batch creates a session, and nobody has checked whether D1 holds its id."""


class _NothingKeptError(Exception):
    """A first batch has stored nothing, so there is no home yet."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


class MovedError(Exception):
    """The session has changed since the page before, so the Worker reads again from the beginning."""


class HomeTables:
    """The tables of one home. A write makes missing tables in its own transaction. For a read a missing table is empty."""

    def __init__(self, sql: ObjectSql) -> None:
        self._sql = sql
        self._is_read = False
        self._record: HomeRecord | None = None
        self._names: frozenset[str] | None = None
        self._missing: frozenset[str] | None = None
        self._was_empty = False
        self._known: str | None = None

    def record(self) -> HomeRecord | None:
        """Return the home's own record, or None before anything was stored."""
        if not self._is_read:
            text = self._sql.get_text(RECORD)
            self._record = None if text is None else HomeRecord.from_text(text)
            self._is_read = True
        return self._record

    def run(self, request: BatchRequest) -> BatchResult:
        """Run a batch as one transaction.

        Raises:
            SqlError: a statement failed; nothing was written.
            MigrationError: the home is newer than the Worker's code or than this code; nothing was written.
            HomeBehindError: the Worker is newer than this code.
            UncheckedSessionError: the batch may create a session whose id was not checked.
            MovedError: the session has changed since the page before.
        """
        record = self._check(request)
        is_behind = record is not None and record.schema < _target(request)
        if request.stamp is not None and request.stamp != self._stamp(request):
            raise MovedError
        writes = _Writes.of(request)
        if writes.deletes:
            self._known = None
        if not request.is_checked and STATES in writes.tables and not self._exists(request.session):
            raise UncheckedSessionError
        is_write = writes.last >= 0
        self._was_empty = False
        try:
            if is_write or is_behind:
                answer = self.transaction(lambda: self._written(request, writes, is_new=record is None))
            else:
                answer = self._answered(request, writes)
        except _NothingKeptError as nothing:
            answer, is_write = nothing.answer, False
        stamp = None if answer.next_place is None else self._stamp(request)
        adds_run = is_write and RUNS in writes.tables
        return BatchResult(answer.text(), answer.next_place, stamp, is_write, adds_run, self._was_empty)

    def transaction(self, body: Callable[[], T]) -> T:
        """Run `body`. If it raises, everything that it wrote is undone."""
        try:
            return self._sql.transaction(body)
        except BaseException:
            self._forget()
            raise

    def query(self, sql: LiteralString, *parameters: SqlValue) -> list[Row]:
        """Return the rows of a read of the home itself. A missing table counts as empty."""
        return self._rows(sql, parameters, self._missing_tables())

    def change(self, sql: LiteralString, *parameters: SqlValue) -> list[Row]:
        """Run a write of the home itself. If the table that it inserts into is missing, make it first."""
        table = inserts_into(sql)
        if table is not None and table not in self._present():
            for each in LATER[table]:
                self._sql.exec(each)
            self._names = self._missing = None
        return self.query(sql, *parameters)

    def _exists(self, session_id: str) -> bool:
        """Return whether there is this session. The newest known session is not asked for again."""
        if self._known != session_id and self.query(_EXISTS, session_id):
            self._known = session_id
        return self._known == session_id

    def _forget(self) -> None:
        """Read the record and the tables again, because a transaction was undone or none has run yet."""
        self._is_read = False
        self._record = self._names = self._missing = self._known = None

    def _check(self, request: BatchRequest) -> HomeRecord | None:
        """Return the home's record, if this code and the Worker's understand it."""
        record = self.record()
        if record is not None and record.home != request.home:
            raise InvalidArgumentError(f"this object is home {record.home!r}, the call is for home {request.home!r}")
        if record is not None and record.readable_from > min(request.schema, SCHEMA):
            who = "the Worker" if request.schema < record.readable_from else "the Durable Object"
            raise MigrationError(
                f"home {record.home!r} has schema version {record.schema}, which code of version {record.readable_from} or "
                f"later understands; {who} runs an older agents-store-cloudflare: deploy the newer one; nothing was written"
            )
        known = SCHEMA if record is None else max(SCHEMA, record.schema)
        if request.schema > known and not request.steps:
            raise HomeBehindError
        return record

    def _present(self) -> frozenset[str]:
        if self._names is None:
            rows = [] if self.record() is None else self._sql.exec(_NAMES)
            self._names = frozenset(cast("str", row[0]) for row in rows)
        return self._names

    def _missing_tables(self) -> frozenset[str]:
        if self._missing is None:
            self._missing = TABLES - self._present()
        return self._missing

    def _written(self, request: BatchRequest, writes: _Writes, *, is_new: bool) -> Answer:
        """Run a batch that writes. A new home is made in the same call of the database, and the call looks whether it keeps a row."""
        made = [] if self._has_all(request, writes) else self._make(request, TABLES & writes.tables)
        is_made = is_new and self.record() is not None
        answer = self._answered(request, writes, made=made, looks=is_made)
        if is_made and not answer.keeps_rows and not self._keeps_rows_of_adapters():
            raise _NothingKeptError(answer)
        return answer

    def _keeps_rows_of_adapters(self) -> bool:
        adapters: list[LiteralString] = [table for table in SESSION_TABLES if table in self._present()]
        return any(
            self._sql.exec(f"SELECT 1 FROM {table} LIMIT 1")  # noqa: S608 - constants alone
            for table in adapters
        )

    def _has_all(self, request: BatchRequest, writes: _Writes) -> bool:
        """Return whether the home has the schema and the tables that the writes of a batch need."""
        record = self._record
        if record is None:
            return not TABLES & writes.tables
        return (
            record.schema >= _target(request)
            and not self._missing_tables() & writes.tables
            and (request.session == request.home or CHILDREN_INDEX in self._present())
        )

    def _make(self, request: BatchRequest, wanted: frozenset[str]) -> list[str]:
        """Return the statements that make the missing tables, and count these tables as there from now on.

        Steps to a newer schema may change tables in any way, and a batch without an insert may have no write that they could come
        before. In both cases all statements have run when this returns.
        """
        made: list[str] = []
        record = self.record()
        if record is None:
            made += BASE
            steps = [sql for version in range(SCHEMA + 1, request.schema + 1) for sql in request.steps.get(version, ())]
        else:
            steps = self._steps(record.schema, request)
        made += steps
        missing = wanted - self._present() - BASE_TABLES
        made += [sql for table, statements in LATER.items() if table in missing for sql in statements]
        if request.session != request.home and CHILDREN_INDEX not in self._present():
            made.append(CHILDREN)
        names: frozenset[str] | None = self._present() | names_made(tuple(made))
        if steps or not wanted:
            self._sql.exec_each([(_own(sql), ()) for sql in made])
            made, names = [], None
        self._keep_record(request)
        self._names, self._missing = names, None
        return made

    def _steps(self, schema: int, request: BatchRequest) -> list[str]:
        steps: Mapping[int, Sequence[str]] = {**request.steps, **STEPS}
        return [sql for version in range(schema + 1, _target(request) + 1) for sql in steps[version]]

    def _keep_record(self, request: BatchRequest) -> None:
        record, schema = self.record(), _target(request)
        if record is not None and record.schema >= schema:
            return
        self._record = HomeRecord(
            home=request.home,
            schema=schema,
            readable_from=READABLE_FROM if schema == SCHEMA else request.readable_from,
            options=dict(request.options) if record is None else record.options,
        )
        self._sql.put_text(RECORD, self._record.text())

    def _answered(
        self, request: BatchRequest, writes: _Writes, *, made: Sequence[str] = (), looks: bool = False
    ) -> Answer:
        """Run the statements. In a home that is not small, the rows of reads after the last write may be cut off at the end of a reply.

        Args:
            made: statements to run before.
            looks: whether to look which tables there are before, and after the last write whether the home keeps a row.
        """
        missing = self._missing_tables()
        answer = Answer()
        first, skipped = request.place
        before: list[_Call] = [(_own(sql), ()) for sql in ((_NAMES, *made) if looks else made)]
        together: list[_Call] = []
        last, most = writes.last, 1
        if isinstance(request.statements, list):
            most = MOST_TOGETHER
            final = len(request.statements) - 1
            if last < final and not looks and request.place == (0, 0) and self._sql.size_bytes() <= SMALL_BYTES:
                last = final
        for index, (sql, parameters) in enumerate(request.statements):
            if index < first:
                continue
            statement = statement_without(missing, sql) if missing else _own(sql)
            if statement is None or index <= last:
                together.append((statement, parameters))
                if index == last or len(together) == most:
                    after: list[_Call] = [(_IS_KEPT, ())] if looks and index == last else []
                    results = self._each([*before, *together, *after])
                    answer.add(results[len(before) : len(before) + len(together)])
                    if looks and before:
                        self._was_empty = not results[0]
                    if after:
                        answer.keeps_rows = results[-1] != [[0]]
                    before, together = [], []
                continue
            rows_before = skipped if index == first else 0
            answer.add_from(index, rows_before, self._cursor(statement, parameters, rows_before))
            if answer.next_place is not None:
                break
        return answer

    def _each(self, statements: Sequence[_Call]) -> list[list[Row]]:
        """Return the rows of each statement. None stands for a statement that has nothing to change."""
        results = iter(self._sql.exec_each([(sql, parameters) for sql, parameters in statements if sql is not None]))
        return [[] if sql is None else next(results) for sql, _ in statements]

    def _cursor(self, statement: LiteralString, parameters: tuple[SqlValue, ...], skipped: int) -> RowCursor:
        if not skipped:
            return self._sql.cursor(statement, *parameters)
        place = len(parameters) + 1
        rest = _own(f"SELECT * FROM ({statement}) LIMIT -1 OFFSET ?{place}")  # noqa: S608 - a constant within a constant
        return self._sql.cursor(rest, *parameters, skipped)

    def _stamp(self, request: BatchRequest) -> str:
        """Return a text that changes with every write to the session."""
        return json.dumps(self.query(_STAMP, request.session))

    def _rows(self, sql: str, parameters: tuple[SqlValue, ...], missing: frozenset[str]) -> list[Row]:
        statement = statement_without(missing, sql) if missing else _own(sql)
        return [] if statement is None else self._sql.exec(statement, *parameters)


def _target(request: BatchRequest) -> int:
    """Return the schema version that the home gets."""
    return max(SCHEMA, request.schema) if request.steps else SCHEMA


def _own(sql: str) -> LiteralString:
    """Return the text as a literal: it is a constant of this package that came with the request."""
    return cast("LiteralString", sql)  # type: ignore[redundant-cast]
