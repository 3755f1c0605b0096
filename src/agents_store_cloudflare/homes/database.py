"""A home as a `Database`: what the stores send goes to the object of the session's home."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from agents_store_cloudflare.contract.errors import AgentsStoreError
from agents_store_cloudflare.contract.homes import home_of
from agents_store_cloudflare.contract.json_values import JsonValue
from agents_store_cloudflare.database import Database, LostReplyError, Row, SqlError, Statement
from agents_store_cloudflare.homes.schema import READABLE_FROM, SCHEMA, STEPS
from agents_store_cloudflare.homes.wire import BATCH, read_rows, statements_text
from agents_store_cloudflare.objects import ObjectCallError, ObjectNamespace
from agents_store_cloudflare.objects.rpc_text import decode_reply, encode_request

__all__ = ["HomeDatabase", "ObjectHomes"]

TOO_LARGE: Final = "Serialized RPC"
"""The platform's words for a request or a reply of over 32 MiB."""


class ObjectHomes:
    """`Homes` of sessions in Durable Objects: one object for each tree of sessions.

    Args:
        namespace: the binding of `SessionServer`.
        options: what a new home is told once.
    """

    def __init__(self, namespace: ObjectNamespace, options: Mapping[str, JsonValue]) -> None:
        self._namespace = namespace
        self._options = options

    def of(self, session_id: str) -> Database:
        """`Homes.of`.

        Raises:
            InvalidArgumentError: the session's home would have no name.
        """
        return HomeDatabase(self._namespace, home_of(session_id), session_id, self._options)


class HomeDatabase:
    """The database of one home, for the calls of one session."""

    def __init__(
        self, namespace: ObjectNamespace, home: str, session_id: str, options: Mapping[str, JsonValue]
    ) -> None:
        self._namespace = namespace
        self._home = home
        self._head: dict[str, JsonValue] = {"home": home, "session": session_id, "schema": SCHEMA, "options": options}

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """`Database.batch`: one call, one transaction.

        Raises:
            SqlError: a statement failed and nothing happened, or (`LostReplyError`) no reply came.
            MigrationError: the home's schema is newer than this code.
        """
        payload = statements_text(statements)
        reply, rows = await self._call({}, payload)
        if "behind" in reply:
            steps: JsonValue = {str(version): list(sql) for version, sql in STEPS.items()}
            reply, rows = await self._call({"steps": steps, "readableFrom": READABLE_FROM}, payload)
        if "failed" in reply:
            raise SqlError(str(reply["failed"]))
        return read_rows(rows)

    async def _call(self, more: Mapping[str, JsonValue], payload: str) -> tuple[Mapping[str, JsonValue], str]:
        request = encode_request(BATCH, {**self._head, **more}, payload)
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
