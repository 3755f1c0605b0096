"""Homes: the id of a session alone says which Durable Object it lives in."""

from __future__ import annotations

from agents_store_cloudflare.contract.arguments import MAX_ID_BYTES, check_id
from agents_store_cloudflare.contract.errors import InvalidArgumentError

__all__ = ["child_id", "home_of"]

MARK = "//"


def home_of(session_id: str) -> str:
    """Return the home of a session: the text of its id before the first `//`, or the whole id.

    When the first `//` belongs to `://`, as in a URL, the whole id is the home. The function looks up nothing and calls nothing.

    Example:
        >>> home_of("ada//research//1")
        'ada'

    Raises:
        TypeError: the id is no text.
        InvalidArgumentError: the text is no valid id, or its home is empty.
    """
    home, mark, _ = check_id(session_id, "session_id").partition(MARK)
    if not mark or home.endswith(":"):
        return session_id
    if not home:
        raise InvalidArgumentError(f"session id {session_id!r} begins with '//', so its home would have no name")
    return home


def child_id(parent_session_id: str, name: str) -> str:
    """Return the id of a child that lives in its parent's home: `parent//name`.

    Example:
        >>> child_id("ada", "research")
        'ada//research'

    Raises:
        TypeError: an argument is no text.
        InvalidArgumentError: an argument is no valid id, the child's id has over 512 bytes, or the child's id belongs to another
            home.
    """
    home = home_of(parent_session_id)
    made = f"{parent_session_id}{MARK}{check_id(name, 'name')}"
    if (size_bytes := len(made.encode())) > MAX_ID_BYTES:
        raise InvalidArgumentError(
            f"the child's id would have {size_bytes:,} bytes, allowed are {MAX_ID_BYTES}; give it a shorter name"
        )
    if home_of(made) != home:
        raise InvalidArgumentError(
            f"a child of session {parent_session_id!r} cannot live in its home: an id with '://' is a home of its own, "
            "and one that ends with '/' or ':' would run into the mark '//'; give the parent another id"
        )
    return made
