"""Random operations on a `D1Store` and on LangGraph's `InMemoryStore` at the same time: no difference."""

import random
from typing import Any, cast

import pytest
from langgraph.store.base import GetOp, Item, ListNamespacesOp, MatchCondition, Op, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

from agents_store_cloudflare.adapters.langgraph import D1Store
from agents_store_cloudflare.testing import FaultyDatabase, SqliteDatabase
from agents_store_cloudflare.testing.faults import Moment
from tests.lengths import length

OPERATIONS = length(6_000, 60_000)
SEEDS = 6
LABELS = ("users", "ada", "bob", "ë🎉", "a-b", "docs", " x", "~")
KEYS = ("", "one", "two", "Zoë", "k 4", "%_'\"\\")
WORDS = ("", "red", "true", "1", "blue 🎉", "it's", 'a "quote"', "tab\tnew\nline", "null")
ALL = 1_000_000
LOST: tuple[Moment, ...] = ("after", "after")


class World:
    """Both stores."""

    def __init__(self, database: SqliteDatabase, choice: random.Random) -> None:
        self.choice = choice
        self.memory = InMemoryStore()
        self.faults = FaultyDatabase(database)
        self.store = D1Store(self.faults, item_check=choice.random() < 0.5, search_rows=ALL)

    def namespace(self, least: int = 1) -> tuple[str, ...]:
        return tuple(self.choice.choice(LABELS) for _ in range(self.choice.randint(least, 3)))

    def scalar(self) -> Any:
        return self.choice.choice(
            [*WORDS, None, True, False, 0, 1, -1, 1.0, 2.5, 1e300, 10**15, 2**53 + 1, 2**70, -(2**70), 1e-7]
        )

    def value(self, depth: int = 2) -> Any:
        what = self.choice.random()
        if depth and what < 0.2:
            return [self.value(depth - 1) for _ in range(self.choice.randint(0, 3))]
        if depth and what < 0.45:
            return {key: self.value(depth - 1) for key in self.choice.sample(("a", "b", "c", "ë"), 2)}
        return self.scalar()

    def document(self) -> dict[str, Any]:
        made = {key: self.value() for key in ("a", "b", "color") if self.choice.random() < 0.7}
        return {**made, "n": self.choice.choice([1, 2, 2.5, 3, -4, 10**12])}

    def wanted(self, depth: int = 2) -> Any:
        what = self.choice.random()
        if what < 0.15:
            return {self.choice.choice(["$eq", "$ne"]): self.value()}
        if depth and what < 0.3:
            return {key: self.wanted(depth - 1) for key in self.choice.sample(("a", "b", "c", "ë"), 1)}
        if depth and what < 0.4:
            return [self.wanted(depth - 1) for _ in range(self.choice.randint(0, 2))]
        return self.scalar()

    def filter(self) -> dict[str, Any] | None:
        if self.choice.random() < 0.4:
            return None
        made = {key: self.wanted() for key in ("a", "b", "color", "missing") if self.choice.random() < 0.3}
        if self.choice.random() < 0.3:
            operators = self.choice.sample(("$gt", "$gte", "$lt", "$lte", "$ne", "$eq"), 2)
            made["n"] = {operator: self.choice.choice([1, 2, 2.5, 3, -4]) for operator in operators}
        stored = [item.value for items in held(self.memory).values() for item in items.values()]
        if stored and self.choice.random() < 0.4:
            key, value = self.choice.choice(sorted(self.choice.choice(stored).items(), key=repr))
            made[key] = value if self.choice.random() < 0.5 else {"$eq": value}
        return made

    def operation(self) -> Op:
        what = self.choice.random()
        if what < 0.35:
            value = None if self.choice.random() < 0.3 else self.document()
            return PutOp(self.namespace(), self.choice.choice(KEYS), value)
        if what < 0.6:
            return GetOp(self.namespace(), self.choice.choice(KEYS))
        if what < 0.85:
            limit, offset = self.choice.choice([0, 1, 3, 10, ALL]), self.choice.choice([0, 0, 1, 5])
            return SearchOp(self.namespace(0), self.filter(), limit, offset)
        return ListNamespacesOp(
            match_conditions=tuple(self.condition() for _ in range(self.choice.randint(0, 2))),
            max_depth=self.choice.choice([None, 0, 1, 2, 5]),
            limit=self.choice.choice([0, 1, 3, 100]),
            offset=self.choice.choice([0, 0, 1, 5]),
        )

    def condition(self) -> MatchCondition:
        path = tuple(self.choice.choice((*LABELS, "*", "*")) for _ in range(self.choice.randint(0, 3)))
        return MatchCondition(self.choice.choice(["prefix", "suffix"]), path)

    async def step(self) -> int:
        """Run one batch, sometimes with a lost reply or two. Return its number of operations."""
        ops = [self.operation() for _ in range(self.choice.choice([1, 1, 1, 2, 4]))]
        expected = [self.expected(op) for op in ops]
        self.memory.batch([op for op in ops if isinstance(op, PutOp)])
        self.forget_empty()
        if self.choice.random() < 0.2:
            self.faults.fail(*LOST[: self.choice.randint(1, 2)])
        found = await self.store.abatch(ops)
        for op, mine, theirs in zip(ops, found, expected, strict=True):
            assert plain(mine) == plain(theirs), op
        return len(ops)

    def expected(self, op: Op) -> Any:
        """Return the memory's answer. A page of a search is cut from all found items, in the order of namespaces and keys."""
        if isinstance(op, SearchOp):
            [found] = self.memory.batch([op._replace(limit=ALL, offset=0)])
            ordered = sorted(cast("list[Item]", found), key=lambda item: (item.namespace, item.key))
            return ordered[op.offset : op.offset + op.limit]
        if isinstance(op, PutOp):
            return None
        [found] = self.memory.batch([op])
        self.forget_empty()
        return found

    def forget_empty(self) -> None:
        """Remove empty namespaces from the memory, which goes on listing them."""
        data = held(self.memory)
        for namespace in [each for each, items in data.items() if not items]:
            del data[namespace]


def held(memory: InMemoryStore) -> dict[tuple[str, ...], dict[str, Item]]:
    data: dict[tuple[str, ...], dict[str, Item]] = memory._data  # pyright: ignore[reportPrivateUsage]
    return data


def plain(answer: Any) -> Any:
    if isinstance(answer, Item):
        return type(answer).__name__, answer.namespace, answer.key, repr(answer.value)
    return [plain(each) for each in cast("Any", answer)] if isinstance(answer, list) else answer


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_no_difference(database: SqliteDatabase, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """LG-16, LG-18: Both stores return the same answers, types and order: filters, pages, lists of namespaces, reads before puts,
    lost replies.
    """
    from agents_store_cloudflare.database import retry

    async def pause(attempt: int) -> None:
        assert attempt < retry.ATTEMPTS

    monkeypatch.setattr(retry, "pause_before_retry", pause)
    world, done = World(database, random.Random(seed)), 0
    while done < OPERATIONS // SEEDS:
        done += await world.step()
