"""The identity of a request: a digest of everything that a call is to store.

A commit id belongs to one request. The call's conditions are left out (fencing token, expected version, what a run expects): they
held when the call took place, and whoever repeats it may hold the lock anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import TypeAlias

__all__ = ["Part", "digest"]

Part: TypeAlias = "str | int | float | Sequence[Part] | None"


def digest(parts: Sequence[Part]) -> str:
    """16 hexadecimal digits: equal for equal parts, and in practice for no others."""
    whole = blake2b(digest_size=8)
    for piece in _pieces(parts):
        whole.update(piece)
    return whole.hexdigest()


def _pieces(part: Part) -> Iterator[bytes]:
    """Bytes from which the part could be read back: no two parts have the same."""
    if isinstance(part, str):
        text = part.encode(errors="surrogatepass")
        yield b"%d:" % len(text)
        yield text
    elif part is None or isinstance(part, int | float):
        yield f"{part!r};".encode()
    else:
        yield b"("
        for each in part:
            yield from _pieces(each)
        yield b")"
