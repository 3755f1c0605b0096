"""The identity of a request: a digest of everything that a call stores.

A commit id belongs to one request. The digest leaves out the conditions of the call: the fencing token, the expected version, the
expectations of a run. They held when the call took place, and a caller who repeats it may hold a new lock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import TypeAlias

__all__ = ["Part", "digest"]

Part: TypeAlias = "str | int | float | Sequence[Part] | None"


def digest(parts: Sequence[Part]) -> str:
    """Return 16 hexadecimal digits. They are equal for equal parts, and in practice for no other parts."""
    whole = blake2b(digest_size=8)
    _add(parts, whole.update)
    return whole.hexdigest()


def _add(parts: Sequence[Part], add: Callable[[bytes], None]) -> None:
    """Add bytes from which the parts could be read back, so that different parts give different bytes."""
    add(b"(")
    for part in parts:
        if isinstance(part, str):
            text = part.encode(errors="surrogatepass")
            add(b"%d:" % len(text))
            add(text)
        elif part is None or isinstance(part, (int, float)):
            add(f"{part!r};".encode())
        else:
            _add(part, add)
    add(b")")
