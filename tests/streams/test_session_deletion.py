"""A store deletes a session with all that is its: streams, usage, state."""

import pytest

from agents_store_cloudflare import AgentState, CloudflareStore, create_cloudflare_store
from agents_store_cloudflare.contract.errors import StaleFencingTokenError, StreamConnectionError
from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.streams.options import StreamOptions
from agents_store_cloudflare.testing import FakeClock, LocalObjects, SqliteDatabase
from agents_store_cloudflare.testing.faults import FaultyNamespace


class Store:
    """A store whose streams can fail."""

    def __init__(self) -> None:
        clock = FakeClock()
        self.namespace = FaultyNamespace(LocalObjects(StreamObject, clock=clock))
        self.store: CloudflareStore = create_cloudflare_store(
            db=SqliteDatabase(), streams=self.namespace, stream_options=StreamOptions(sleep=self._no_pause)
        )

    async def _no_pause(self, _seconds: float) -> None:
        """Nothing waits here."""

    async def fill(self, *sessions: tuple[str, str | None]) -> None:
        for session_id, parent_session_id in sessions:
            state = AgentState(session_id=session_id, agent_type="a", parent_session_id=parent_session_id)
            await self.store.state_store.save(state)
            await self.store.usage_store.record_entries(
                [
                    {
                        "kind": "custom",
                        "session_id": session_id,
                        "source": {"type": "agent", "name": "a"},
                        "name": "n",
                        "value": 1,
                    }
                ]
            )
            async with self.store.stream_manager.create_writer(session_id, "a", "t", fencing_token=5) as writer:
                await writer.write({"type": "text"})

    async def left(self, *session_ids: str) -> list[str]:
        """Those of which anything is there."""
        return [
            session_id
            for session_id in session_ids
            if await self.store.state_store.exists(session_id)
            or await self.store.stream_manager.get_info(session_id) is not None
            or await self.store.usage_store.exists(session_id)
        ]


@pytest.fixture
async def store() -> Store:
    store = Store()
    await store.store.migrate()
    await store.fill(("root", None), ("child", "root"), ("grandchild", "child"), ("other", None))
    return store


ALL = ("root", "child", "grandchild", "other")


async def test_a_session_goes_with_its_descendants_and_streams(store: Store) -> None:
    """SM-37: nothing of the tree is left; a session whose stream was never made is deleted too; others stay."""
    await store.store.stream_manager.delete_stream("grandchild")
    assert await store.store.delete_session("root") is True
    assert await store.left(*ALL) == ["other"]
    assert await store.store.delete_session("root") is False


async def test_a_deletion_that_failed_is_completed(store: Store) -> None:
    """SM-37: a stream out of reach raises; called again, the rest goes."""
    store.namespace.fail("before", "before", "before", "before")
    with pytest.raises(StreamConnectionError):
        await store.store.delete_session("root")
    assert await store.left(*ALL) == [*ALL]
    assert await store.store.delete_session("root") is True
    assert await store.left(*ALL) == ["other"]


async def test_a_stale_holder_deletes_nothing(store: Store) -> None:
    """SM-13, SM-37: a token below the one that a stream has seen is refused, and the session is as it was."""
    with pytest.raises(StaleFencingTokenError):
        await store.store.delete_session("root", fencing_token=4)
    assert await store.left(*ALL) == [*ALL]
