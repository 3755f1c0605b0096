"""The check of a Worker's bindings. An error names each fault and the line that corrects it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from agents_store_cloudflare.cloudflare.raw import raw_binding
from agents_store_cloudflare.contract.errors import AgentsStoreError, BindingError
from agents_store_cloudflare.objects import ObjectCallError, ObjectNamespace, with_retry
from agents_store_cloudflare.objects.rpc_text import decode_reply, encode_request
from agents_store_cloudflare.objects.wiring import DESCRIBE, ObjectKind

__all__ = ["check_bindings", "check_object", "check_objects_once"]

PROBE_NAME: Final = "__wiring"
"""The object that the check calls. No user's id begins with `__`."""

_DATABASE = """[[d1_databases]]
binding = "{name}"
database_name = "{name}"
database_id = "…"  # from `wrangler d1 create`"""

_OBJECT = """[[durable_objects.bindings]]
name = "{name}"
class_name = "{class_name}"

[[migrations]]
tag = "{tag}"
new_sqlite_classes = ["{class_name}"]"""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A binding that the package needs, and the marks by which the check recognises it."""

    what: str
    mark: str
    remedy: Callable[[str], str]


_CLASSES: Final[dict[ObjectKind, tuple[str, str]]] = {
    "stream": ("StreamServer", "v1"),
    "lock": ("LockServer", "v2"),
    "session": ("SessionServer", "v3"),
}


def _objects_of(kind: ObjectKind) -> _Wanted:
    class_name, tag = _CLASSES[kind]
    return _Wanted(
        f"the Durable Object binding of {class_name}",
        "idFromName",
        lambda name: _OBJECT.format(name=name, class_name=class_name, tag=tag),
    )


_A_DATABASE = _Wanted("a D1 database", "prepare", lambda name: _DATABASE.format(name=name))


_checked: set[ObjectKind] = set()
"""The bindings that this isolate has checked. They belong to the deployed Worker, not to a request."""


def check_bindings(
    env: object,
    *,
    db: str = "AGENT_DB",
    streams: str = "STREAMS",
    locks: str | None = "LOCKS",
    sessions: str | None = None,
) -> None:
    """Check that a Worker's `env` has the bindings of the package. It sends nothing.

    Args:
        env: `self.env` of the entry class.
        db, streams, locks, sessions: the names of the bindings. `locks` is None for a Worker without locks. `sessions` is given
            only when sessions live in Durable Objects.

    Raises:
        BindingError: a binding is missing or of another kind. The message names all faults, with the lines for wrangler.toml.
    """
    wanted = {db: _A_DATABASE, streams: _objects_of("stream")}
    if locks is not None:
        wanted[locks] = _objects_of("lock")
    if sessions is not None:
        wanted[sessions] = _objects_of("session")
    problems = [problem for name, each in wanted.items() if (problem := _problem(env, name, each)) is not None]
    if problems:
        raise BindingError("\n\n".join(problems))


def _problem(env: object, name: str, wanted: _Wanted) -> str | None:
    binding = raw_binding(getattr(env, name, None))
    lines = f"Add to wrangler.toml:\n\n{wanted.remedy(name)}"
    if binding is None:
        return f"env.{name} is missing; it should be {wanted.what}. {lines}"
    if not hasattr(binding, wanted.mark):
        return f"env.{name} is not {wanted.what}. {lines}"
    return None


async def check_object(namespace: ObjectNamespace, kind: ObjectKind) -> None:
    """Ask one object of a binding for its kind and its storage: one call.

    Raises:
        BindingError: no object answers, the object is of another kind, or its class has no SQLite.
    """
    class_name, tag = _CLASSES[kind]
    try:
        reply = await with_retry(lambda: namespace.call(PROBE_NAME, encode_request(DESCRIBE, {})), attempts=2)
    except ObjectCallError as error:
        raise BindingError(f"no object of {class_name} answers ({error})") from error
    try:
        found = decode_reply(reply).head["ok"]
    except AgentsStoreError as error:
        raise BindingError(f"the object behind the binding of {class_name} answers with an error: {error}") from error
    if found["kind"] != kind:
        other, _tag = _CLASSES[found["kind"]]
        raise BindingError(
            f"the binding that should lead to {class_name} leads to {other}; exchange the two class_name lines in "
            "[[durable_objects.bindings]] of wrangler.toml, or the arguments streams=, locks= and sessions= of "
            "create_cloudflare_store"
        )
    if not found["hasSqlite"]:
        raise BindingError(
            f"{class_name} has no SQLite; wrangler.toml needs it under new_sqlite_classes:\n\n"
            f'[[migrations]]\ntag = "{tag}"\nnew_sqlite_classes = ["{class_name}"]'
        )


async def check_objects_once(objects: Mapping[ObjectKind, ObjectNamespace]) -> None:
    """Call `check_object` for each binding that this isolate has not checked before.

    Raises:
        BindingError: as `check_object` raises it.
    """
    for kind, namespace in objects.items():
        if kind not in _checked:
            await check_object(namespace, kind)
            _checked.add(kind)
