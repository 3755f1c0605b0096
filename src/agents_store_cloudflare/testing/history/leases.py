"""The promises of a lock alone: tokens are new and rise, and a lease that is over stays over."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise

from agents_store_cloudflare.testing.history.operations import Operation
from agents_store_cloudflare.testing.history.violation import Violation

__all__ = ["check_leases"]


def check_leases(key: str, operations: Sequence[Operation]) -> Iterator[Violation]:
    """Yield the violations of one key, in O(n log n) for n operations (and O(r²) for the r refreshes of one token).

    Args:
        operations: all grants, refreshes and releases of the key.
    """
    grants = [each for each in operations if each.op == "grant" and each.outcome == "ok"]
    yield from _reused(key, grants)
    yield from _fallen(key, grants)
    yield from _revived(key, grants, operations)


def _reused(key: str, grants: Sequence[Operation]) -> Iterator[Violation]:
    for first, second in pairwise(sorted(grants, key=lambda grant: grant.token)):
        if first.token == second.token:
            yield Violation(
                rule="token reused",
                name=key,
                message=f"token {first.token} was granted twice",
                lines=(first.line, second.line),
            )


def _fallen(key: str, grants: Sequence[Operation]) -> Iterator[Violation]:
    """Yield the grants whose token is not above the highest token that was known before their request."""
    ended = sorted(grants, key=lambda grant: grant.end)
    highest: Operation | None = None
    position = 0
    for grant in sorted(grants, key=lambda grant: grant.start):
        while position < len(ended) and ended[position].end < grant.start:
            if highest is None or ended[position].token > highest.token:
                highest = ended[position]
            position += 1
        if highest is not None and highest.token > grant.token:
            yield Violation(
                rule="token fell",
                name=key,
                message=f"token {grant.token} was granted after {highest.token}",
                lines=(highest.line, grant.line),
            )


def _revived(key: str, grants: Sequence[Operation], operations: Sequence[Operation]) -> Iterator[Violation]:
    """Yield the refreshes that succeeded after the end of the lease: taken over, given back, reported as over, or expired."""
    taken_over = _first_end_above(grants)
    of_token: dict[int, list[Operation]] = {}
    for each in operations:
        of_token.setdefault(each.token, []).append(each)
    for token, own in of_token.items():
        told_over = min((each.end for each in own if _tells_the_end(each)), default=math.inf)
        over = min(told_over, taken_over(token))
        for refresh in own:
            if refresh.op != "refresh" or refresh.outcome != "ok":
                continue
            if refresh.start > over:
                yield Violation(
                    rule="lease revived",
                    name=key,
                    message=f"token {token} was refreshed after its lease was over for somebody",
                    lines=(refresh.line,),
                )
            elif refresh.clock is not None and refresh.clock >= _latest_end(refresh, own):
                yield Violation(
                    rule="lease revived",
                    name=key,
                    message=f"token {token} was refreshed at {refresh.clock}, when its ttl had ended",
                    lines=(refresh.line,),
                )


def _tells_the_end(each: Operation) -> bool:
    # Any answer to a release tells that the lease is over, from now on or from earlier.
    return (each.op == "release" and each.outcome != "unknown") or (each.op == "refresh" and each.outcome == "refused")


def _latest_end(refresh: Operation, own: Sequence[Operation]) -> float:
    """Return the latest end of the lease that other calls can have caused before this call ended."""
    ends = [
        math.inf if each.valid_until is None else each.valid_until
        for each in own
        if each is not refresh
        and each.op in ("grant", "refresh")
        and each.outcome != "refused"
        and each.start <= refresh.end
    ]
    return max(ends, default=math.inf)


def _first_end_above(grants: Sequence[Operation]) -> Callable[[int], float]:
    """Return the earliest end of a grant with a higher token. From then on the lower token's lease is over."""
    ordered = sorted(grants, key=lambda grant: grant.token)
    tokens = [grant.token for grant in ordered]
    ends = [*accumulate((grant.end for grant in reversed(ordered)), min)][::-1]

    def of(token: int) -> float:
        index = bisect_right(tokens, token)
        return ends[index] if index < len(ends) else math.inf

    return of
