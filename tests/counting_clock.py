"""A `FakeClock` that tests ask what still waits on it."""

from collections.abc import Callable

from agents_store_cloudflare.testing import FakeClock

__all__ = ["CountingClock"]


class CountingClock(FakeClock):
    """Knows what is neither fired nor cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.pending: set[object] = set()

    def call_at(self, at_ms: int, callback: Callable[[], None]) -> Callable[[], None]:
        ticket = object()
        self.pending.add(ticket)

        def fire() -> None:
            self.pending.discard(ticket)
            callback()

        cancel = super().call_at(at_ms, fire)

        def withdraw() -> None:
            self.pending.discard(ticket)
            cancel()

        return withdraw
