"""`create_cloudflare_store` makes the stores of one request from its bindings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.cloudflare.namespace import as_namespace
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.locks import DurableObjectLockManager, LockOptions
from agents_store_cloudflare.metering.meter import MeteredDatabase, OpenMeters, metered_namespace
from agents_store_cloudflare.objects import ObjectNamespace
from agents_store_cloudflare.objects.wiring import ObjectKind
from agents_store_cloudflare.state import StateStoreOptions
from agents_store_cloudflare.state.accounts import Accounts
from agents_store_cloudflare.state.turn_store import D1TurnStore
from agents_store_cloudflare.store.store import CloudflareStore
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.streams.options import StreamOptions
from agents_store_cloudflare.usage import D1UsageStore, UsageOptions

if TYPE_CHECKING:
    from agents_store_cloudflare.homes.options import SessionOptions
else:
    SessionOptions = Any  # for `typing.get_type_hints`; the module is loaded with the first use

__all__ = ["create_cloudflare_store"]


def create_cloudflare_store(
    *,
    db: object,
    streams: object,
    locks: object = None,
    state_options: StateStoreOptions | None = None,
    stream_options: StreamOptions | None = None,
    lock_options: LockOptions | None = None,
    usage_options: UsageOptions | None = None,
    sessions: object = None,
    session_options: SessionOptions | None = None,
    bookmark: str | None = None,
) -> CloudflareStore:
    """Return the stores of one request, made from its bindings.

    Args:
        db: the D1 binding (`env.AGENT_DB`) or a read-replica session of it, raw or as the Workers SDK wraps it.
        streams: the Durable Object binding of `StreamServer` (`env.STREAMS`).
        locks: the Durable Object binding of `LockServer` (`env.LOCKS`), if there is one.
        sessions: the Durable Object binding of `SessionServer` (`env.SESSIONS`). With it each tree of sessions lives in an object
            of its own, and D1 keeps the directory, usage and budgets. Without it all sessions are in D1.
        session_options: the options of homes, for `sessions`.
        bookmark: lets D1's read replicas answer calls that only show what is stored. The store sees its own writes, and at least
            what the given bookmark has seen: the `store.bookmark` of an earlier request. "first-primary" begins at the newest
            state, "first-unconstrained" at any. No replica decides about a write.

    Raises:
        TypeError: a binding is missing, or is not a binding of the right kind.
        InvalidArgumentError: `session_options` without `sessions`; a malformed bookmark, or one for a database without sessions.
    """
    if session_options is not None and sessions is None:
        raise InvalidArgumentError("session_options go with sessions=, the binding of SessionServer")
    meters = OpenMeters()
    database = MeteredDatabase(as_database(db), meters)
    session = None
    if bookmark is not None:
        from agents_store_cloudflare.store.bookmarks import session_of  # noqa: PLC0415 - most stores have no bookmark

        session = session_of(as_database(db), bookmark)
        database = MeteredDatabase(session, meters, primary=database)
    objects: dict[ObjectKind, ObjectNamespace] = {"stream": metered_namespace(as_namespace(streams), meters)}
    if locks is not None:
        objects["lock"] = metered_namespace(as_namespace(locks), meters)
    homes, named = None, objects
    if sessions is None:
        given = state_options or StateStoreOptions()
        state_store = D1TurnStore(database, options=given, accounts=Accounts(usage_options, given.now_ms))
        usage_store = D1UsageStore(database, options=usage_options)
    else:
        from agents_store_cloudflare.homes.roles import home_roles  # noqa: PLC0415 - most stores have no homes

        objects["session"] = metered_namespace(as_namespace(sessions), meters)
        homes, state_store, usage_store, named = home_roles(
            database, objects, session_options, state_options, usage_options
        )
    return CloudflareStore(
        database,
        state_store,
        DurableObjectStreamManager(named["stream"], options=stream_options),
        usage_store,
        None if locks is None else DurableObjectLockManager(named["lock"], options=lock_options),
        meters=meters,
        objects=objects,
        usage_table=(usage_options or UsageOptions()).table_name,
        homes=homes,
        stream_namespace=named["stream"],
        session=session,
    )
