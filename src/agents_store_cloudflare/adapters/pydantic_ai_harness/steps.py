"""`D1StepStore`: the runs, events, snapshots and tool effects of pydantic-ai's harness, as a log in a session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pydantic_ai.messages import ModelResponse

from agents_store_cloudflare.adapters.model_messages import message_json
from agents_store_cloudflare.adapters.model_usage import usage_of_response
from agents_store_cloudflare.adapters.pydantic_ai_harness.kept import Change, KeptSession
from agents_store_cloudflare.adapters.pydantic_ai_harness.log import StepLog, fields_of
from agents_store_cloudflare.adapters.pydantic_ai_harness.shapes import Effect, Event, Run, Snapshot, StepTypes
from agents_store_cloudflare.contract.arguments import UNSET, FencingToken, check_flag, check_id
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.state.agent_state import AgentState
from agents_store_cloudflare.contract.usage.records import UsageEntry

__all__ = ["D1StepStore"]


class D1StepStore:
    """A `StepStore` of pydantic-ai's harness in D1, or in sqlite in tests. A write costs one batch while nobody else writes.

    Every run, event, snapshot and tool effect is a message of one session, so one lock covers them, and deletion, clean-up, export
    and import include them. A message of a history is stored once, however many snapshots hold it.

    Args:
        session_id: the session of the steps. Give each conversation its own.
        database: a D1 binding (`env.AGENT_DB`), a `Database` (`testing.SqliteDatabase`), or `store.session_homes`.
        types: the module `pydantic_ai_harness.step_persistence`, whose classes the reads return.
        agent_type: the agent type of the session that the first write makes.
        fencing_token: the lock of the session, or its token. Every write compares it, in its own transaction, with the highest
            token that was seen for the session.
        usage: record the tokens of each new response of a snapshot in the transaction that stores it.

    Example:
        >>> from pydantic_ai_harness import step_persistence
        >>> steps = D1StepStore("ada/steps", env.AGENT_DB, types=step_persistence, fencing_token=lock)
        >>> agent = Agent(model, capabilities=[StepPersistence(store=steps)])

    Every write may raise `StaleFencingTokenError` (a newer holder has written), `StateSizeExceededError` (a message is larger than
    the store's limits), `ForeignValueError` (JSON cannot hold a value) and `D1StateError` (the database failed). Then nothing was
    written. Every read may raise `ForeignValueError` (another program or a newer version wrote a step).
    """

    def __init__(
        self,
        session_id: str,
        database: object,
        *,
        types: StepTypes,
        agent_type: str = "pydantic-ai-steps",
        fencing_token: FencingToken = UNSET,
        usage: bool = False,
    ) -> None:
        check_flag(usage, "usage")
        self._session = KeptSession(session_id, database, agent_type=agent_type, fencing_token=fencing_token)
        self._types = types
        self._usage = usage

    async def register_run(self, record: Run) -> None:
        """Store a run. The same record may be stored again.

        Raises:
            ValueError: another run has this id.
        """
        run_id, fields = check_id(record.run_id, "run_id"), fields_of(record)

        def register(log: StepLog) -> bool:
            found = log.run(run_id)
            if found is not None and found != fields:
                raise InvalidArgumentError(f"run_id {run_id!r} is already in the store")
            return found is None and log.add("run", fields)

        await self._write(register)

    async def get_run(self, *, run_id: str) -> Any:
        """Return the record of a run, or None."""
        log = await self._log()
        fields = log.run(run_id)
        return None if fields is None else log.made(self._types.RunRecord, fields)

    async def list_runs(self, *, parent_run_id: str | None = None, conversation_id: str | None = None) -> list[Any]:
        """Return the records of the session's runs, the oldest first. A filter that is None lets every run pass."""
        log = await self._log()
        runs = [log.made(self._types.RunRecord, fields) for fields in log.runs(parent_run_id, conversation_id)]
        return sorted(runs, key=lambda run: run.started_at)

    async def append_event(self, event: Event) -> None:
        """Store an event. An event of the run with the same `idempotency_key` is stored once."""
        fields = fields_of(event)
        await self._write(
            lambda log: not log.has_event(fields["run_id"], fields["idempotency_key"]) and log.add("event", fields)
        )

    async def list_events(self, *, run_id: str) -> list[Any]:
        """Return the events of a run, in the order of their writes."""
        log = await self._log()
        return [log.made(self._types.StepEvent, fields) for fields in log.of("event", run_id)]

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        """Store a snapshot.

        A snapshot of the run with the same `idempotency_key` is stored once. A key that begins with a lower number than another key
        of the run is of an earlier moment, and is not stored.
        """
        fields, messages = fields_of(snapshot, without="messages"), list(snapshot.messages)
        run_id, key = fields["run_id"], fields["idempotency_key"]
        bodies = [message_json(each, f"message {number} of run {run_id!r}") for number, each in enumerate(messages)]
        used = {
            number: usage_of_response(self._session.session_id, "", each)
            for number, each in enumerate(messages)
            if self._usage and isinstance(each, ModelResponse)
        }
        await self._write(lambda log: not log.is_late(run_id, key) and log.add_snapshot(fields, bodies), used)

    async def latest_snapshot(self, *, run_id: str, include_interrupted: bool = False) -> Any:
        """Return the newest complete snapshot of a run, or with `include_interrupted` the newest one; None if there is none."""
        log = await self._log()
        found = log.snapshots(run_id, include_interrupted=include_interrupted)
        return self._snapshot(log, found[-1]) if found else None

    async def list_snapshots(self, *, run_id: str, include_interrupted: bool = False) -> list[Any]:
        """Return the snapshots of a run, in the order of their writes."""
        log = await self._log()
        return [self._snapshot(log, each) for each in log.snapshots(run_id, include_interrupted=include_interrupted)]

    async def record_tool_effect(self, record: Effect) -> None:
        """Store the effect of a tool call, instead of the one that was stored before."""
        fields = fields_of(record)
        await self._write(
            lambda log: (
                log.effects(fields["run_id"]).get(fields["tool_call_id"]) != fields and log.add("effect", fields)
            )
        )

    async def get_tool_effect(self, *, run_id: str, tool_call_id: str) -> Any:
        """Return the effect of a tool call, or None."""
        log = await self._log()
        fields = log.effects(run_id).get(tool_call_id)
        return None if fields is None else log.made(self._types.ToolEffectRecord, fields)

    async def list_unresolved_tool_effects(self, *, run_id: str) -> list[Any]:
        """Return the effects of the tool calls that have begun and not ended."""
        log = await self._log()
        begun = [fields for fields in log.effects(run_id).values() if fields.get("status") == "started"]
        return [log.made(self._types.ToolEffectRecord, fields) for fields in begun]

    async def _log(self) -> StepLog:
        state = await self._session.read()
        return StepLog(self._session.session_id, [] if state is None else state.messages)

    async def _write(self, write: Callable[[StepLog], bool], used: Mapping[int, UsageEntry] | None = None) -> None:
        """Write to the log, with the usage of new messages by their numbers."""

        def change(state: AgentState) -> Change[None]:
            log = StepLog(state.session_id, state.messages)
            return None, (_named(log, used or {}) if write(log) else None)

        await self._session.change(change)

    def _snapshot(self, log: StepLog, fields: dict[str, Any]) -> Any:
        return log.made(self._types.ContinuableSnapshot, {**fields, "messages": log.history(fields)})


def _named(log: StepLog, used: Mapping[int, UsageEntry]) -> list[UsageEntry]:
    """Return the usage of the messages that are new in the log. Each entry is named by its place there, so it counts once."""
    return [
        replace(used[number], id=f"response-{run_id}-{place}")
        for run_id, place, number in log.new_messages
        if number in used
    ]
