"""`D1Saver`: LangGraph's checkpoints in D1."""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_checkpoint_id,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from agents_store_cloudflare.adapters.langgraph import deleting_sql
from agents_store_cloudflare.adapters.langgraph.batches import GraphBatches
from agents_store_cloudflare.adapters.langgraph.history import History, Wanted
from agents_store_cloudflare.adapters.langgraph.known import KnownThreads, Thread
from agents_store_cloudflare.adapters.langgraph.pending import encoded
from agents_store_cloudflare.adapters.langgraph.pruning import pruned
from agents_store_cloudflare.adapters.langgraph.putting import NewCheckpoint, Putting, fixed
from agents_store_cloudflare.adapters.langgraph.reading import config_of, metadata_json
from agents_store_cloudflare.adapters.langgraph.sync_calls import all_of, run_now
from agents_store_cloudflare.adapters.langgraph.text_codec import FixedCodec, TextCodec
from agents_store_cloudflare.adapters.langgraph.typed_json import TypedJsonSerializer
from agents_store_cloudflare.contract.arguments import UNSET, FencingToken, check_flag, check_id
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.migrations import run_migration

__all__ = ["D1Saver"]


class D1Saver(BaseCheckpointSaver[int]):
    """A LangGraph checkpointer on D1, or on sqlite in tests. One call is one batch, which is one transaction.

    A value is stored once, even if many checkpoints have it. Of a growing list only the new elements are stored. A saver remembers
    the checkpoints that it read or put last, so use one saver for a whole run. `run_migration` or `setup()` makes the tables.

    Args:
        database: a D1 binding (`env.AGENT_DB`), a `Database` (`testing.SqliteDatabase`), or
            `store.session_homes` for sessions in homes.
        fencing_token: the lock of the thread, or its token. Every write compares it, in its own transaction, with the highest token
            that the state store or any saver has seen for the thread's id.
        head_check: refuse a write when somebody else has put a checkpoint: the newest checkpoint of the thread must be the one that
            this saver saw last. It is for threads without a lock.
        serde: a LangGraph serializer. The default writes typed JSON and allows the classes of LangChain and LangGraph.
            `TypedJsonSerializer(allow=[MyModel])` also allows your class.

    Example:
        >>> graph = builder.compile(checkpointer=D1Saver(env.AGENT_DB, fencing_token=lock))
        >>> await graph.ainvoke(question, {"configurable": {"thread_id": lock.key}})

    Every write may raise `StaleFencingTokenError` (a newer holder has written), `StaleHeadError` (with `head_check`),
    `ForeignValueError` (a value cannot be stored) and `D1StateError` (the database failed). Then nothing was written.
    """

    def __init__(
        self,
        database: object,
        *,
        fencing_token: FencingToken = UNSET,
        head_check: bool = False,
        serde: SerializerProtocol | None = None,
    ) -> None:
        super().__init__(serde=serde or TypedJsonSerializer())
        check_flag(head_check, "head_check")
        self._database = database
        self._batches = GraphBatches(database, fencing_token)
        self._known = KnownThreads()
        self._putting = Putting(self._batches, self._known, checks_head=head_check)
        self._history = History(self._batches, self._known, checks_head=head_check)
        self._made_codec = TextCodec(self.serde)

    async def setup(self) -> None:
        """Make the tables, as `run_migration` does. You may call it again.

        Raises:
            MigrationError: the database is newer than this code.

        Cost: 1 D1 batch (1 row read).
        """
        await run_migration(self._database)

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...]]) -> D1Saver:
        """Return a copy of this saver with a serializer that allows more classes."""
        if isinstance(self.serde, TypedJsonSerializer):
            clone = copy.copy(self)
            clone.serde = self.serde.with_allowlist(extra_allowlist)
            return clone
        return cast("D1Saver", super().with_allowlist(extra_allowlist))

    @property
    def _codec(self) -> TextCodec:
        # LangGraph sets `serde` on copies of a saver.
        if self._made_codec.serde is not self.serde:
            self._made_codec = TextCodec(self.serde)
        return self._made_codec

    def get_next_version(self, current: int | None, channel: None) -> int:  # noqa: ARG002 - LangGraph's signature
        """Return the next version of a channel. Two branches may use the same version, because a value is found by its checkpoint."""
        # A thread that another saver began has versions like "00000012.0.4".
        return 1 if current is None else int(str(current).partition(".")[0]) + 1

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint that the config names, or the newest; None if the thread has none.

        Cost: 1 D1 batch (9 rows read).
        """
        return await self._history.get(_thread(config), get_checkpoint_id(config) or None, self._codec)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Yield checkpoints, the newest first, with one batch for each 100.

        Args:
            config: the thread, perhaps with a namespace or one checkpoint. None means all threads.
            filter: the metadata that a checkpoint must have.
            before: only checkpoints before this checkpoint.
            limit: the most checkpoints.

        Cost: 1 D1 batch (25 rows read).
        """
        named = (config or {}).get("configurable", {})
        wanted = Wanted(
            thread_id=None if config is None else _thread(config)[0],
            ns=named.get("checkpoint_ns"),
            checkpoint_id=named.get("checkpoint_id") or None,
            before=get_checkpoint_id(before) if before else None,
            limit=limit,
            metadata=filter or {},
        )
        async for found in self._history.pages(wanted, self._codec):
            yield found

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint after the checkpoint of the config. Return the config of the new checkpoint.

        Cost: 1 D1 batch (2-7 rows read, 1-2 written).
        """
        thread, checkpoint_id = _thread(config), checkpoint["id"]
        new = NewCheckpoint(
            thread=thread,
            parent_id=get_checkpoint_id(config) or None,
            checkpoint=fixed(checkpoint),
            metadata=metadata_json(get_serializable_checkpoint_metadata(config, metadata)),
            changed=frozenset(new_versions),
        )
        await self._putting.put(new, FixedCodec(self._codec))
        return cast("RunnableConfig", config_of(thread, checkpoint_id))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store the writes of a task. If the next checkpoint comes within a moment, they are stored with it.

        A stored write stays unchanged. Errors, interrupts and other special writes replace earlier ones.

        Cost: 1 D1 batch (3 rows read, 1 written).
        """
        await self._put_writes(config, writes, task_id, task_path, waits=True)

    async def _put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str, *, waits: bool
    ) -> None:
        checkpoint_id = get_checkpoint_id(config)
        if not checkpoint_id:
            raise InvalidArgumentError("put_writes needs a checkpoint_id in its config")
        # No checkpoint follows the writes of an interrupt or a null task.
        waits = waits and not any(channel in WRITES_IDX_MAP for channel, _ in writes)
        found = encoded(writes, task_id, task_path, self._codec)
        if found:
            await self._putting.put_writes(_thread(config), checkpoint_id, found, waits=waits)

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete all of a thread's checkpoints.

        Cost: 1 D1 batch (6 rows read, 4 written).
        """
        thread = (check_id(thread_id, "thread_id"), "")
        statements = [
            Statement(deleting_sql.DELETE_CHECKPOINTS, (thread_id,)),
            Statement(deleting_sql.DELETE_LINES, (thread_id,)),
        ]
        await self._batches.write("delete_thread", thread, statements)
        self._known.forget(thread_id)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints whose metadata have these run ids, in all threads. It reads every checkpoint of the database.

        Raises:
            StaleFencingTokenError: a thread of these runs has seen a higher token than this saver's.

        Cost: 1 D1 batch (5 rows read).
        """
        if not run_ids:
            return
        key = self._batches.only_home("delete_for_runs")
        runs = json.dumps([check_id(run_id, "run_id") for run_id in run_ids])
        [found] = await self._batches.read("delete_for_runs", key, [Statement(deleting_sql.THREADS_OF_RUNS, (runs,))])
        if not found:
            return
        threads, token = json.dumps([row[0] for row in found]), self._batches.token
        statements = [
            *([] if token is None else [Statement(deleting_sql.FENCE_OF_THREADS, (threads, token))]),
            Statement(deleting_sql.DELETE_RUNS, (runs, threads)),
            Statement(deleting_sql.FORGET_LINES, (threads,)),
        ]
        await self._batches.unfenced("delete_for_runs", key, statements)
        self._known.forget_all()

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all checkpoints of a thread, with their writes, into another thread of the same database.

        Checkpoints that the other thread has already stay as they are.

        Raises:
            InvalidArgumentError: the threads live in different homes, or both have gone on since an earlier copy.

        Cost: 1 D1 batch (10 rows read, 4 written).
        """
        pair = (check_id(source_thread_id, "source_thread_id"), check_id(target_thread_id, "target_thread_id"))
        if not self._batches.share_a_database(*pair):
            raise InvalidArgumentError("copy_thread needs both threads in one home; name the copy `source//copy`")
        copying = (deleting_sql.GUARD_COPY, deleting_sql.COPY_CHECKPOINTS, deleting_sql.COPY_LINES)
        statements = [Statement(each, pair) for each in copying]
        await self._batches.write("copy_thread", (pair[1], ""), statements)
        self._known.forget(pair[1])

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete old checkpoints of threads, one thread after the other.

        Args:
            strategy: "keep_latest" keeps the newest checkpoint of each namespace and the ancestors that its delta channels need.
                "delete" keeps none.

        Cost: 2 D1 batches (16 rows read, 2 written).
        """
        if strategy not in {"keep_latest", "delete"}:
            raise InvalidArgumentError(f"strategy must be 'keep_latest' or 'delete', not {strategy!r}")
        for thread_id in thread_ids:
            if strategy == "delete":
                await self.adelete_thread(thread_id)
            else:
                await pruned(self._batches, self._history, check_id(thread_id, "thread_id"), self._codec)
                self._known.forget(thread_id)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return the writes of delta channels since the nearest ancestor with a value. It sends one batch for each 200 ancestors.

        Cost: 2 D1 batches (69 rows read).
        """
        if not channels:
            return {}
        return await self._history.delta(_thread(config), get_checkpoint_id(config) or None, channels, self._codec)

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Call `aget_tuple` from synchronous code. It does not work in a Worker."""
        return run_now(self.aget_tuple(config), "get_tuple")

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Call `alist` from synchronous code. It does not work in a Worker."""
        yield from run_now(all_of(self.alist(config, filter=filter, before=before, limit=limit)), "list")

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Call `aput` from synchronous code. It does not work in a Worker."""
        return run_now(self.aput(config, checkpoint, metadata, new_versions), "put")

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Call `aput_writes` from synchronous code. It does not work in a Worker."""
        run_now(self._put_writes(config, writes, task_id, task_path, waits=False), "put_writes")

    def delete_thread(self, thread_id: str) -> None:
        """Call `adelete_thread` from synchronous code. It does not work in a Worker."""
        run_now(self.adelete_thread(thread_id), "delete_thread")

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Call `adelete_for_runs` from synchronous code. It does not work in a Worker."""
        run_now(self.adelete_for_runs(run_ids), "delete_for_runs")

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Call `acopy_thread` from synchronous code. It does not work in a Worker."""
        run_now(self.acopy_thread(source_thread_id, target_thread_id), "copy_thread")

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Call `aprune` from synchronous code. It does not work in a Worker."""
        run_now(self.aprune(thread_ids, strategy=strategy), "prune")

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Call `aget_delta_channel_history` from synchronous code. It does not work in a Worker."""
        return run_now(self.aget_delta_channel_history(config=config, channels=channels), "get_delta_channel_history")


def _thread(config: RunnableConfig) -> Thread:
    named = config.get("configurable", {})
    if "thread_id" not in named:
        raise InvalidArgumentError("the config names no thread_id: {'configurable': {'thread_id': …}}")
    return check_id(str(named["thread_id"]), "thread_id"), str(named.get("checkpoint_ns") or "")
