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
from agents_store_cloudflare.adapters.langgraph.putting import NewCheckpoint, Putting
from agents_store_cloudflare.adapters.langgraph.reading import config_of, metadata_json
from agents_store_cloudflare.adapters.langgraph.sync_calls import all_of, run_now
from agents_store_cloudflare.adapters.langgraph.text_codec import TextCodec
from agents_store_cloudflare.adapters.langgraph.typed_json import TypedJsonSerializer
from agents_store_cloudflare.contract.arguments import UNSET, FencingToken, check_flag, check_id
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.migrations import run_migration

__all__ = ["D1Saver"]


class D1Saver(BaseCheckpointSaver[int]):
    """A LangGraph checkpointer on D1, or on sqlite in tests. One call is one batch, which is one transaction.

    A value is stored once, however many checkpoints have it; a growing list by what is new. What a saver read or put last it
    remembers, so use one for a whole run. It makes no table: `run_migration` does, or `setup()`.

    Args:
        database: a D1 binding (`env.AGENT_DB`), a `Database` (`testing.SqliteDatabase`), or the `Homes` of sessions.
        fencing_token: the lock of the thread, or its number. Every write compares it, in the same transaction, with the highest one
            that was seen for the thread's id: here, by the state store, or by another saver.
        head_check: refuse to write after somebody else's checkpoint: the newest one of a thread must be the one that this saver saw
            last. For threads without a lock.
        serde: a serializer of LangGraph's kind. The default writes typed JSON and allows LangChain's and LangGraph's classes:
            `TypedJsonSerializer(allow=[MyModel])` allows yours.

    Example:
        >>> graph = builder.compile(checkpointer=D1Saver(env.AGENT_DB, fencing_token=lock))
        >>> await graph.ainvoke(question, {"configurable": {"thread_id": lock.key}})

    Errors that every write raises: `StaleFencingTokenError` (a newer holder has written), `StaleHeadError` (with `head_check`),
    `ForeignValueError` (a value that cannot be stored), `D1StateError` (the database failed). Nothing was written then.
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
        """Make the tables, as `run_migration` does; safe to call again.

        Raises:
            MigrationError: the database is of a newer version.
        """
        await run_migration(self._database)

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...]]) -> D1Saver:
        """This saver with a serializer that allows more classes."""
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
        """The next version of a channel. A value is found by its checkpoint, so two branches may use one version."""
        # A thread that another saver began has versions like "00000012.0.4".
        return 1 if current is None else int(str(current).partition(".")[0]) + 1

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint that the config names, or the newest; None if the thread has none."""
        return await self._history.get(_thread(config), get_checkpoint_id(config) or None, self._codec)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Checkpoints, the newest first, 100 a batch.

        Args:
            config: the thread, and what else it names: a namespace, one checkpoint. None: all threads.
            filter: metadata that they have.
            before: only those before this one.
            limit: the most.
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
        """Store a checkpoint after the checkpoint that the config names. Return the config of the new one."""
        thread = _thread(config)
        new = NewCheckpoint(
            thread=thread,
            parent_id=get_checkpoint_id(config) or None,
            checkpoint=checkpoint,
            metadata=metadata_json(get_serializable_checkpoint_metadata(config, metadata)),
            changed=frozenset(new_versions),
        )
        await self._putting.put(new, self._codec)
        return cast("RunnableConfig", config_of(thread, checkpoint["id"]))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store what a task has written; with the checkpoint that follows, if that comes within a moment.

        A write that is there already stays. Errors, interrupts and their like replace earlier ones.
        """
        await self._put_writes(config, writes, task_id, task_path, waits=True)

    async def _put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str, *, waits: bool
    ) -> None:
        checkpoint_id = get_checkpoint_id(config)
        if not checkpoint_id:
            raise InvalidArgumentError("put_writes needs a checkpoint_id in its config")
        # Writes that an interrupt or a null task leaves are followed by no checkpoint.
        waits = waits and not any(channel in WRITES_IDX_MAP for channel, _ in writes)
        found = encoded(writes, task_id, task_path, self._codec)
        if found:
            await self._putting.put_writes(_thread(config), checkpoint_id, found, waits=waits)

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete all of a thread's checkpoints."""
        thread = (check_id(thread_id, "thread_id"), "")
        statements = [
            Statement(deleting_sql.DELETE_CHECKPOINTS, (thread_id,)),
            Statement(deleting_sql.DELETE_LINES, (thread_id,)),
        ]
        await self._batches.write("delete_thread", thread, statements)
        self._known.forget(thread_id)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints whose metadata have these run ids, in all threads; reads every checkpoint of the database.

        Raises:
            StaleFencingTokenError: a thread of theirs has seen a higher token than this saver's.
        """
        if not run_ids:
            return
        key = self._batches.only_home("delete_for_runs")
        runs = json.dumps([check_id(run_id, "run_id") for run_id in run_ids])
        token = self._batches.token
        fence = [] if token is None else [Statement(deleting_sql.FENCE_OF_RUNS, (runs, token))]
        results = await self._batches.unfenced(
            "delete_for_runs",
            key,
            [*fence, Statement(deleting_sql.THREADS_OF_RUNS, (runs,)), Statement(deleting_sql.DELETE_RUNS, (runs,))],
        )
        threads = [cast("str", row[0]) for row in results[-2]]
        if threads:
            await self._batches.unfenced(
                "delete_for_runs", key, [Statement(deleting_sql.FORGET_LINES, (json.dumps(threads),))]
            )
        self._known.forget_all()

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all checkpoints of a thread, with their writes, into another thread of the same database."""
        pair = (check_id(source_thread_id, "source_thread_id"), check_id(target_thread_id, "target_thread_id"))
        if not self._batches.share_a_database(*pair):
            raise InvalidArgumentError("copy_thread needs both threads in one home; name the copy `source//copy`")
        statements = [Statement(deleting_sql.COPY_CHECKPOINTS, pair), Statement(deleting_sql.COPY_LINES, pair)]
        await self._batches.write("copy_thread", (pair[1], ""), statements)
        self._known.forget(pair[1])

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete checkpoints of threads, a thread at a time.

        Args:
            strategy: "keep_latest" keeps the newest of each namespace, and the ancestors that its delta channels are made of;
                "delete" keeps none.
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
        """What delta channels are made of: their writes since the nearest ancestor with a value, in one batch for each 200 ancestors."""
        if not channels:
            return {}
        return await self._history.delta(_thread(config), get_checkpoint_id(config) or None, channels, self._codec)

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """`aget_tuple` for synchronous code; not in a Worker."""
        return run_now(self.aget_tuple(config), "get_tuple")

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """`alist` for synchronous code; not in a Worker."""
        yield from run_now(all_of(self.alist(config, filter=filter, before=before, limit=limit)), "list")

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """`aput` for synchronous code; not in a Worker."""
        return run_now(self.aput(config, checkpoint, metadata, new_versions), "put")

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """`aput_writes` for synchronous code; not in a Worker."""
        run_now(self._put_writes(config, writes, task_id, task_path, waits=False), "put_writes")

    def delete_thread(self, thread_id: str) -> None:
        """`adelete_thread` for synchronous code; not in a Worker."""
        run_now(self.adelete_thread(thread_id), "delete_thread")

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """`adelete_for_runs` for synchronous code; not in a Worker."""
        run_now(self.adelete_for_runs(run_ids), "delete_for_runs")

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """`acopy_thread` for synchronous code; not in a Worker."""
        run_now(self.acopy_thread(source_thread_id, target_thread_id), "copy_thread")

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """`aprune` for synchronous code; not in a Worker."""
        run_now(self.aprune(thread_ids, strategy=strategy), "prune")

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """`aget_delta_channel_history` for synchronous code; not in a Worker."""
        return run_now(self.aget_delta_channel_history(config=config, channels=channels), "get_delta_channel_history")


def _thread(config: RunnableConfig) -> Thread:
    named = config.get("configurable", {})
    if "thread_id" not in named:
        raise InvalidArgumentError("the config names no thread_id: {'configurable': {'thread_id': …}}")
    return check_id(str(named["thread_id"]), "thread_id"), str(named.get("checkpoint_ns") or "")
