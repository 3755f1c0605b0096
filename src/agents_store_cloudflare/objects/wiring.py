"""Lets a Durable Object name its kind, so that a wrong binding gives a clear error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from agents_store_cloudflare.contract.errors import BindingError
from agents_store_cloudflare.database import ObjectSql, Statement
from agents_store_cloudflare.objects.rpc_text import encode_reply

__all__ = ["DESCRIBE", "FOLLOW_PATH", "ObjectKind", "check_addressed", "describe"]

ObjectKind: TypeAlias = Literal["stream", "lock", "session"]

DESCRIBE: Final = "describe"
"""The operation that every object of the package answers under any name."""

FOLLOW_PATH: Final = "/__follow"
"""The path of a request to a home that follows the session `?session=`. Paths of users' streams have no segment of this name."""

_PROBE = Statement("SELECT 1")
_BINDINGS: Final[Mapping[str, str]] = {
    "stream": "STREAMS (StreamServer)",
    "lock": "LOCKS (LockServer)",
    "session": "SESSIONS (SessionServer)",
}


def describe(kind: ObjectKind, sql: ObjectSql) -> str:
    """Reply with the object's kind and whether its class has SQLite."""
    try:
        sql.exec(_PROBE.sql)
        sql.get_text(DESCRIBE)  # a local runtime gives SQL to every class, but keys only to a class with SQLite
    except BindingError:
        return encode_reply({"kind": kind, "hasSqlite": False})
    return encode_reply({"kind": kind, "hasSqlite": True})


def check_addressed(kind: ObjectKind, arguments: Mapping[str, object], key: str) -> None:
    """Refuse a call that is meant for an object of another kind.

    Args:
        arguments: the arguments of the call.
        kind: the kind of this object.
        key: the name of the argument that every call to this kind of object has.

    Raises:
        BindingError: the call has no such argument.
    """
    if key not in arguments:
        raise BindingError(
            f"this object is a {kind}, and the call is for another kind of object: of the bindings "
            f"{', '.join(_BINDINGS.values())} two are exchanged in the Worker's wrangler.toml, or in the call of "
            "create_cloudflare_store"
        )
