"""The clock that tests move."""

import asyncio

from agents_store_cloudflare.testing import FakeClock


async def test_a_cancelled_sleeper_that_has_not_run_since() -> None:
    """The clock leaves a cancelled sleep alone that has not ended yet."""
    clock = FakeClock()
    sleeper = asyncio.ensure_future(clock.sleep(0))
    await asyncio.sleep(0)

    def cancel() -> None:
        sleeper.cancel()

    clock.call_at(clock.now_ms() - 1, cancel)
    # The cancellation and the wake-up are due at once; between them nothing of the sleeper runs.
    due = [callback for _, _, callback in sorted(clock._due, key=lambda item: item[:2])]  # pyright: ignore[reportPrivateUsage]
    for callback in due:
        callback()
    await asyncio.gather(sleeper, return_exceptions=True)
    assert sleeper.cancelled()
