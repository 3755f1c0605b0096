"""Turns values into lines of text with any serializer."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol

from agents_store_cloudflare.adapters.langgraph.errors import ForeignValueError
from agents_store_cloudflare.adapters.langgraph.known import fingerprint
from agents_store_cloudflare.adapters.langgraph.typed_json import TypedJsonSerializer

__all__ = ["FixedCodec", "TextCodec"]


class TextCodec:
    """Writes each value as one line of JSON text, without a raw tab.

    Args:
        serde: `TypedJsonSerializer` writes the text itself; the kind and the bytes of any other become `{"$":["serde","kind","base64"]}`.
    """

    def __init__(self, serde: SerializerProtocol) -> None:
        self.serde = serde
        self._typed = serde if isinstance(serde, TypedJsonSerializer) else None

    @property
    def joins_lists(self) -> bool:
        """True when the text of a list is `[`, the texts of its elements with commas between them, and `]`."""
        return self._typed is not None

    def dump(self, value: Any) -> str:
        """Return the value as text."""
        if self._typed is not None:
            return self._typed.dump(value)
        kind, content = self.serde.dumps_typed(value)
        return json.dumps({"$": ["serde", kind, base64.b64encode(content).decode()]}, separators=(",", ":"))

    def load(self, text: str) -> Any:
        """Return the value of a text.

        Raises:
            ForeignValueError: the value cannot be rebuilt.
        """
        if self._typed is not None:
            return self._typed.load(text)
        return self._foreign(json.loads(text))

    def load_list(self, texts: Sequence[str]) -> list[Any]:
        """Return the values of several texts, parsed together."""
        whole = f"[{','.join(texts)}]"
        if self._typed is not None:
            values: list[Any] = self._typed.load(whole)
            return values
        return [self._foreign(each) for each in json.loads(whole)]

    def _foreign(self, stored: Any) -> Any:
        match stored:
            case {"$": ["serde", str() as kind, str() as content]} if len(stored) == 1:
                return self.serde.loads_typed((kind, base64.b64decode(content)))
            case _:
                raise ForeignValueError(
                    "a stored value was written by another serializer than this saver's; give the saver that serializer"
                )


class FixedCodec:
    """Writes each object once: its text and its fingerprint stay what they were, whatever the caller changes of it since.

    Attributes:
        texts, marks: the objects by their ids, with what is known of them.
    """

    def __init__(self, codec: TextCodec) -> None:
        self._codec = codec
        self.joins_lists: bool = codec.joins_lists
        self.texts: dict[int, tuple[Any, str]] = {}
        self.marks: dict[int, tuple[Any, int | None]] = {}

    def dump(self, value: Any) -> str:
        """Return the value as text."""
        known = self.texts.get(id(value))
        if known is None:
            known = self.texts[id(value)] = (value, self._codec.dump(value))
        return known[1]

    def mark(self, value: Any) -> int | None:
        """Return the value's fingerprint."""
        known = self.marks.get(id(value))
        if known is None:
            known = self.marks[id(value)] = (value, fingerprint(value))
        return known[1]
