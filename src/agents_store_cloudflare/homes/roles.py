"""Makes the parts of a store with homes."""

from __future__ import annotations

from collections.abc import Mapping

from agents_store_cloudflare.contract.arguments import options_of
from agents_store_cloudflare.database import Database
from agents_store_cloudflare.homes.budgets import HomeBudgets
from agents_store_cloudflare.homes.database import ObjectHomes
from agents_store_cloudflare.homes.directory import Directory
from agents_store_cloudflare.homes.options import SessionOptions
from agents_store_cloudflare.homes.places import HomeParts, Places
from agents_store_cloudflare.homes.state_store import HomeStateStore
from agents_store_cloudflare.homes.usage_store import HomeUsageStore
from agents_store_cloudflare.objects import ObjectNamespace
from agents_store_cloudflare.objects.wiring import ObjectKind
from agents_store_cloudflare.state import StateStoreOptions
from agents_store_cloudflare.usage import UsageOptions

__all__ = ["home_roles"]


def home_roles(
    database: Database,
    objects: Mapping[ObjectKind, ObjectNamespace],
    options: SessionOptions | None,
    state: StateStoreOptions | None,
    usage: UsageOptions | None,
) -> tuple[ObjectHomes, HomeStateStore, HomeUsageStore, dict[ObjectKind, ObjectNamespace]]:
    """Return the homes, the state store and the usage store that use them, and the namespaces of streams and locks.

    The lock and the stream with the home's name live in the home. All other locks and streams have objects of their own.

    Args:
        database: D1, for the directory, usage and budgets.
        objects: the bindings of the store, by kind.
    """
    own = options_of(options, {}, SessionOptions)
    places = Places(
        objects["session"], objects["stream"], objects.get("lock"), in_homes=own.home_streams, asks=own.check_db
    )
    directory = Directory(database, is_kept=own.directory)
    homes = ObjectHomes(objects["session"], own.for_home(), directory.in_db if own.check_db else None, places)
    budgets = HomeBudgets(database, (state or StateStoreOptions()).now_ms)
    kinds: tuple[ObjectKind, ...] = ("stream", "lock")
    return (
        homes,
        HomeStateStore(homes, directory, budgets, options=state, usage=usage),
        HomeUsageStore(database, homes, usage),
        {kind: HomeParts(places, objects[kind]) for kind in kinds if kind in objects},
    )
