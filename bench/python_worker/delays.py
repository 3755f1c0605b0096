"""Network delays from a seed."""

import asyncio
from dataclasses import dataclass

__all__ = ["Delays"]


@dataclass(kw_only=True)
class Delays:
    """Delays from a seed: `ms` times 0.8 to 1.2, the same sequence as in delayed.js. Nothing waits before `begun` is set."""

    ms: float
    seed: int
    begun: bool = False

    async def hop(self) -> None:
        """Be on the way."""
        if self.begun and self.ms:
            self.seed = (self.seed * 1_664_525 + 1_013_904_223) % 2**32
            await asyncio.sleep(self.ms * (0.8 + 0.4 * self.seed / 2**32) / 1_000)
