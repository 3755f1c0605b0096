"""A stream's messages as its native readers take them.

Native readers take only objects with a text `type`. Every other value reaches them as `{"type":"message","data":…}`.
"""

from __future__ import annotations

import json
from typing import cast

from agents_store_cloudflare.streams.protocol_state import ProtocolState

__all__ = ["as_native", "native_lines"]


def as_native(lines: str) -> str:
    """The same messages for native readers: what is no object with a text `type` is wrapped."""
    return "\n".join(
        text if _is_chunk(json.loads(text)) else '{"type":"message","data":' + text + "}" for text in lines.split("\n")
    )


def native_lines(facts: ProtocolState | None, lines: str) -> str:
    """Messages of a stream as its native readers take them; those of the native side are that already."""
    return as_native(lines) if lines and facts is not None and (facts.is_json or facts.is_text) else lines


def _is_chunk(value: object) -> bool:
    return isinstance(value, dict) and isinstance(cast("dict[str, object]", value).get("type"), str)
