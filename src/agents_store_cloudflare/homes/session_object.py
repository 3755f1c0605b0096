"""The logic of a home's Durable Object: the sessions of one tree."""

from __future__ import annotations

import logging
from collections.abc import Awaitable

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.database import SqlError
from agents_store_cloudflare.homes.schema import SCHEMA
from agents_store_cloudflare.homes.tables import BatchRequest, HomeBehindError, HomeTables
from agents_store_cloudflare.homes.wire import BATCH, read_statements, rows_text
from agents_store_cloudflare.objects import ObjectHost
from agents_store_cloudflare.objects.rpc_text import WireMessage, decode_request, encode_error, encode_reply
from agents_store_cloudflare.objects.wiring import DESCRIBE, check_addressed, describe

__all__ = ["SessionObject"]


class SessionObject:
    """The sessions of one home as an `ObjectLogic`. Every batch runs between two awaits, where no other call can run.

    Args:
        host: the object's platform.
        logger: takes unexpected errors; their text never leaves the object.
    """

    def __init__(self, host: ObjectHost, *, logger: logging.Logger | None = None) -> None:
        self._host = host
        self.logger: logging.Logger = logger or logging.getLogger("agents_store_cloudflare.homes")
        self._tables = HomeTables(host.sql)

    async def call(self, request: str) -> str:
        """`ObjectLogic.call`."""
        reply = self.answer(request)
        return reply if isinstance(reply, str) else await reply

    def answer(self, request: str) -> str | Awaitable[str]:
        """The reply of `call`, at once unless it must be waited for."""
        try:
            return self._answer(decode_request(request))
        except Exception as error:  # noqa: BLE001 - whatever it is, a traceback must not leave the object
            return encode_error(error, self.logger)

    async def alarm(self) -> None:
        """`ObjectLogic.alarm`: do what is due."""

    def _answer(self, message: WireMessage) -> str | Awaitable[str]:
        op = message.head["op"]
        if op == DESCRIBE:
            return describe("session", self._host.sql)
        check_addressed("session", message.head, "home")
        if op == BATCH:
            return self._batch(message)
        raise InvalidArgumentError(f"a home has no operation {op!r:.100}; does the Worker run an older version?")

    def _batch(self, message: WireMessage) -> str:
        head = message.head
        request = BatchRequest(
            home=head["home"],
            session=head["session"],
            schema=head["schema"],
            statements=read_statements(message.payload),
            options=head.get("options", {}),
            steps={int(version): steps for version, steps in head.get("steps", {}).items()},
            readable_from=head.get("readableFrom", SCHEMA),
        )
        try:
            result = self._tables.run(request)
        except SqlError as error:
            return encode_reply({"failed": str(error)})
        except HomeBehindError:
            return encode_reply({"behind": SCHEMA})
        return encode_reply({}, rows_text(result.rows))
