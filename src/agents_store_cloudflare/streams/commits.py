"""Commits: a stream recognises a repeated request by its commit.

A caller gives a commit id to each request that ends, resets, deletes or otherwise changes a stream. When no reply comes, it sends
the same request under the same id. Others may have changed the stream in between. The id shows that the request has had its effect
already.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self, TypeAlias
from zlib import crc32

from agents_store_cloudflare.contract.errors import InvalidArgumentError

__all__ = ["Commit", "Commits", "is_repeated", "with_commit"]

KEPT: Final = 32
"""How many commits a stream remembers. The oldest one goes first."""

Commits: TypeAlias = "Mapping[str, str]"
"""Commit id -> digest of its request, oldest first."""

_NOT_THE_REQUEST: Final = frozenset({"streamId", "commitId", "fencingToken"})


@dataclass(frozen=True, slots=True)
class Commit:
    """The commit id and the digest of one request.

    Attributes:
        id: unique for each request. A repetition has the same id.
        digest: of the operation and its arguments. It shows when another request uses the same id by mistake.
    """

    id: str
    digest: str = ""

    @classmethod
    def of_request(cls, arguments: Mapping[str, Any], payload: str) -> Self | None:
        """Return the commit of a request, or None if it has none. The fencing token is not part of the digest."""
        commit_id: str | None = arguments.get("commitId")
        if commit_id is None:
            return None
        request = [(name, value) for name, value in sorted(arguments.items()) if name not in _NOT_THE_REQUEST]
        digest = crc32(f"{request!r}\n{payload}".encode(errors="replace"))
        return cls(commit_id, f"{digest:x}")


def is_repeated(stream_id: str, commits: Commits, commit: Commit | None) -> bool:
    """Return whether the stream has committed this request before.

    Raises:
        InvalidArgumentError: another request has used this commit id.
    """
    digest = None if commit is None else commits.get(commit.id)
    if commit is None or digest is None:
        return False
    if digest != commit.digest:
        raise InvalidArgumentError(
            f"commit_id {commit.id!r} was used for another call on stream {stream_id!r}; give each call its own"
        )
    return True


def with_commit(commits: Commits, commit: Commit | None) -> Commits:
    """Return the commits and this one. When there are too many, the oldest are forgotten."""
    if commit is None:
        return commits
    kept = [(commit_id, digest) for commit_id, digest in commits.items() if commit_id != commit.id]
    return dict([*kept[1 - KEPT :], (commit.id, commit.digest)])
