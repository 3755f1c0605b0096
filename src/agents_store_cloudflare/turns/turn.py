"""The turn inside its block. An agent reads, writes and records through it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, cast

from agents_store_cloudflare.contract.arguments import MAX_LABEL_BYTES, called_by_its_name, check_text
from agents_store_cloudflare.contract.errors import (
    AgentsStoreError,
    InvalidArgumentError,
    LockLostError,
    StaleFencingTokenError,
    StateNotFoundError,
    TurnError,
)
from agents_store_cloudflare.contract.json_values import JsonObject, JsonValue, encode_json
from agents_store_cloudflare.contract.locks import Lock
from agents_store_cloudflare.contract.state.records import AgentStatus, Message, Run
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.state.blocks import message_list
from agents_store_cloudflare.state.turn_merge import TurnBase, TurnFields
from agents_store_cloudflare.state.turn_records import TurnCommit, TurnSending
from agents_store_cloudflare.turns.parts import TurnParts
from agents_store_cloudflare.turns.recording import RecordingTurn

__all__ = ["Turn"]

MAX_OUTPUT_BYTES: Final = 64 * 1024

_ENDS: Final = frozenset({"completed", "failed", "aborted"})


@dataclass(frozen=True, slots=True)
class _Sent:
    """A commit that was sent: its data, the state as it was then, its number of usage entries, and its closing chunk.

    The commit owes the closing chunk to the stream, or takes it along (`carried`).
    """

    commit: TurnCommit
    sending: TurnSending
    usage_count: int
    closing: JsonObject | None
    carried: JsonObject | None


@dataclass(frozen=True, slots=True)
class _Spent:
    """What a turn has used when a commit begins."""

    statements: list[Statement]
    entries: int
    amount: int
    step_count: int


@called_by_its_name
class Turn(RecordingTurn):
    """One turn of an agent in a session. `store.turn` makes it; it ends with the block.

    Attributes:
        id: the turn id.
        state: the session's state. Change it; a commit stores the changes.
        stream_id: the stream that `write` writes to.
        resumed_from: the context of the suspended turn that this turn resumes, or None.
    """

    def __init__(self, parts: TurnParts) -> None:
        super().__init__(parts)
        self.stream_id: str = parts.stream_id
        self.resumed_from: JsonValue = None
        self.closing: JsonObject | None = None
        self._base = TurnBase(TurnFields.of(self.state))
        self._end_status = "completed"
        self._output: str | None = None
        self._unsure: _Sent | None = None
        self._storing = asyncio.Lock()
        self._step_id = parts.options.step_id
        if self.state.status == AgentStatus.SUSPENDED:
            self.resumed_from = self.state.suspension_context
            self.state.suspension_context = None
            self.state.status = AgentStatus.ACTIVE
            self.state.resume_count += 1

    def __repr__(self) -> str:
        state = self._end_status if self._is_over else AgentStatus.RUNNING
        return (
            f"<Turn {self.number} of {self.state.session_id!r}, id {self.id!r}: {state}, {len(self.messages)} messages>"
        )

    @property
    def messages(self) -> list[Message]:
        """The messages of the session, with the messages of this turn."""
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
        """The sequence before the turn's first chunk. A reader from this sequence gets all chunks of the turn."""
        return cast("int", self._parts.entered.turn["from"])

    @property
    def attempt(self) -> tuple[str, str]:
        """The name of this attempt of the turn id, for the argument `until_turn` of a reader.

        Raises:
            TurnError: the turn has no stream.
        """
        if self._parts.writer is None:
            raise self._has_no_stream()
        return self.id, self._parts.writer.writer_id

    @property
    def aborted(self) -> bool:
        """True when the session was aborted at the last commit."""
        return self.state.aborted

    @property
    def is_over(self) -> bool:
        """True when the turn was suspended or has ended."""
        return self._is_over

    @property
    def is_unsure(self) -> bool:
        """True when a commit was sent and its outcome is unknown."""
        return self._unsure is not None

    @property
    def run(self) -> Run:
        """The present run of the turn."""
        return Run(
            run_id=self.id,
            session_id=self.state.session_id,
            turn=self.number,
            status=self._end_status if self._is_over else AgentStatus.RUNNING,
            step_count=self.state.step_count,
            start_sequence=self.from_sequence,
            started_at=cast("int", self._parts.entered.turn["startedAt"]),
            resumes=cast("str | None", self._parts.entered.turn["resumes"]),
        )

    async def write(self, chunk: Mapping[str, object]) -> None:
        """Write a chunk to the stream. Readers get it at the next flush.

        Raises:
            TurnError: the turn is over, or has no stream.
            LockLostError: the lock was lost.
        """
        self._check_open()
        if self._parts.writer is None:
            raise self._has_no_stream()
        await self._parts.writer.write(chunk)

    def add(self, *messages: Message | Mapping[str, object]) -> None:
        """Add messages to the session. The next commit stores them.

        Raises:
            TurnError: the turn is over.
            TypeError, InvalidArgumentError: a message is no JSON object.
        """
        self._check_open()
        for message in message_list(messages):
            encode_json(cast("JsonValue", message), name="message")
            self.state.messages.append(message)

    def finish(self, output: JsonValue = None, *, status: str | None = None) -> None:
        """Set the result of the turn. At the end of the block, its run gets `output` and the session gets `status`.

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
        """Store messages, state and usage in one transaction, with a checkpoint if the turn's option asks for it. The turn goes on.

        Raises:
            StaleStateError: others have changed a field that the turn changed.
            StaleFencingTokenError, LockLostError: another holder of the lock has written; nothing was stored.
            TurnError: the turn is over. Another task may have ended it meanwhile.
        """
        self._check_open()
        async with self._storing:  # tasks that share a turn take turns
            await self._settle()
            self._check_open()
            await self._store(is_last=False)

    async def suspend(self, context: JsonValue = None) -> None:
        """Stop until somebody answers: the run ends as suspended, and the stream pauses. The session's next turn resumes it.

        Args:
            context: JSON for the next turn, which gets it as `resumed_from`.

        Raises:
            TurnError: the turn is over. Another task may have ended it meanwhile.
            StaleStateError, StaleFencingTokenError, LockLostError: as in `commit`.
        """
        self._check_not_over()
        encode_json(context, name="context")
        async with self._storing:
            is_unsure = self._unsure is not None
            await self._settle()
            if is_unsure and self._is_over:
                return
            self._check_open()
            await self._suspend(context)

    async def _suspend(self, context: JsonValue) -> None:
        before = self.state.suspension_context, self.state.status, self._end_status
        self.state.suspension_context = context
        self.state.status = self._end_status = AgentStatus.SUSPENDED
        try:
            await self._store(is_last=True)
        except BaseException:
            if self._unsure is None:
                self.state.suspension_context, self.state.status, self._end_status = before
            raise

    async def end(self) -> None:
        """Make the last commit. The block calls this. A turn ends once."""
        async with self._storing:
            await self._settle()
            if not self._is_over:
                await self._store(is_last=True)

    async def settle(self) -> None:
        """Send a commit with an unknown outcome again. The block calls this."""
        async with self._storing:
            await self._settle()

    async def rest(self) -> None:
        """Wait for the commits that other tasks have sent. The block calls this."""
        async with self._storing:
            pass

    async def _settle(self) -> None:
        if self._unsure is not None:
            await self._send(self._unsure)

    async def fail(self, status: str, code: str, error: str) -> None:
        """End the run without messages and state. The usage is stored, and the reservation is settled. The block calls this.

        If others have deleted the session, only the reservation is settled, because a budget's scope belongs to no session.
        """
        self._is_over = True
        self.closing = self._parts.closing(status, code)
        now_ms = self._parts.state_store.now_ms()
        commit = self._commit_of(status, now_ms, self.closing, now_ms, self._spent())
        try:
            await self._parts.state_store.close_turn_state(replace(commit, error=error))
        except BaseException as refusal:
            self.closing = None
            if isinstance(refusal, StateNotFoundError | StaleFencingTokenError):
                await self.settle_orphaned()
            raise

    async def settle_orphaned(self) -> None:
        """Settle the reservation if the session has not got this turn any more: others have deleted it. The block calls it.

        Nobody else knows of the reservation then. If the session still has the turn, its next turn settles.
        """
        parts = self._parts
        if parts.reservation is not None:
            await parts.state_store.settle_orphaned(
                self.state.session_id, parts.lock.fencing_token, parts.reservation, self.spent
            )

    def _has_no_stream(self) -> TurnError:
        return TurnError(f"turn {self.id!r} has no stream; it was begun with stream=False")

    async def _flush(self) -> None:
        if self._parts.writer is not None and self._parts.writer.pending:
            await self._parts.writer.flush()

    async def _store(self, *, is_last: bool) -> None:
        self._is_ending = is_last
        sending, spent, output = self._parts.state_store.turn_sending(self.state), self._spent(), self._output
        try:
            if not self._parts.is_stream_at_home:
                await self._flush()
            await self._send_all(sending, spent, output, is_last=is_last)
        finally:
            self._is_ending = self._is_ending and self._unsure is not None

    def _spent(self) -> _Spent:
        return _Spent(self._usage_statements(), len(self._usage), self.spent, self.state.step_count)

    async def _send_all(self, sending: TurnSending, spent: _Spent, output: str | None, *, is_last: bool) -> None:
        if self._parts.lock.lost:
            raise LockLostError(self._parts.lock.key)
        now_ms = self._parts.state_store.now_ms()
        status, ended_at = (self._end_status, now_ms) if is_last else ("running", None)
        closing = self._parts.closing(status, None) if is_last else None
        carried = closing if self._parts.takes_closing_along else None
        commit = replace(
            self._commit_of(status, ended_at, closing if carried is None else None, now_ms, spent),
            checkpoint=self._parts.options.checkpoint,
            step_id=self._step_id,
            output=output,
        )
        owed = closing if carried is None else None
        await self._send(_Sent(commit, sending, spent.entries, owed, carried))

    async def _send(self, sent: _Sent) -> None:
        self._unsure = sent
        try:
            await self._commit(sent)
        except AgentsStoreError as error:
            if not error.outcome_unknown:
                self._unsure, self._is_ending = None, False
            raise
        self._unsure, self._step_id = None, None
        del self._usage[: sent.usage_count]
        if sent.commit.ended_at is not None:
            self._is_over, self.closing = True, sent.closing

    async def _commit(self, sent: _Sent) -> None:
        parts, store = self._parts, self._parts.state_store
        if parts.home is None:
            await store.commit_turn(sent.commit, sent.sending, self._base)
            return
        from agents_store_cloudflare.turns.at_home import with_companions  # noqa: PLC0415 - homes alone need it

        async with with_companions(parts, parts.home, sent.commit, sent.carried) as commit:
            await store.commit_turn(commit, sent.sending, self._base)

    def _commit_of(
        self, status: str, ended_at: int | None, closing: JsonObject | None, now_ms: int, spent: _Spent
    ) -> TurnCommit:
        parts, writer = self._parts, self._parts.writer
        turn: JsonObject = {**parts.entered.turn, "spent": spent.amount}
        if writer is not None:
            turn["incarnation"] = writer.incarnation
        more = spent.statements
        if ended_at is not None and parts.reservation is not None:
            session_id = self.state.session_id
            more += parts.state_store.settle_statements(session_id, parts.reservation, spent.amount, now_ms)
        return TurnCommit(
            session_id=self.state.session_id,
            token=parts.lock.fencing_token,
            commit_id=uuid.uuid4().hex,
            number=self.number,
            open_turn=None if ended_at is not None else turn,
            owed=[*parts.owed, *([] if closing is None else [closing])],
            status=status,
            ended_at=ended_at,
            step_count=spent.step_count,
            from_sequence=self.from_sequence,
            end_sequence=None if writer is None else writer.last_sequence,
            run_id=self.id,
            more=more,
        )
