"""Promotion rules where the stack is small: WebAssembly ends the isolate where CPython raises."""

from typing import Any

import pytest

from agents_store_cloudflare import StagedChange, StagingError, StateSizeExceededError
from agents_store_cloudflare.state.changes import apply_changes


def promote(state: Any, *operations: Any) -> Any:
    change = StagedChange(tool_call_id="call", patches=list(operations))
    return apply_changes("s", state, [change], max_bytes=1_800_000).custom_state


def test_the_deepest_document() -> None:
    """Values at the limit of nesting are added, copied, moved, compared and removed; one level more is refused."""
    deep: Any = []
    for _ in range(198):
        deep = [deep]
    operations: Any = [
        {"op": "add", "path": "/a", "value": deep},
        {"op": "test", "path": "/a", "value": deep},
        {"op": "copy", "from": "/a", "path": "/b"},
        {"op": "move", "from": "/b", "path": "/c"},
        {"op": "remove", "path": "/a"},
    ]
    assert promote({}, *operations) == {"c": deep}
    with pytest.raises(StagingError, match="nest"):
        promote({"d": []}, *operations, {"op": "move", "from": "/c", "path": "/d/-"})


def test_bombs() -> None:
    """Doubling, deepening and repeated copies end as errors, with the isolate alive."""
    doubling = [{"op": "copy", "from": "", "path": f"/{number}"} for number in range(1_000)]
    with pytest.raises(StateSizeExceededError):
        promote({"a": "x" * 1_000}, *doubling)
    with pytest.raises(StagingError, match="nest"):
        promote({}, *({"op": "copy", "from": "", "path": "/a" * 2**power} for power in range(9)))
    with pytest.raises(StagingError, match="copy and move"):
        promote({"a": ["x" * 90] * 8_000}, *[{"op": "copy", "from": "/a", "path": "/b"}] * 1_000)
