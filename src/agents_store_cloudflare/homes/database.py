"""A home as a `Database`: the stores' batches go to the object of the session's home."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

from agents_store_cloudflare.contract.errors import (
    AgentsStoreError,
    D1StateError,
    InvalidArgumentError,
    SessionNotMovedError,
    UsageError,
)
from agents_store_cloudflare.contract.homes import child_id, home_of
from agents_store_cloudflare.contract.json_values import JsonValue
from agents_store_cloudflare.database import Database, LostReplyError, Row, SqlError, Statement, batch_with_retry
from agents_store_cloudflare.homes.accounts import letter_of_copy, usage_that_waits
from agents_store_cloudflare.homes.companions import Companions
from agents_store_cloudflare.homes.missing_tables import changes_rows
from agents_store_cloudflare.homes.places import Places
from agents_store_cloudflare.homes.schema import READABLE_FROM, SCHEMA, STEPS
from agents_store_cloudflare.homes.wire import (
    BATCH,
    DRAIN,
    PART,
    PROJECT,
    TOGETHER,
    joined,
    read_rows,
    split,
    statements_lines,
    statements_text,
)
from agents_store_cloudflare.objects import ObjectCallError, ObjectNamespace, with_retry
from agents_store_cloudflare.objects.companion import Companion
from agents_store_cloudflare.objects.rpc_text import WireMessage, decode_reply, encode_request
from agents_store_cloudflare.state.turn_records import NotTogetherError, TurnHome

__all__ = ["HomeDatabase", "ObjectHomes"]

MOST_CHARACTERS: Final = 4_000_000
"""The most characters of the statements of one call. A character has at most four bytes, or six bytes when JSON escapes it."""

MOST_RESTARTS: Final = 10

InDb: TypeAlias = "Callable[[Sequence[str]], Awaitable[list[str]]]"
"""A function that returns the sessions, of those given, that D1 holds itself."""


class ObjectHomes:
    """`Homes` of sessions in Durable Objects: one object for each tree of sessions.

    Args:
        namespace: the binding of `SessionServer`.
        options: the options that a new home gets once.
        in_db: returns the sessions that D1 holds itself. It is called before a session is created. None means that no check is
            made.
        places: finds the places of locks and streams. None means that the store needs none.
    """

    def __init__(
        self,
        namespace: ObjectNamespace,
        options: Mapping[str, JsonValue],
        in_db: InDb | None = None,
        places: Places | None = None,
    ) -> None:
        self._namespace = namespace
        self._places = places
        self._options = options
        self._in_db = in_db

    def turn_home(self, session_id: str) -> TurnHome | None:
        """Return the home for turns of this session, or None if the session's lock and stream live elsewhere."""
        if self._places is None or not self._places.may_be_home(session_id):
            return None
        return _HomeOfTurns(self, self._places, session_id)

    def together(self, session_id: str, companions: Companions) -> Database:
        """Return the home as a database whose batch is sent with calls of the home's lock and stream."""
        return TogetherDatabase(
            self._namespace, home_of(session_id), session_id, self._options, self._in_db, companions=companions
        )

    def of(self, session_id: str) -> Database:
        """Return the home that holds the session, as a database.

        Raises:
            InvalidArgumentError: the id gives its home an empty name.
        """
        return HomeDatabase(self._namespace, home_of(session_id), session_id, self._options, self._in_db)

    def of_new(self, session_id: str) -> Database:
        """Return the home in which a call creates the session. D1 is asked first, so the home need not ask for that.

        Raises:
            InvalidArgumentError: the id gives its home an empty name.
        """
        home = home_of(session_id)
        return HomeDatabase(self._namespace, home, session_id, self._options, self._in_db, checks_first=True)

    def admit(self, session_id: str, parent_session_id: str | None) -> None:
        """Check that the id of a child belongs to its parent's home.

        Raises:
            InvalidArgumentError: the id belongs to another home.
        """
        if parent_session_id is None or home_of(session_id) == home_of(parent_session_id):
            return
        try:
            advice = f"name it {child_id(parent_session_id, session_id)!r}"
        except InvalidArgumentError as error:
            advice = f"no id would do ({error})"
        raise InvalidArgumentError(
            f"session {session_id!r} would not live in the home of its parent_session_id {parent_session_id!r}, and a tree changes "
            f"in one transaction: {advice}, or give it no parent and refer to it as remote"
        )

    async def check_new(self, session_id: str) -> None:
        """Check that D1 holds neither this session nor the session that names its home.

        Raises:
            SessionNotMovedError: D1 holds one of them.
        """
        if self._in_db is None:
            return
        found = await self._in_db([session_id, home_of(session_id)])
        if found:
            raise SessionNotMovedError(found[0])

    async def has_waiting_usage(self, session_id: str) -> bool:
        """Return whether usage of the session waits in its home to be sent to D1.

        Raises:
            SqlError: the home gave no reply.
        """
        [rows] = await batch_with_retry(self.of(session_id), [usage_that_waits(session_id)])
        return rows != [[0]]

    def letter_of_copy(self, session_id: str, number: int, name: str, *, is_replaced: bool) -> Statement:
        """Return the statement that puts the usage of an imported session into the home's outbox.

        Args:
            number, name: the number in D1 of the staged rows, and the name of their claim; see `state/copied_accounts_sql.py`.
            is_replaced: delete the session's usage before.
        """
        return letter_of_copy(session_id, number, name, is_replaced=is_replaced)

    async def project(self, session_id: str) -> str | None:
        """Have the session's home send all its sessions to the directory again. Return the home's name, or None if it has no sessions.

        Raises:
            D1StateError: the home gave no reply, or could not reach the directory.
        """
        told: Any = await self.call(session_id, PROJECT)
        if told is None:
            return None
        if not told["told"]:
            raise D1StateError(
                f"home {told['home']!r} could not reach the directory; its log has the cause, and it tries again"
            )
        return cast("str", told["home"])

    async def drain(self, session_id: str, *, tree: bool = False) -> None:
        """Have the session's home send the usage of its sessions to D1.

        Args:
            tree: True also brings the directory up to date, for calls that follow the tree of sessions in it.

        Raises:
            UsageError: D1 could not be reached.
            D1StateError: the home gave no reply.
        """
        if not (await self.ask(session_id, DRAIN, {"tree": tree})).head["ok"]:
            raise UsageError(
                f"the home of session {session_id!r} could not send the session's usage to D1; its log has the cause, and it "
                "tries again by itself"
            )

    async def call(self, session_id: str, op: str) -> JsonValue:
        """Run an operation of the session's home that needs no arguments, and return its value.

        Raises:
            D1StateError: the home gave no reply.
        """
        value: JsonValue = (await self.ask(session_id, op, {})).head["ok"]
        return value

    async def ask(self, session_id: str, op: str, arguments: Mapping[str, JsonValue]) -> WireMessage:
        """Return the reply of the session's home to an operation that is safe to repeat.

        Raises:
            D1StateError: the home gave no reply.
        """
        home = home_of(session_id)
        request = encode_request(op, {"home": home, **arguments})
        try:
            reply = await with_retry(lambda: self._namespace.call(home, request))
        except ObjectCallError as error:
            raise D1StateError(f"home {home!r} gave no reply to {op!r} ({error})", outcome_unknown=True) from error
        return decode_reply(reply)


class _HomeOfTurns(TurnHome):
    def __init__(self, homes: ObjectHomes, places: Places, session_id: str) -> None:
        self._homes = homes
        self._places = places
        self._session_id = session_id

    def entering(self, acquire: Companion, others: Sequence[Companion]) -> Database:
        return self._homes.together(self._session_id, Companions(self._places, acquire, others))

    def committing(self, others: Sequence[Companion], *, is_last: bool) -> Database:
        return self._homes.together(self._session_id, Companions(self._places, None, others, is_last=is_last))


class HomeDatabase:
    """The database of one home, for the calls of one session.

    Args:
        checks_first: True asks D1 for the session before the batch is sent, because the batch creates the session. Otherwise D1 is
            asked when the home says that the session is new, and the batch is sent again.
    """

    def __init__(
        self,
        namespace: ObjectNamespace,
        home: str,
        session_id: str,
        options: Mapping[str, JsonValue],
        in_db: InDb | None = None,
        *,
        checks_first: bool = False,
    ) -> None:
        self._namespace = namespace
        self._home = home
        self._session_id = session_id
        self._in_db = in_db
        self._checks_first = checks_first
        self._head: dict[str, JsonValue] = {
            "home": home,
            "session": session_id,
            "schema": SCHEMA,
            "options": dict(options),
            "checked": in_db is None,
        }

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run the statements in the home: one call, one transaction.

        Raises:
            SqlError: a statement failed and nothing happened, or (`LostReplyError`) no reply came.
            MigrationError: the home's schema is newer than this code.
            SessionNotMovedError: the batch creates a session whose id D1 holds.
        """
        if self._checks_first and not self._head["checked"]:
            await self._check_db()
        reply, text = await self._answered(statements, is_first=True)
        results = read_rows(text)
        if "next" in reply:
            return await self._paged(statements, results, reply)
        return results

    async def _paged(
        self, statements: Sequence[Statement], results: list[list[Row]], reply: Mapping[str, Any]
    ) -> list[list[Row]]:
        """Return the whole result of a batch whose first reply was full. All rows belong to one version of the session.

        When the session changes in between, all reads after the last write of this batch start again.
        """
        changes = [index for index, statement in enumerate(statements) if changes_rows(statement.sql)]
        first = changes[-1] + 1 if changes else 0
        reads = statements[first:]
        kept, read = results[:first], results[first:]
        place: JsonValue = [reply["next"][0] - first, reply["next"][1]]
        stamp, restarts = reply["stamp"], 0
        while True:
            answer, text = await self._answered(reads, {"next": place, "stamp": stamp})
            if "moved" in answer:
                restarts += 1
                if restarts > MOST_RESTARTS:
                    raise SqlError(f"session {self._session_id!r} kept changing while it was read; SQLITE_BUSY")
                read = []
                answer, text = await self._answered(reads)
            _join(read, read_rows(text))
            if "next" not in answer:
                return [*kept, *read]
            place, stamp = answer["next"], answer["stamp"]

    async def _answered(
        self, statements: Sequence[Statement], more: Mapping[str, JsonValue] | None = None, *, is_first: bool = False
    ) -> tuple[Mapping[str, Any], str]:
        payload = statements_text(statements, leaves_numbers=is_first)
        head = dict(more or {})
        if len(payload) > MOST_CHARACTERS:
            payload = ""  # before the lines are made: both are as large as the batch
            head |= await self._in_parts(statements_lines(statements, leaves_numbers=is_first))
        while True:
            request = encode_request(BATCH, {**self._head, **head}, payload)
            try:
                text = await (self._first(request) if is_first else self._namespace.call(self._home, request))
            except ObjectCallError as error:
                raise self._lost(error) from error
            message = self._decoded(text)
            reply: Mapping[str, Any] = message.head["ok"]
            if "unchecked" in reply:
                await self._check_db()
            elif "behind" in reply:
                self._head["steps"] = {str(version): list(sql) for version, sql in STEPS.items()}
                self._head["readableFrom"] = READABLE_FROM
            elif "failed" in reply:
                raise SqlError(str(reply["failed"]))
            else:
                return reply, message.payload

    async def _in_parts(self, payload: str) -> dict[str, JsonValue]:
        """Send the statements in parts, and return the head of the request that runs them."""
        request = uuid.uuid4().hex
        places = range(0, len(payload), MOST_CHARACTERS)
        for part, start in enumerate(places):
            head: dict[str, JsonValue] = {"home": self._home, "request": request, "part": part}
            await self._sent_part(encode_request(PART, head, payload[start : start + MOST_CHARACTERS]))
        return {"request": request, "parts": len(places)}

    async def _check_db(self) -> None:
        """Make sure that D1 holds neither this session nor its root, which names the home."""
        assert self._in_db is not None  # noqa: S101 - a home asks only when there is a check
        found = await self._in_db([self._session_id, self._home])
        if found:
            raise SessionNotMovedError(found[0])
        self._head["checked"] = True

    async def _sent_part(self, request: str) -> None:
        """Send one part. It may be sent twice."""
        try:
            text = await with_retry(lambda: self._namespace.call(self._home, request))
        except ObjectCallError as error:
            raise self._lost(error) from error
        self._decoded(text)

    def _first(self, request: str) -> Awaitable[str]:
        """Send the statements themselves. Everything after this call only reads the rest of a long reply.

        Raises:
            ObjectCallError: no reply came.
        """
        return self._namespace.call(self._home, request)

    def _lost(self, error: ObjectCallError) -> LostReplyError:
        return LostReplyError(f"home {self._home!r} gave no reply ({error})", transient=not error.is_final())

    def _decoded(self, text: str) -> WireMessage:
        try:
            return decode_reply(text)
        except AgentsStoreError as error:
            if type(error) is not AgentsStoreError:
                raise
            raise LostReplyError(f"home {self._home!r}: {error}", transient=False) from error


class TogetherDatabase(HomeDatabase):
    """The database of one home. Its batches are sent with calls of the home's lock and stream.

    Args:
        companions: the calls; see `homes/companions.py`.
    """

    def __init__(
        self,
        namespace: ObjectNamespace,
        home: str,
        session_id: str,
        options: Mapping[str, JsonValue],
        in_db: InDb | None,
        *,
        companions: Companions,
    ) -> None:
        super().__init__(namespace, home, session_id, options, in_db)
        self._companions = companions

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run the batch and its companions in one transaction.

        Raises:
            NotTogetherError: the lock is not free, or the home has no lock of its own.
            AgentsStoreError: a companion was refused; nothing has happened.
            SqlError, MigrationError, SessionNotMovedError: as `HomeDatabase.batch` raises them.
        """
        try:
            return await super().batch(statements)
        finally:
            self._companions.settle()

    async def _first(self, request: str) -> str:
        lengths, texts = joined(self._companions.requests(request))
        acquires = self._companions.acquire is not None
        head: dict[str, JsonValue] = {"home": self._home, "acquires": acquires, "lengths": lengths}
        text = await self._companions.send(self._home, encode_request(TOGETHER, head, texts))
        if text is None:
            raise NotTogetherError(is_held=False)
        reply = self._decoded(text)
        return self._companions.hear(split(reply.head["ok"]["lengths"], reply.payload))


def _join(results: list[list[Row]], page: list[list[Row]]) -> None:
    """Add a page to the earlier results. Its first line has more rows of their last statement."""
    if results:
        results[-1] += page[0]
        page = page[1:]
    results += page
