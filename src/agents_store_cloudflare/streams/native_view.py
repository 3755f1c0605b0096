"""Messages of the Durable Streams protocol, as native readers get them.

Native readers take objects with a text `type` only. Any other value reaches them as `{"type":"message","data":…}`.
"""

from __future__ import annotations

import json
from typing import cast

from agents_store_cloudflare.streams.protocol_state import ProtocolState

__all__ = ["as_native", "native_lines"]


def as_native(lines: str) -> str:
    """The messages (JSON texts joined by newlines) for native readers: any value but a chunk is wrapped."""
    return "\n".join(
        text if _is_chunk(json.loads(text)) else '{"type":"message","data":' + text + "}" for text in lines.split("\n")
    )


def native_lines(facts: ProtocolState | None, lines: str) -> str:
    """A stream's messages for native readers. Chunks that native writers have stored pass as they are."""
    return as_native(lines) if lines and facts is not None and (facts.is_json or facts.is_text) else lines


def _is_chunk(value: object) -> bool:
    return isinstance(value, dict) and isinstance(cast("dict[str, object]", value).get("type"), str)
