"""Recorded histories of a world in which everything goes wrong: nothing is violated; and where a mutant is planted, it is found."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents_store_cloudflare.database import retry
from agents_store_cloudflare.locks import LockObject
from agents_store_cloudflare.locks.lease import Grant, LeaseRequest, LostTokens, StoredLease
from agents_store_cloudflare.locks.lease_table import LeaseTable
from agents_store_cloudflare.objects import ObjectHost
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing.history import check_history, read_history
from tests.lengths import length
from tests.locks.simulation import World

# What holders must have seen. Four lost replies in a row are rare: where one world has none of them, another one follows.
BAD_OUTCOMES = (
    ("write", "refused"),
    ("write", "unknown"),
    ("refresh", "refused"),
    ("refresh", "unknown"),
    ("release", "refused"),
)
MOST_WORLDS = 8


@pytest.fixture(autouse=True)
def no_real_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the state store's pauses between retries take no real time."""

    def none(_attempt: int) -> float:
        return 0.0

    monkeypatch.setattr(retry, "backoff_s", none)


async def test_no_history_shows_a_violation(tmp_path: Path) -> None:
    """LK-2, LK-4, LK-28, ST-11, SM-13: With clock jumps, lost and doubled calls, pauses and restarts, the fence holds."""
    missing = set(BAD_OUTCOMES)
    for number in range(MOST_WORLDS):
        seed = random.randrange(2**32)
        folder = tmp_path / f"{number}"
        folder.mkdir()
        world = World(folder, seed)
        await world.run(length(3_000, 100_000))
        operations = read_history(world.history)
        assert check_history(operations) == [], seed
        assert len({each.token for each in operations if each.op == "grant"}) > len(operations) / 40, seed
        missing -= {(each.op, each.outcome) for each in operations}
        if not missing:
            break
    assert not missing, "the worlds were not as bad as they should be"


class NoFence(D1StateStore):
    """A mutant: it does not check the token."""

    def _token(self, fencing_token: Any) -> int | None:
        return None


class CounterInMemory(LeaseTable):
    """A mutant: it counts its tokens in memory, and a restart begins again."""

    _last = 0

    def _grant(self, request: LeaseRequest, lost: LostTokens, *, token: int, now_ms: int) -> Grant:
        self._last += 1
        return super()._grant(request, lost, token=self._last, now_ms=now_ms)


class NoFloor(LeaseTable):
    """A mutant: it forgets the token together with the key."""

    def delete(self, key: str, *, now_ms: int) -> bool:
        if self.frees_at(key, now_ms=now_ms) is not None:
            return False
        self._sql.delete_text(f"lease_v1/{key}")
        return True


class Revives(LeaseTable):
    """A mutant: it refreshes by the token alone, also after the expiry."""

    def refresh(self, key: str, *, fencing_token: int, ttl_ms: int, now_ms: int) -> int | None:
        stored = self._read(key)
        if stored is None or stored.fencing_token != fencing_token or stored.is_released:
            return None
        return super().refresh(key, fencing_token=fencing_token, ttl_ms=ttl_ms, now_ms=now_ms) or self._revive(
            key, stored, now_ms + ttl_ms
        )

    def _revive(self, key: str, stored: StoredLease, expires_at: int) -> int:
        self._sql.put_text(f"lease_v1/{key}", replace(stored, expires_at=expires_at).to_text())
        return expires_at


def _with_table(table: type[LeaseTable]) -> Callable[[ObjectHost], LockObject]:
    def logic(host: ObjectHost) -> LockObject:
        lock = LockObject(host)
        lock._leases = table(host.sql)  # pyright: ignore[reportPrivateUsage]
        return lock

    return logic


@pytest.mark.parametrize(
    ("mutant", "rule"),
    [
        ({"state_store": NoFence}, "write out of token order"),
        ({"drops_stream_fence": True}, "write out of token order"),
        ({"lock_logic": _with_table(CounterInMemory)}, "token reused"),
        ({"lock_logic": _with_table(CounterInMemory)}, "token fell"),
        ({"lock_logic": _with_table(NoFloor)}, "token fell"),
        ({"lock_logic": _with_table(Revives)}, "lease revived"),
    ],
    ids=["skips the fence check", "skips the stream's", "counts in memory", "counts anew", "forgets", "revives"],
)
async def test_a_mutant_is_found(tmp_path: Path, mutant: dict[str, Any], rule: str) -> None:
    """LK-27: The history shows a lock that skips the fence, resets its counter or revives a lease, and the run still ends."""
    world = World(tmp_path, random.randrange(2**32), **mutant)
    await world.run(4_000)
    assert rule in {violation.rule for violation in check_history(read_history(world.history))}
