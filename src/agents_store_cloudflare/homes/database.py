"""A home as a `Database`: what the stores send goes to the object of the session's home."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

from agents_store_cloudflare.contract.errors import (
    AgentsStoreError,
    D1StateError,
    InvalidArgumentError,
    SessionNotMovedError,
)
from agents_store_cloudflare.contract.homes import child_id, home_of
from agents_store_cloudflare.contract.json_values import JsonValue
from agents_store_cloudflare.database import Database, LostReplyError, Row, SqlError, Statement
from agents_store_cloudflare.homes.schema import READABLE_FROM, SCHEMA, STEPS
from agents_store_cloudflare.homes.wire import BATCH, PROJECT, read_rows, statements_text
from agents_store_cloudflare.objects import ObjectCallError, ObjectNamespace, with_retry
from agents_store_cloudflare.objects.rpc_text import decode_reply, encode_request

__all__ = ["HomeDatabase", "ObjectHomes"]

TOO_LARGE: Final = "Serialized RPC"
"""The platform's words for a request or a reply of over 32 MiB."""

InDb: TypeAlias = "Callable[[Sequence[str]], Awaitable[list[str]]]"
"""Which of these sessions D1 holds itself."""


class ObjectHomes:
    """`Homes` of sessions in Durable Objects: one object for each tree of sessions.

    Args:
        namespace: the binding of `SessionServer`.
        options: what a new home is told once.
        in_db: which of the sessions D1 holds itself, asked before a session is created; None where nobody wants to know.
    """

    def __init__(self, namespace: ObjectNamespace, options: Mapping[str, JsonValue], in_db: InDb | None = None) -> None:
        self._namespace = namespace
        self._options = options
        self._in_db = in_db

    def of(self, session_id: str) -> Database:
        """`Homes.of`.

        Raises:
            InvalidArgumentError: the session's home would have no name.
        """
        return HomeDatabase(self._namespace, home_of(session_id), session_id, self._options, self._in_db)

    def admit(self, session_id: str, parent_session_id: str | None) -> None:
        """`Homes.admit`: a child lives in its parent's home."""
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

    async def project(self, session_id: str) -> str | None:
        """Have the session's home tell the directory of all its sessions again; its name, None where it has no sessions.

        Raises:
            D1StateError: the home gave no reply, or could not tell the directory.
        """
        told: Any = await self.call(session_id, PROJECT)
        if told is None:
            return None
        if not told["told"]:
            raise D1StateError(
                f"home {told['home']!r} could not tell the directory; its log has the cause, and it tries again"
            )
        return cast("str", told["home"])

    async def call(self, session_id: str, op: str) -> JsonValue:
        """An operation of the session's home that needs no arguments; its value.

        Raises:
            D1StateError: the home gave no reply.
        """
        home = home_of(session_id)
        request = encode_request(op, {"home": home})
        try:
            reply = await with_retry(lambda: self._namespace.call(home, request))
        except ObjectCallError as error:
            raise D1StateError(f"home {home!r} gave no reply to {op!r} ({error})", outcome_unknown=True) from error
        value: JsonValue = decode_reply(reply).head["ok"]
        return value


class HomeDatabase:
    """The database of one home, for the calls of one session."""

    def __init__(
        self,
        namespace: ObjectNamespace,
        home: str,
        session_id: str,
        options: Mapping[str, JsonValue],
        in_db: InDb | None = None,
    ) -> None:
        self._namespace = namespace
        self._home = home
        self._session_id = session_id
        self._in_db = in_db
        self._head: dict[str, JsonValue] = {
            "home": home,
            "session": session_id,
            "schema": SCHEMA,
            "options": dict(options),
            "checked": in_db is None,
        }

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """`Database.batch`: one call, one transaction.

        Raises:
            SqlError: a statement failed and nothing happened, or (`LostReplyError`) no reply came.
            MigrationError: the home's schema is newer than this code.
            SessionNotMovedError: the batch would create a session that D1 holds.
        """
        payload = statements_text(statements)
        while True:
            reply, rows = await self._call(payload)
            if "unchecked" in reply:
                await self._check_db()
            elif "behind" in reply:
                self._head["steps"] = {str(version): list(sql) for version, sql in STEPS.items()}
                self._head["readableFrom"] = READABLE_FROM
            elif "failed" in reply:
                raise SqlError(str(reply["failed"]))
            else:
                return read_rows(rows)

    async def _check_db(self) -> None:
        """Make sure that D1 holds neither this session nor the one that its home is named after."""
        assert self._in_db is not None  # noqa: S101 - only then a home asks
        found = await self._in_db([self._session_id, self._home])
        if found:
            raise SessionNotMovedError(found[0])
        self._head["checked"] = True

    async def _call(self, payload: str) -> tuple[Mapping[str, JsonValue], str]:
        request = encode_request(BATCH, self._head, payload)
        try:
            reply = decode_reply(await self._namespace.call(self._home, request))
        except ObjectCallError as error:
            lasting = error.overloaded or TOO_LARGE in str(error)
            raise LostReplyError(f"home {self._home!r} gave no reply ({error})", transient=not lasting) from error
        except AgentsStoreError as error:
            if type(error) is not AgentsStoreError:
                raise
            raise LostReplyError(f"home {self._home!r}: {error}", transient=False) from error
        return reply.head["ok"], reply.payload
