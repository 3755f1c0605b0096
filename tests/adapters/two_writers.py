"""What every adapter owes two writers of one thread: the one whose lock was lost is refused by name, and nothing of it is stored.

Without a lock no text is lost silently, and neither a cancellation nor a large text leaves half of a write.
"""

import asyncio
from typing import Any

import pytest

from agents_store_cloudflare.contract.errors import MissingFencingTokenError, StaleFencingTokenError
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing import FaultyDatabase, SqliteDatabase

__all__ = ["TwoWriters"]

OLD, NEW = 3, 4
THREAD = "thread"
LARGE = 2_000_000
"""More bytes than a row of D1 can hold beside its other columns."""


class TwoWriters:
    """The tests for two writers of one thread. An adapter's subclass makes a writer, loads, writes and reads.

    Attributes:
        conflict: the error of a late writer without a lock; None if the adapter keeps both texts.
        too_large: the error for a text of 2 MB; None if it comes back.
    """

    conflict: type[Exception] | None = None
    too_large: type[Exception] | None = None

    def writer(self, database: Any, **token: Any) -> Any:
        """Return a writer of the adapter. Without `fencing_token` it uses no lock."""
        raise NotImplementedError

    def unlocked(self, database: Any) -> Any:
        """Return a writer without a lock that sees conflicts."""
        return self.writer(database)

    async def load(self, writer: Any) -> Any:
        """Return what a writer loads before it writes."""
        raise NotImplementedError

    async def write(self, writer: Any, loaded: Any, text: str) -> None:
        """Write a text after the loaded ones."""
        raise NotImplementedError

    async def texts(self, database: Any) -> list[str]:
        """Return all texts of the thread for a new reader."""
        raise NotImplementedError

    async def test_the_stalled_holder_is_refused(self, database: SqliteDatabase) -> None:
        """LG-4: A loads, B takes over and writes, then A writes: A is refused with both tokens, and only B's text is stored."""
        a, b = self.writer(database, fencing_token=OLD), self.writer(database, fencing_token=NEW)
        loaded = await self.load(a)
        await self.write(b, await self.load(b), "b")
        with pytest.raises(StaleFencingTokenError) as raised:
            await self.write(a, loaded, "a")
        assert (raised.value.expected, raised.value.actual) == (NEW, OLD)
        assert await self.texts(database) == ["b"]
        await self.write(b, await self.load(b), "b again")
        assert await self.texts(database) == ["b", "b again"]

    async def test_it_may_still_read(self, database: SqliteDatabase) -> None:
        """LG-4: A holder whose lock was lost may still read."""
        await self.write(b := self.writer(database, fencing_token=NEW), await self.load(b), "b")
        assert await self.load(self.writer(database, fencing_token=OLD)) is not None

    async def test_the_fence_of_the_session(self, database: SqliteDatabase) -> None:
        """LG-4: A token that the state store has seen counts here, and a token that was seen here counts there."""
        store = D1StateStore(database)
        await store.create_session(THREAD, agent_type="x", fencing_token=NEW)
        old = self.writer(database, fencing_token=OLD)
        with pytest.raises(StaleFencingTokenError):
            await self.write(old, await self.load(old), "old")
        await self.write(newest := self.writer(database, fencing_token=NEW + 1), await self.load(newest), "newest")
        with pytest.raises(StaleFencingTokenError):
            await store.update_status(THREAD, "late", fencing_token=NEW)
        assert await self.texts(database) == ["newest"]

    async def test_one_holder_writes_on(self, database: SqliteDatabase) -> None:
        """LG-4: The holder's token is accepted as long as nobody has a higher one."""
        writer = self.writer(database, fencing_token=OLD)
        for text in "abc":
            await self.write(writer, await self.load(writer), text)
        assert await self.texts(database) == ["a", "b", "c"]

    async def test_a_lock_that_was_not_acquired(self, database: SqliteDatabase) -> None:
        """LG-4: None is no token."""
        with pytest.raises(MissingFencingTokenError):
            self.writer(database, fencing_token=None)

    @pytest.mark.parametrize("token", [{}, {"fencing_token": NEW}], ids=["no lock", "a lock"])
    async def test_a_lost_reply(self, database: SqliteDatabase, token: dict[str, int]) -> None:
        """LG-7: A batch that is sent twice has one effect."""
        faulty = FaultyDatabase(database)
        writer = self.writer(faulty, **token)
        await self.write(writer, await self.load(writer), "first")
        loaded = await self.load(writer)
        faulty.fail("after", "after")
        await self.write(writer, loaded, "second")
        await self.write(writer, await self.load(writer), "third")
        assert await self.texts(database) == ["first", "second", "third"]

    async def test_without_a_lock(self, database: SqliteDatabase) -> None:
        """LG-5, PA-3, OA-2, A2-2: Two writers have loaded the same. The late one gets a conflict by name, or both texts stay."""
        a, b = self.unlocked(database), self.unlocked(database)
        loaded = await self.load(a)
        await self.write(b, await self.load(b), "b")
        if self.conflict is None:
            await self.write(a, loaded, "a")
        else:
            with pytest.raises(self.conflict):
                await self.write(a, loaded, "a")
            assert await self.texts(database) == ["b"]
            await self.write(again := self.unlocked(database), await self.load(again), "a")
        assert await self.texts(database) == ["b", "a"]

    async def test_a_cancelled_write(self, database: SqliteDatabase) -> None:
        """LG-7, PA-5, OA-4, A2-4: A write that is cancelled at any moment is stored whole or not at all, and the next one is stored."""
        kept: list[str] = []
        for turns in range(12):
            writer, text = self.writer(database), f"cancelled {turns}"
            writing = asyncio.ensure_future(self.write(writer, await self.load(writer), text))
            for _ in range(turns):
                await asyncio.sleep(0)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            found = await self.texts(database)
            assert found in (kept, [*kept, text])
            await self.write(after := self.writer(database), await self.load(after), f"after {turns}")
            kept = [*found, f"after {turns}"]
            assert await self.texts(database) == kept

    async def test_a_large_text(self, database: SqliteDatabase) -> None:
        """LG-8, PA-6, OA-8, A2-5: 2 MB come back, or are refused by name. The other texts stay."""
        writer, large = self.writer(database), "x" * LARGE
        await self.write(writer, await self.load(writer), "first")
        if self.too_large is None:
            await self.write(writer, await self.load(writer), large)
        else:
            with pytest.raises(self.too_large):
                await self.write(writer, await self.load(writer), large)
        await self.write(writer, await self.load(writer), "last")
        assert await self.texts(database) == ["first", *([] if self.too_large else [large]), "last"]
