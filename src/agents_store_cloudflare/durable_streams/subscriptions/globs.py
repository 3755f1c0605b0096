"""Patterns over paths: `*` matches any characters within one segment, `**` matches any number of whole segments."""

from __future__ import annotations

__all__ = ["matches"]


def matches(pattern: str, path: str) -> bool:
    """Return whether the path matches the pattern. The time is at most proportional to the product of both lengths."""
    segments = path.split("/")
    # The places in the path at which the part of the pattern that was read can end.
    ends = {0}
    for part in pattern.split("/"):
        if part == "**":
            ends = set(range(min(ends), len(segments) + 1)) if ends else ends
        else:
            ends = {end + 1 for end in ends if end < len(segments) and _fits(part, segments[end])}
    return len(segments) in ends


def _fits(part: str, segment: str) -> bool:
    first, *rest = part.split("*")
    if not rest:
        return part == segment
    if not segment.startswith(first):
        return False
    place = len(first)
    for piece in rest[:-1]:
        found = segment.find(piece, place)
        if found < 0:
            return False
        place = found + len(piece)
    return len(segment) - place >= len(rest[-1]) and segment.endswith(rest[-1])
