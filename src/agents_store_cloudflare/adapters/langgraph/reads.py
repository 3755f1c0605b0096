"""The reading operations of a store: their statements, and their answers from the rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from langgraph.store.base import GetOp, ListNamespacesOp, MatchCondition, SearchOp

from agents_store_cloudflare.adapters.langgraph import item_sql
from agents_store_cloudflare.adapters.langgraph.errors import WideSearchError
from agents_store_cloudflare.adapters.langgraph.filters import filter_json
from agents_store_cloudflare.adapters.langgraph.items import (
    Namespace,
    item_of,
    key_text,
    labels_of,
    namespace_text,
    range_of,
    search_item_of,
)
from agents_store_cloudflare.adapters.langgraph.seen_items import SeenItems
from agents_store_cloudflare.contract.arguments import check_whole_number
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.database import Row, Statement

__all__ = ["Read", "gets", "namespaces", "search"]


@dataclass(frozen=True, slots=True)
class Read:
    """Statements, and the function that makes the answers from their rows, by the place of each operation in its batch."""

    statements: list[Statement]
    answers: Callable[[list[list[Row]]], dict[int, Any]]


def gets(asked: dict[int, GetOp], *, keeps: bool, seen: SeenItems | None) -> Read:
    """Return the read of all items of a batch in one statement, and a statement that renews their time to live.

    Args:
        keeps: True when a read renews the time to live of its items.
        seen: gets the name of the write that made each item.
    """
    places = list(asked)
    names = [(namespace_text(op.namespace), key_text(op.key)) for op in asked.values()]
    sent = seen.moment() if seen is not None else 0
    kept = [name for name, op in zip(names, asked.values(), strict=True) if keeps and op.refresh_ttl]
    statements = [Statement(item_sql.GET, (json.dumps(names, ensure_ascii=False),))]
    if kept:
        statements.append(Statement(item_sql.REFRESH_GOT, (json.dumps(kept, ensure_ascii=False),)))

    def answers(results: list[list[Row]]) -> dict[int, Any]:
        found = {cast("int", row[0]): item_of(row[1:]) for row in results[0]}
        if seen is not None:
            writes = {cast("int", row[0]): cast("str", row[-1]) for row in results[0]}
            for index, name in enumerate(names):
                seen.see(name, writes.get(index, ""), sent)
        return {place: found.get(index) for index, place in enumerate(places)}

    return Read(statements, answers)


def search(place: int, op: SearchOp, rows: int, *, keeps: bool, seen: SeenItems | None) -> Read:
    """Return the read of a page of the items below a namespace that match a filter, in the order of namespaces and keys.

    Args:
        rows: the most rows that it looks at.
        keeps: True when a read renews the time to live of its items.
        seen: gets the name of the write that made each item.
    """
    if op.query is not None:
        raise InvalidArgumentError("D1Store has no vectors: search by filter, not by query")
    low, high = range_of(namespace_text(op.namespace_prefix))
    limit, offset = check_whole_number(op.limit, "limit"), check_whole_number(op.offset, "offset")
    sent = seen.moment() if seen is not None else 0
    page = (low, high, rows, filter_json(op.filter), limit, offset)
    statements = [Statement(item_sql.SEARCH, page), Statement(item_sql.BEYOND, (low, high, rows))]
    if keeps and op.refresh_ttl:
        statements.append(Statement(item_sql.REFRESH_FOUND, page))

    def answers(results: list[list[Row]]) -> dict[int, Any]:
        found, beyond, *_ = results
        if beyond and len(found) < limit:
            raise WideSearchError(list(op.namespace_prefix), rows)
        if seen is not None:
            for row in found:
                seen.see(cast("tuple[str, str]", tuple(row[:2])), cast("str", row[-1]), sent)
        return {place: [search_item_of(row) for row in found]}

    return Read(statements, answers)


def namespaces(place: int, op: ListNamespacesOp, most: int) -> Read:
    """Return the read of the namespaces that have items and match the conditions, in order.

    Args:
        most: the most namespaces that it looks at.
    """
    conditions = op.match_conditions or ()
    prefix = max((_checked(condition) for condition in conditions), key=len, default="")
    fixed = [MatchCondition(each.match_type, tuple(each.path)) for each in conditions]
    limit, offset = check_whole_number(op.limit, "limit"), check_whole_number(op.offset, "offset")
    depth = None if op.max_depth is None else check_whole_number(op.max_depth, "max_depth")
    statements = [Statement(item_sql.NAMESPACES, (*range_of(prefix), most))]

    def answers(results: list[list[Row]]) -> dict[int, Any]:
        [rows] = results
        found = dict[Namespace, None]()
        for text, has_items in rows[:most]:
            labels = labels_of(cast("str", text))
            if has_items and all(_fits(condition, labels) for condition in fixed):
                found[labels[:depth]] = None
        if len(rows) > most and len(found) < offset + limit:
            raise WideSearchError(list(labels_of(prefix)), most)
        return {place: list(found)[offset : offset + limit]}

    return Read(statements, answers)


def _checked(condition: MatchCondition) -> str:
    """Return the stored beginning that all namespaces of a condition share; "" if the condition has no beginning."""
    text = namespace_text(condition.path, wildcards=True)
    if condition.match_type not in {"prefix", "suffix"}:
        raise InvalidArgumentError(f"a namespace is matched by prefix or suffix, not {condition.match_type!r}")
    return text if condition.match_type == "prefix" else ""


def _fits(condition: MatchCondition, namespace: Namespace) -> bool:
    path: Sequence[str] = tuple(condition.path)
    if len(namespace) < len(path):
        return False
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[len(namespace) - len(path) :]
    return all(wanted in ("*", label) for wanted, label in zip(path, part, strict=True))
