"""The operations of LangGraph's items."""

from __future__ import annotations

from typing import Any, ClassVar

from langgraph.store.base import GetOp, ListNamespacesOp, MatchCondition, Op, PutOp, SearchOp

from agents_store_cloudflare.adapters.langgraph import D1Store
from tests.adapters.disturbed.worlds import AdapterWorld, by_others, op, role_of
from tests.instruments.operations import plain

__all__ = ["CHECKED_ITEMS", "ITEMS"]

ADA = ("users", "ada")


class Items(AdapterWorld):
    """Three items of two namespaces."""

    options: ClassVar[dict[str, Any]] = {}

    def client(self, database: Any) -> D1Store:
        return D1Store(database, **self.options)

    async def fill(self) -> None:
        await self.theirs.abatch([PutOp(ADA, "a", {"n": [1]}), PutOp(ADA, "b", {"n": 2}), PutOp(("x",), "c", {"n": 3})])

    async def picture(self) -> str:
        found = await D1Store(self.database).asearch((), limit=100)
        return plain([(item.namespace, item.key, item.value) for item in found])

    async def probe(self, client: D1Store) -> None:
        await client.aput(("probe",), "p", {"n": 1})
        await client.adelete(("probe",), "p")


class CheckedItems(Items):
    options: ClassVar[dict[str, Any]] = {"item_check": True}


async def run(store: D1Store, ops: list[Op]) -> object:
    return [_value(each) for each in await store.abatch(ops)]


def _value(result: Any) -> Any:
    found: Any = result
    if isinstance(result, list):
        return [_value(each) for each in found]
    return getattr(result, "value", result)


async def read_and_put(store: D1Store) -> object:
    before = await store.aget(ADA, "a")
    await store.aput(ADA, "a", {"n": [7]})
    return _value(before)


async def make_again(store: D1Store) -> None:
    await store.adelete(ADA, "a")
    await store.aput(ADA, "a", {"n": "again"})


async def often(store: D1Store) -> None:
    for number in range(14):
        await store.aput(ADA, "a", {"n": number})


def _everything() -> list[Op]:
    condition = MatchCondition("prefix", ["users", "*"])  # type: ignore[arg-type]
    return [
        PutOp(ADA, "a", {"n": [2]}),
        PutOp(["users", "bob"], "new", {"n": {"deep": [1]}}),  # type: ignore[arg-type]
        PutOp(ADA, "b", None),
        GetOp(ADA, "a"),
        SearchOp(["users"], {"n": {"$ne": [5]}}),  # type: ignore[arg-type]
        ListNamespacesOp((condition,)),
    ]


OPERATIONS = (
    op("put", run, lambda: [PutOp(ADA, "a", {"n": [2]})]),
    op("put a new one", run, lambda: [PutOp(ADA, "new", {"n": {"deep": [2]}})]),
    op("delete", run, lambda: [PutOp(ADA, "a", None)]),
    op("read and put", read_and_put),
    op("everything", run, _everything),
    by_others("put too", lambda store: store.aput(ADA, "a", {"n": "theirs"})),
    by_others("put often", often),
    by_others("delete it", lambda store: store.adelete(ADA, "a")),
    by_others("make again", make_again),
)
ITEMS = role_of("items", Items, *OPERATIONS)
CHECKED_ITEMS = role_of("items with an item check", CheckedItems, *OPERATIONS)
