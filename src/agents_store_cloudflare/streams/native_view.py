"""Messages of the Durable Streams protocol, as native readers get them.

Native readers take objects with a text `type` only. Any other value reaches them as `{"type":"message","data":…}`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import cast

from agents_store_cloudflare.streams.blocks import texts_of
from agents_store_cloudflare.streams.protocol_state import ProtocolState

__all__ = ["as_native", "native_lines", "native_texts"]


def as_native(lines: str) -> str:
    """Return the messages (JSON texts joined by newlines) for native readers. A value that is no chunk is put into one."""
    return "\n".join(_wrapped(text) for text in texts_of(lines))


def native_lines(facts: ProtocolState | None, lines: str) -> str:
    """Return a stream's messages for native readers. Chunks that native writers have stored pass as they are."""
    return as_native(lines) if lines and _needs_view(facts) else lines


def native_texts(facts: ProtocolState | None, lines: str) -> Iterator[str]:
    """Yield the messages of `native_lines` one by one."""
    texts = texts_of(lines)
    return map(_wrapped, texts) if _needs_view(facts) else texts


def _needs_view(facts: ProtocolState | None) -> bool:
    return facts is not None and (facts.is_json or facts.is_text)


def _wrapped(text: str) -> str:
    return text if _is_chunk(json.loads(text)) else f'{{"type":"message","data":{text}}}'


def _is_chunk(value: object) -> bool:
    return isinstance(value, dict) and isinstance(cast("dict[str, object]", value).get("type"), str)
