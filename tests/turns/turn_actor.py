"""A turn that stays open between the steps of a test: a task of its own sits in the block and does what it is told."""

import asyncio
from collections.abc import Awaitable, Callable

from agents_store_cloudflare.testing import FakeClock
from agents_store_cloudflare.turns import Turn, TurnBlock
from tests.turns.faulty_worker import FaultyWorker

__all__ = ["TurnActor", "until"]

MOST_ROUNDS = 400
PATIENT_ROUNDS = 4

Act = Callable[[Turn], Awaitable[None]]


async def until(is_done: Callable[[], bool], clock: FakeClock) -> None:
    """Let all tasks run. If they only wait, let time pass in steps of half a second.

    Raises:
        AssertionError: a call does not return.
    """
    for number in range(MOST_ROUNDS):
        for _ in range(40):
            if is_done():
                return
            await asyncio.sleep(0)
        if number >= PATIENT_ROUNDS:
            await clock.advance(0.5)
    raise AssertionError("a call of a turn does not return")


class TurnActor:
    """One turn and its Worker.

    Attributes:
        turn: the entered turn, or None where it was never entered.
        error: the exception with which the block ended.
    """

    def __init__(self, worker: FaultyWorker, block: TurnBlock, clock: FakeClock) -> None:
        self.worker = worker
        self.turn: Turn | None = None
        self.error: BaseException | None = None
        self._block = block
        self._clock = clock
        self._acts: asyncio.Queue[Act | None] = asyncio.Queue()
        self._is_idle = False
        self._task: asyncio.Task[None]

    @property
    def is_over(self) -> bool:
        """Return whether the block was left."""
        return self._task.done()

    async def enter(self) -> None:
        """Enter the block. Afterwards the turn is open, or `error` says why it is not."""
        self._task = asyncio.get_running_loop().create_task(self._live())
        await self._settled()

    async def do(self, act: Act | None) -> None:
        """Do one thing inside the block. None leaves the block, and an error of `act` ends it."""
        self._is_idle = False
        self._acts.put_nowait(act)
        await self._settled()

    async def cancel(self) -> None:
        """Cancel the task."""
        self._task.cancel()
        await self._settled(is_end=True)

    async def die(self) -> None:
        """Let the Worker die: no further call of the block arrives."""
        self.worker.die()
        await self.cancel()

    async def noticed(self) -> None:
        """Wait until the block has noticed that its lock is lost."""
        await self._settled(is_end=True)

    async def _live(self) -> None:
        try:
            async with self._block as turn:
                self.turn = turn
                while True:
                    self._is_idle = True
                    act = await self._acts.get()
                    if act is None:
                        break
                    await act(turn)
        except BaseException as error:  # noqa: BLE001 - kept for the test, which looks at it
            self.error = error

    async def _settled(self, *, is_end: bool = False) -> None:
        await until(lambda: self._task.done() or (self._is_idle and not is_end), self._clock)
