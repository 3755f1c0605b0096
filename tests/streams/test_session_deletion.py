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


async def test_a_token_that_one_stream_refuses(store: Store) -> None:
    """SM-37: when the last of several streams refuses the token, the others are as they were."""
    async with store.store.stream_manager.create_writer("grandchild", "a", "t", fencing_token=9) as writer:
        await writer.write({"type": "text"})
    with pytest.raises(StaleFencingTokenError):
        await store.store.delete_session("root", fencing_token=8)
    assert await store.left(*ALL) == [*ALL]


async def test_what_has_no_state_row(store: Store) -> None:
    """SM-37: streams and usage go where the state row is gone, a stream of another name included."""
    state = await store.store.state_store.load_state("other", required=True)
    state.stream_id = "shared"
    await store.store.state_store.save(state)
    async with store.store.stream_manager.create_writer("shared", "a", "t") as writer:
        await writer.write({"type": "text"})
    assert await store.store.state_store.delete_session("other")
    assert await store.store.delete_session("other") is False
    assert await store.store.stream_manager.get_info("shared") is None
    assert not await store.store.usage_store.exists("other")


async def test_a_stream_that_another_session_uses(store: Store) -> None:
    """SM-37: it stays as long as that session is there."""
    for name in ("one", "two"):
        await store.store.state_store.save(AgentState(session_id=name, agent_type="a", stream_id="room"))
    async with store.store.stream_manager.create_writer("room", "a", "t") as writer:
        await writer.write({"type": "text"})
    assert await store.store.delete_session("one")
    assert await store.store.stream_manager.get_info("room") is not None
    assert await store.store.delete_session("two")
    assert await store.store.stream_manager.get_info("room") is None


async def test_a_deletion_repeated_after_the_session_was_made_again(store: Store) -> None:
    """SM-37, ST-42: repeated with its commit id it touches neither the new session nor its stream."""
    assert await store.store.delete_session("other", commit_id="d")
    await store.fill(("other", None))
    assert await store.store.delete_session("other", commit_id="d")
    assert await store.store.state_store.exists("other")
    assert await store.store.stream_manager.get_info("other") is not None


async def test_cleaning_up_everything(store: Store) -> None:
    """SM-37: expired sessions go with their streams and usage."""
    state = await store.store.state_store.load_state("root", required=True)
    state.expires_at = 1
    await store.store.state_store.save(state)
    assert sorted(await store.store.cleanup_expired_sessions()) == ["child", "grandchild", "root"]
    assert await store.left(*ALL) == ["other"]
