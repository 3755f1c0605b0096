"""The turn inside its block: what an agent reads, writes and records."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from agents_store_cloudflare.contract.arguments import MAX_LABEL_BYTES, check_text, check_whole_number
from agents_store_cloudflare.contract.errors import AgentsStoreError, InvalidArgumentError, LockLostError, TurnError
from agents_store_cloudflare.contract.json_values import JsonObject, JsonValue, encode_json
from agents_store_cloudflare.contract.locks import Lock
from agents_store_cloudflare.contract.state.records import AgentState, AgentStatus, Message, Run
from agents_store_cloudflare.contract.usage.budgets import Reservation
from agents_store_cloudflare.contract.usage.records import UsageEntry
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.locks import DurableObjectLock
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.state.blocks import message_list
from agents_store_cloudflare.state.outgoing import Outgoing
from agents_store_cloudflare.state.turn_merge import TurnFields
from agents_store_cloudflare.state.turn_records import EnteredTurn, TurnCommit
from agents_store_cloudflare.streams.writer import DurableObjectStreamWriter
from agents_store_cloudflare.turns.options import TurnOptions

__all__ = ["Turn", "TurnParts"]

MAX_OUTPUT_BYTES: Final = 64 * 1024

_ENDS: Final = frozenset({"completed", "failed", "aborted"})


@dataclass(slots=True, kw_only=True)
class TurnParts:
    """What the block has acquired for a turn."""

    options: TurnOptions
    state_store: D1StateStore
    lock: DurableObjectLock
    entered: EnteredTurn
    writer: DurableObjectStreamWriter | None
    reservation: Reservation | None
    owed: list[JsonObject] = field(default_factory=list[JsonObject])


class Turn:
    """One turn of an agent in a session. `store.turn` makes it; it ends with the block.

    Attributes:
        id: the turn id.
        state: the session's state. Change it; a commit stores the changes.
        stream_id: the stream that `write` writes to.
        spent: what the turn has spent, in the unit of its budget. Set it to settle another amount.
        resumed_from: the suspension context that this turn takes up, or None.
    """

    def __init__(self, parts: TurnParts) -> None:
        self._parts = parts
        self._options = parts.options
        self.id: str = parts.options.turn_id
        self.state: AgentState = parts.entered.state
        self.stream_id: str = cast("str", parts.entered.turn["streamId"])
        self.spent: int | None = None
        self.resumed_from: JsonValue = None
        self._base = TurnFields.of(self.state)
        self._usage: list[UsageEntry] = []
        self._spent = 0
        self._is_over = False
        self._end_status = "completed"
        self._output: str | None = None
        self._unsure: tuple[TurnCommit, Outgoing, TurnFields, int] | None = None
        self._step_id = parts.options.step_id
        self._started_at = parts.state_store.now_ms()
        self.closing: JsonObject | None = None
        if self.state.status == AgentStatus.SUSPENDED:
            self.resumed_from = self.state.suspension_context
            self.state.suspension_context = None
            self.state.status = AgentStatus.ACTIVE

    def __repr__(self) -> str:
        state = self._end_status if self._is_over else AgentStatus.RUNNING
        return (
            f"<Turn {self.number} of {self.state.session_id!r}, id {self.id!r}: {state}, {len(self.messages)} messages>"
        )

    @property
    def messages(self) -> list[Message]:
        """The messages of the session, those of this turn included."""
        return self.state.messages

    @property
    def lock(self) -> Lock:
        """The session's lock. Its token fences every write of the turn."""
        return self._parts.lock

    @property
    def number(self) -> int:
        """The number of the turn in its session: 1, 2, 3 …"""
        return cast("int", self._parts.entered.turn["turn"])

    @property
    def from_sequence(self) -> int:
        """Where the turn's chunks begin: a reader from here on gets all of them."""
        return cast("int", self._parts.entered.turn["from"])

    @property
    def aborted(self) -> bool:
        """Whether the state says that the session is aborted; up to date after each commit."""
        return self.state.aborted

    @property
    def is_over(self) -> bool:
        """Whether the turn was suspended or has ended."""
        return self._is_over

    @property
    def run(self) -> Run:
        """The turn's run as it stands."""
        return Run(
            run_id=self.id,
            session_id=self.state.session_id,
            turn=self.number,
            status=self._end_status if self._is_over else AgentStatus.RUNNING,
            step_count=self.state.step_count,
            start_sequence=self.from_sequence,
            started_at=self._started_at,
        )

    async def write(self, chunk: Mapping[str, object]) -> None:
        """Write a chunk to the stream; readers get it at the next flush.

        Raises:
            TurnError: the turn is over, or has no stream.
            LockLostError: the lock was lost.
        """
        self._check_open()
        if self._parts.writer is None:
            raise TurnError(f"turn {self.id!r} has no stream; it was begun with stream=False")
        await self._parts.writer.write(chunk)

    def add(self, *messages: Message | Mapping[str, object]) -> None:
        """Add messages to the session; the next commit stores them.

        Raises:
            TurnError: the turn is over.
            TypeError, InvalidArgumentError: a message is no JSON object.
        """
        self._check_open()
        for message in message_list(messages):
            encode_json(cast("JsonValue", message), name="message")
            self.state.messages.append(message)

    def record(self, entry: UsageEntry | Mapping[str, object]) -> UsageEntry:
        """Record usage; the next commit stores it. Also a turn that fails stores it.

        Raises:
            TurnError: the turn is over.
            TypeError, InvalidArgumentError: the entry breaks a rule.
        """
        self._check_open()
        [completed] = self._parts.state_store.complete_usage([entry])
        if completed.session_id != self.state.session_id:
            raise InvalidArgumentError(f"the entry is of session {completed.session_id!r}, not of this turn's session")
        self._usage.append(completed)
        self._spent += _amount(completed, self._parts.entered.unit)
        return completed

    def record_tokens(self, *, model: str, prompt: int = 0, completion: int = 0, **counts: int) -> UsageEntry:
        """Record the tokens of one model call; `reasoning`, `cached` and `total` may follow."""
        tokens = {"prompt": prompt, "completion": completion, **counts}
        return self.record({**self._facts("tokens"), "model": model, "tokens": tokens})

    def record_tool(self, *, tool_name: str, duration_ms: int, success: bool, error: str | None = None) -> UsageEntry:
        """Record one call of a tool."""
        facts: dict[str, object] = {"toolName": tool_name, "durationMs": duration_ms, "success": success}
        return self.record({**self._facts("tool"), **facts, **({} if error is None else {"error": error})})

    def record_subagent(self, *, agent_type: str, sub_session_id: str, duration_ms: int, success: bool) -> UsageEntry:
        """Record one run of a sub-agent, whose own session holds what it used."""
        facts: dict[str, object] = {"agentType": agent_type, "subSessionId": sub_session_id}
        return self.record({**self._facts("subagent"), **facts, "durationMs": duration_ms, "success": success})

    def record_custom(self, *, name: str, value: float, data: JsonValue = None) -> UsageEntry:
        """Record a number of your own."""
        facts: dict[str, object] = {"name": name, "value": value}
        return self.record({**self._facts("custom"), **facts, **({} if data is None else {"data": data})})

    def finish(self, output: JsonValue = None, *, status: str | None = None) -> None:
        """Say what the turn gives: its run keeps `output`, the session gets `status`, when the block is left.

        Raises:
            TurnError: the turn is over.
            InvalidArgumentError: the output has more than 64 KB as JSON.
        """
        self._check_open()
        text = encode_json(output, name="output")
        if (size_bytes := len(text.encode())) > MAX_OUTPUT_BYTES:
            raise InvalidArgumentError(f"output has {size_bytes:,} bytes, a turn keeps {MAX_OUTPUT_BYTES:,}")
        if status is not None:
            self.state.status = check_text(status, "status", max_bytes=MAX_LABEL_BYTES)
            self._end_status = status if status in _ENDS else "completed"
        self._output = None if output is None else text
        self.state.output = output

    async def commit(self) -> None:
        """Store messages, state, usage and, by the turn's option, a checkpoint, in one transaction. The turn goes on.

        Raises:
            StaleStateError: others have changed a field that the turn changed.
            StaleFencingTokenError, LockLostError: another holder of the lock has written; nothing was stored.
        """
        self._check_open()
        await self._flush()
        await self._store(is_last=False)

    async def suspend(self, context: JsonValue = None) -> None:
        """Stop here until somebody answers: the run ends as suspended, the stream pauses. The session's next turn resumes.

        Args:
            context: what the next turn needs; it finds it in `resumed_from`.
        """
        self._check_open()
        self.state.suspension_context = context
        self.state.status = AgentStatus.SUSPENDED
        self._end_status = AgentStatus.SUSPENDED
        await self.end()

    async def end(self) -> None:
        """The last commit. The block calls it; a turn ends once."""
        await self._flush()
        await self._store(is_last=True)
        self._is_over = True

    async def fail(self, status: str, code: str, error: str) -> None:
        """End the run without messages and state: usage is stored, the reservation settled. The block calls it."""
        self._is_over = True
        if self._unsure is not None:
            return  # the commit may be stored: what is there counts as a dead turn
        self.closing = self._closing(status, code)
        now_ms = self._parts.state_store.now_ms()
        commit = self._commit_of(status, now_ms, self.closing, now_ms)
        try:
            await self._parts.state_store.close_turn_state(replace(commit, error=error))
        except BaseException:
            self.closing = None
            raise

    def _facts(self, kind: str) -> dict[str, object]:
        return {
            "sessionId": self.state.session_id,
            "kind": kind,
            "stepCount": self.state.step_count,
            "source": {"type": "agent", "name": self._options.agent_type},
            "runId": self.id,
        }

    def _check_open(self) -> None:
        if self._is_over:
            raise TurnError(f"turn {self.id!r} of session {self.state.session_id!r} is over; begin another one")
        if self._parts.lock.lost:
            raise LockLostError(self._parts.lock.key)

    async def _flush(self) -> None:
        if self._parts.writer is not None and self._parts.writer.pending:
            await self._parts.writer.flush()

    async def _store(self, *, is_last: bool) -> None:
        if self._unsure is not None:
            await self._send(*self._unsure)
        if self._parts.lock.lost:
            raise LockLostError(self._parts.lock.key)
        now_ms = self._parts.state_store.now_ms()
        closing = self._closing(self._end_status, None) if is_last else None
        commit = self._commit_of(
            self._end_status if is_last else "running", now_ms if is_last else None, closing, now_ms
        )
        commit = replace(commit, checkpoint=self._options.checkpoint, step_id=self._step_id, output=self._output)
        outgoing = self._parts.state_store.turn_outgoing(self.state)
        await self._send(commit, outgoing, TurnFields.of(self.state), len(self._usage))
        self.closing = closing

    async def _send(self, commit: TurnCommit, outgoing: Outgoing, fields: TurnFields, usage_count: int) -> None:
        self._unsure = (commit, outgoing, fields, usage_count)
        try:
            await self._parts.state_store.commit_turn(commit, outgoing, self._base)
        except AgentsStoreError as error:
            if not error.outcome_unknown:
                self._unsure = None
            raise
        self._unsure, self._step_id = None, None
        self._base = (
            fields
            if outgoing.version + 1 == self.state.version and commit.step_id is None
            else TurnFields.of(self.state)
        )
        del self._usage[:usage_count]

    def _commit_of(self, status: str, ended_at: int | None, closing: JsonObject | None, now_ms: int) -> TurnCommit:
        parts, writer = self._parts, self._parts.writer
        turn: JsonObject = {**parts.entered.turn, "spent": self._settled()}
        if writer is not None:
            turn["incarnation"] = writer.incarnation
        more: list[Statement] = parts.state_store.usage_statements(self.state.session_id, self._usage)
        if ended_at is not None and parts.reservation is not None:
            session_id = self.state.session_id
            more += parts.state_store.settle_statements(session_id, parts.reservation, self._settled(), now_ms)
        return TurnCommit(
            session_id=self.state.session_id,
            token=parts.lock.fencing_token,
            commit_id=uuid.uuid4().hex,
            number=self.number,
            open_turn=None if ended_at is not None else turn,
            owed=[*parts.owed, *([] if closing is None else [closing])],
            status=status,
            ended_at=ended_at,
            step_count=self.state.step_count,
            from_sequence=self.from_sequence,
            end_sequence=None if writer is None else writer.last_sequence,
            run_id=self.id,
            more=more,
        )

    def _closing(self, status: str, code: str | None) -> JsonObject | None:
        """What the stream is owed at the end, or None for a turn without a stream."""
        writer = self._parts.writer
        if writer is None:
            return None
        owed: JsonObject = {**self._parts.entered.turn, "incarnation": writer.incarnation, "status": status}
        if code is not None:
            owed["code"] = code
        if status == AgentStatus.SUSPENDED:
            owed["pauses"] = bool(owed["fenced"])
        return owed

    def _settled(self) -> int:
        return self._spent if self.spent is None else check_whole_number(self.spent, "spent")


def _amount(entry: UsageEntry, unit: str | None) -> int:
    """What an entry counts in a budget's unit: tokens, or millionths of a dollar."""
    if unit == "tokens":
        return cast("Any", entry.tokens).total if entry.tokens is not None else 0
    return entry.cost_micros or 0
