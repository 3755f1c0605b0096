"""The Durable Object class of homes. Name it in wrangler.toml and import it in the Worker's entry module."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any, TypeAlias, cast

from agents_store_cloudflare.durable_objects.listeners import answered_request
from workers import DurableObject

from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.cloudflare.namespace import answered
from agents_store_cloudflare.cloudflare.object_host import CloudflareHost
from agents_store_cloudflare.cloudflare.web_socket import CloudflareSocket
from agents_store_cloudflare.contract.errors import BindingError
from agents_store_cloudflare.database import Database
from agents_store_cloudflare.homes.session_object import SessionObject
from agents_store_cloudflare.metering.row_count import answer_at_once
from agents_store_cloudflare.usage.options import UsageOptions

JsObject: TypeAlias = Any  # what crosses from JavaScript has no Python type

__all__ = ["SessionServer"]


class _SessionServerType(type):
    """Holds functions that must not be on the class itself, because RPC can call every function of the class."""

    def with_options(
        cls, *, database: str = "AGENT_DB", usage: UsageOptions | None = None, logger: logging.Logger | None = None
    ) -> type[SessionServer]:
        """Return a subclass of the same name with these options. Use it in the entry module:

        Example:
            >>> SessionServer = SessionServer.with_options(database="AGENTS")

        Args:
            database: the name of the D1 binding with directory, usage and budgets.
            usage: the options of the Workers' usage store. Only its table is used here.
            logger: gets the failures of background work.
        """
        own = {
            "_database": database,
            "_usage": usage or UsageOptions(),
            "_logger": logger,
            "__module__": cls.__module__,
            "__doc__": cls.__doc__,
        }
        return cast("type[SessionServer]", type(cls)(cls.__name__, (cls,), own))


class SessionServer(DurableObject, metaclass=_SessionServerType):
    """The Durable Object of one tree of sessions.

    RPC reaches `call`. `fetch` answers listeners of its stream. `SessionObject` does the work.
    """

    _database: str = "AGENT_DB"
    _usage: UsageOptions = UsageOptions()
    _logger: logging.Logger | None = None

    def __init__(self, ctx: JsObject, env: JsObject) -> None:
        super().__init__(ctx, env)
        self._home = SessionObject(
            CloudflareHost(self.ctx, self.env),
            database=partial(_database_of, self.env, self._database),
            usage_table=self._usage.table_name,
            logger=self._logger,
        )

    def call(self, request: object = None, *_more: object, **_named: object) -> object:
        """Answer one request text with one reply text, in the form and over the line that `cloudflare.namespace` agrees on."""
        return answered(request, partial(answer_at_once, self._home))

    async def fetch(self, request: JsObject) -> JsObject:
        """Answer a listener of the home's stream, or a request of the Durable Streams protocol, with a raw `js.Response`."""
        return await answered_request(self._home, getattr(self.ctx.id, "name", None) or "", request, self._home.logger)

    async def webSocketMessage(self, socket: JsObject, message: JsObject) -> None:  # noqa: N802 - the platform's name
        """Take a listener's message. The object may have slept before."""
        self._home.socket_message(CloudflareSocket(socket), message)

    async def webSocketClose(self, socket: JsObject, code: int = 1000, *_how: JsObject) -> None:  # noqa: N802
        """Note that a listener has gone."""
        self._home.socket_closed(CloudflareSocket(socket), code)

    async def webSocketError(self, socket: JsObject, _error: JsObject = None) -> None:  # noqa: N802
        """Note that a listener's connection broke."""
        self._home.socket_closed(CloudflareSocket(socket), 1011)

    async def alarm(self, _info: JsObject = None) -> None:
        """Do the due work."""
        await self._home.alarm()


def _database_of(env: JsObject, name: str) -> Database:
    binding = getattr(env, name, None)
    if binding is None:
        raise BindingError(
            f"env.{name} is missing, and homes need D1 for their directory; name the binding with "
            "SessionServer.with_options(database=…) in the entry module"
        )
    return as_database(binding)
