"""Stands in for a model: the same item always gets the same offer."""

import hashlib
from typing import Any

__all__ = ["propose", "settle"]


def propose(item: str) -> tuple[list[str], dict[str, Any]]:
    """Return the words of an offer, and the call of a tool that somebody must allow."""
    price = 20 + hashlib.sha256(item.encode()).digest()[0]
    words = f"I have found {item} for {price} euros. Shall I order it?".split(" ")
    return words, {"tool": "order", "item": item, "euros": price}


def settle(call: dict[str, Any], *, approves: bool) -> list[str]:
    """Return the words after the answer. A real agent would call the tool here."""
    if approves:
        return f"Ordered: {call['item']} for {call['euros']} euros.".split(" ")
    return f"I have not ordered {call['item']}. Nothing was spent.".split(" ")
