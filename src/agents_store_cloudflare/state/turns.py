"""Turns in the state store: one batch enters a turn, one commits it, one closes it for a Worker that died."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from agents_store_cloudflare.contract.errors import (
    BudgetExceededError,
    StaleFencingTokenError,
    StaleStateError,
    StateNotFoundError,
    TurnEndedError,
    TurnError,
    UsageError,
)
from agents_store_cloudflare.contract.json_values import JsonObject, JsonValue, decode_json, encode_json
from agents_store_cloudflare.contract.state.records import AgentState, Checkpoint, Message
from agents_store_cloudflare.contract.usage.budgets import Reservation
from agents_store_cloudflare.contract.usage.records import UsageEntry
from agents_store_cloudflare.database import Row, Statement
from agents_store_cloudflare.state import codec, message_sql, session_sql, turn_sql
from agents_store_cloudflare.state.calls import new_epoch
from agents_store_cloudflare.state.changes import apply_changes
from agents_store_cloudflare.state.contention import MOST_ATTEMPTS, pause_after_conflict
from agents_store_cloudflare.state.guard import Commit, Condition, Facts, Guard
from agents_store_cloudflare.state.loading import loaded, loading
from agents_store_cloudflare.state.messages import MessageCalls
from agents_store_cloudflare.state.numbering import MAX_MESSAGES
from agents_store_cloudflare.state.outgoing import Outgoing
from agents_store_cloudflare.state.staging import StagedDiffers, StagingCalls, promoting, staged_change
from agents_store_cloudflare.state.staging_sql import SELECT_STAGED
from agents_store_cloudflare.state.stored_text import stored_text, text_of
from agents_store_cloudflare.state.turn_merge import TurnFields, merged

__all__ = ["DueTurn", "EnteredTurn", "StoredTurn", "TurnCalls", "TurnCommit", "TurnEntry"]

MOST_OWED: Final = 8
RESTARTABLE: Final = frozenset({"failed", "interrupted", "running"})
"""Statuses after which a turn id may start again. A running turn is dead if somebody else has its lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnEntry:
    """What enters a turn. `turn` is the JSON object that the state row keeps while the turn is open."""

    session_id: str
    turn_id: str
    agent_type: str
    token: int
    turn: JsonObject
    messages: list[Message] = field(default_factory=list[Message])
    parent_session_id: str | None = None
    create: bool = True
    reservation: Reservation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnteredTurn:
    """A turn that has been entered: the loaded state, its number, what streams are owed, the unit of its budget."""

    state: AgentState
    turn: JsonObject
    owed: list[JsonObject]
    unit: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnCommit:
    """What one commit of a turn stores. `status` is the run's; `ended_at` is None while the turn goes on."""

    session_id: str
    token: int
    commit_id: str
    number: int
    open_turn: JsonObject | None
    owed: Sequence[JsonObject]
    status: str
    ended_at: int | None
    step_count: int | None = None
    from_sequence: int | None = None
    end_sequence: int | None = None
    output: str | None = None
    error: str | None = None
    run_id: str | None = None
    checkpoint: bool = False
    step_id: str | None = None
    more: Sequence[Statement] = ()

    def run_statement(self) -> Statement:
        """The statement that brings the run up to date."""
        facts = (stored_text(self.status), self.ended_at, self.step_count, self.from_sequence, self.end_sequence)
        return Statement(
            turn_sql.UPDATE_TURN_RUN, (self.session_id, self.number, *facts, self.output, stored_text(self.error))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTurn:
    """A turn as somebody finds it who does not hold the lock. `open_turn` is the turn that is open now, if one is."""

    open_turn: JsonObject | None
    status: str | None
    from_sequence: int | None
    end_sequence: int | None
    output: JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class DueTurn:
    """A session with an open turn, or with closing chunks that are owed."""

    session_id: str
    session_no: int
    since: int
    is_open: bool
    owed: list[JsonObject]
    owed_text: str


class TurnCalls(MessageCalls, StagingCalls):
    """The batches of turns. `store.turn` calls them; they take the lock's token and trust that the caller holds the lock."""

    async def enter_turn(self, entry: TurnEntry, commit_id: str) -> EnteredTurn:
        """Enter a turn: one transaction that also closes an open turn whose Worker died.

        Raises:
            TurnEndedError: the turn has ended, and not by a failure.
            TurnError: the session is of another agent type, or too many closing chunks are owed.
            StateNotFoundError: there is no such session, and `create` is off.
            BudgetExceededError, StaleFencingTokenError.
        """
        earlier, messages = 0, entry.messages
        for _ in range(2):
            try:
                return await self._enter(entry, commit_id, earlier, messages)
            except _AttemptKnown as known:
                earlier, messages = known.turn, []
        raise TurnError(f"turn {entry.turn_id!r} of session {entry.session_id!r} was begun by somebody else as well")

    async def commit_turn(self, commit: TurnCommit, outgoing: Outgoing, base: TurnFields) -> Checkpoint | None:
        """Store a commit, merging what others have written beside the turn; the state is brought up to date.

        Raises:
            StaleStateError: others have changed a field that the turn changed, or have removed history.
            StateNotFoundError: the session has been deleted, or begun anew.
            StaleFencingTokenError: another holder of the lock has written.
        """
        for attempt in range(1, MOST_ATTEMPTS + 1):
            try:
                return await self._commit_once(commit, outgoing)
            except StaleStateError as error:
                if attempt == MOST_ATTEMPTS or error.reason == "edited":
                    raise
                await self._take_up_others(outgoing.state, base)
                outgoing = self.turn_outgoing(outgoing.state)
                await pause_after_conflict(attempt)
            except StagedDiffers:
                if attempt == MOST_ATTEMPTS:
                    raise TurnError(f"the staged changes of session {commit.session_id!r} kept changing") from None
        raise AssertionError("the last attempt returns or raises")

    def turn_outgoing(self, state: AgentState) -> Outgoing:
        """What a commit of the turn stores, fixed now: the state may go on changing.

        Raises:
            StaleStateError: messages that are stored already were changed or removed.
            TypeError, InvalidArgumentError, StateSizeExceededError: a field that cannot be stored.
        """
        return Outgoing.of(state, self._limits, "commit_turn")

    async def close_turn_state(self, commit: TurnCommit) -> None:
        """End the run of a turn that failed: its usage, its settlement and what the stream is owed, no messages or state."""
        guard = self._turn_guard("close_turn", commit.session_id, commit.token, commit.commit_id)
        close = Statement(turn_sql.CLOSE_STATE, (*self._commit(guard), _text(list(commit.owed))))
        await self._batches.write(guard, [close, commit.run_statement(), *commit.more])

    def complete_usage(self, entries: Sequence[UsageEntry | Mapping[str, object]]) -> list[UsageEntry]:
        """The entries with ids, times and prices: sent again, they count once.

        Raises:
            TypeError, InvalidArgumentError: an entry breaks a rule.
        """
        return self._accounts.complete(entries)

    def usage_statements(self, session_id: str, entries: Sequence[UsageEntry]) -> list[Statement]:
        """What records entries of this session as part of a batch of the store."""
        return self._accounts.record(session_id, entries)

    def settle_statements(self, session_id: str, reservation: Reservation, actual: int, now_ms: int) -> list[Statement]:
        """What settles a reservation as part of a batch of the store, once however often it is sent."""
        return self._accounts.settle(session_id, reservation, actual, now_ms)

    def now_ms(self) -> int:
        """Return the present time of the store's clock (milliseconds since 1970)."""
        return self._now_ms()

    async def find_turn(self, session_id: str, turn_id: str) -> StoredTurn | None:
        """The turn of this id and the one that is open, or None if there is no such session."""
        [rows] = await self._batches.read([Statement(turn_sql.SELECT_TURN_RUN, (session_id, turn_id))])
        if not rows:
            return None
        open_turn, status, _, start, end, output, _ = cast("list[Any]", rows[0])
        return StoredTurn(
            open_turn=None if open_turn is None else json.loads(open_turn),
            status=text_of(status),
            from_sequence=start,
            end_sequence=end,
            output=None if output is None else decode_json(output),
        )

    async def list_due_turns(self, limit: int, after: tuple[int, int] = (0, 0)) -> list[DueTurn]:
        """Sessions with an open turn or owed closing chunks, the oldest first: one row read for each, none where there are none."""
        [rows] = await self._batches.read([Statement(turn_sql.LIST_DUE, (*after, limit))])
        return [_due(row) for row in rows]

    async def interrupt_turn(self, session_id: str, token: int, commit_id: str) -> tuple[list[JsonObject], str]:
        """Close the open turn of a session whose lock the caller holds; what streams are owed, and its text."""
        guard = self._guard("interrupt_turn", session_id, token, commit_id)
        now_ms = self._now_ms()
        select = Statement(turn_sql.SELECT_TURN, (session_id, None))
        _, results = await self._batches.guarded(
            guard,
            [
                *self._interrupting(session_id, now_ms),
                Statement(turn_sql.INTERRUPT_STATE, self._commit(guard)),
                select,
            ],
        )
        rows = results[-1] if results else (await self._batches.read([select]))[0]
        text = cast("str", rows[0][1]) if rows else "[]"
        return json.loads(text), text

    async def settle_closings(self, settled: Sequence[tuple[str, str]]) -> None:
        """Forget closing chunks that their streams have, session by session, unless more are owed by now."""
        statements = [Statement(turn_sql.SETTLE_CLOSINGS, pair) for pair in settled]
        if statements:
            await self._batches.repeatable("settle_closings", settled[0][0], statements)

    async def _enter(self, entry: TurnEntry, commit_id: str, earlier: int, messages: list[Message]) -> EnteredTurn:
        now_ms, session_id = self._now_ms(), entry.session_id
        guard = replace(
            self._guard("enter_turn", session_id, entry.token, commit_id),
            must_exist=not entry.create,
            new_messages=len(messages),
            conditions=(_gate(entry, earlier), *self._reserving(entry.reservation, now_ms)),
        )
        created = (session_id, now_ms, entry.agent_type, entry.parent_session_id, new_epoch())
        enter = (*self._commit(guard), len(messages), _text(entry.turn))
        run = (session_id, entry.turn_id, now_ms, entry.token, _text(entry.turn))
        scope = None if entry.reservation is None else entry.reservation.scope
        entered = [Statement(turn_sql.SELECT_TURN, (session_id, scope)), *loading(session_id)]
        first, results = await self._batches.guarded(
            guard,
            [
                *([Statement(turn_sql.CREATE_SESSION, created)] if entry.create else []),
                *self._interrupting(session_id, now_ms),
                *([Statement(turn_sql.RENAME_ATTEMPT, (session_id, entry.turn_id))] if earlier else []),
                Statement(turn_sql.ENTER_STATE, enter),
                *(
                    Statement(
                        message_sql.APPEND_BLOCK,
                        (session_id, len(messages) - block.first_sequence, block.count, block.body),
                    )
                    for block in self._blocks(messages, session_id, guard.operation)
                ),
                Statement(turn_sql.INSERT_TURN_RUN, run),
                *entered,
            ],
        )
        if first is not None:
            results = await self._batches.read(entered)
        return _entered(entry, results[-3:])

    async def _commit_once(self, commit: TurnCommit, outgoing: Outgoing) -> Checkpoint | None:
        guard = replace(
            self._turn_guard(outgoing.operation, commit.session_id, commit.token, commit.commit_id),
            version=outgoing.version,
            history=outgoing.history,
            new_messages=outgoing.added,
            new_checkpoints=int(commit.checkpoint),
        )
        saved, promotes, conditions = await self._promoted(commit, outgoing)
        first = (*self._commit(guard), guard.new_messages, guard.new_checkpoints, new_epoch())
        turn = (None if commit.open_turn is None else _text(commit.open_turn), _text(list(commit.owed)))
        kept = (
            self._checkpoint_statements(commit.session_id, commit.run_id, commit.end_sequence)
            if commit.checkpoint
            else []
        )
        guard = replace(guard, conditions=(*guard.conditions, *conditions))
        done, results = await self._batches.write(
            guard,
            [
                Statement(turn_sql.COMMIT_STATE, (*first, *saved.columns, *turn, int(commit.ended_at is not None))),
                *saved.block_statements(),
                *promotes,
                commit.run_statement(),
                *commit.more,
                *kept,
            ],
        )
        guard.living(done)
        if promotes and results:
            outgoing.state.custom_state = cast("JsonObject", decode_json(saved.custom_state))
        outgoing.bring_up_to_date(done)
        if not commit.checkpoint:
            return None
        if results:
            return codec.bare_checkpoint_of(commit.session_id, results[-1][0])
        return _repeated_checkpoint(commit, outgoing.state, done)

    async def _promoted(
        self, commit: TurnCommit, outgoing: Outgoing
    ) -> tuple[Outgoing, list[Statement], tuple[Condition, ...]]:
        if commit.step_id is None:
            return outgoing, [], ()
        session_id = commit.session_id
        [staged] = await self._batches.read([Statement(SELECT_STAGED, (session_id, commit.step_id))])
        applied = apply_changes(
            session_id,
            cast("JsonObject", decode_json(outgoing.custom_state)),
            [staged_change(row) for row in staged],
            max_bytes=self._limits.max_state_bytes,
            operation=outgoing.operation,
        )
        as_read, delete = promoting(session_id, commit.step_id, staged)
        return outgoing.with_custom_state(applied.text), [delete], as_read

    async def _take_up_others(self, state: AgentState, base: TurnFields) -> None:
        history = codec.history_of(state)
        rows, blocks = await self._batches.read(
            [
                Statement(session_sql.SELECT_STATE, (state.session_id,)),
                Statement(message_sql.BLOCKS_FROM, (state.session_id, history.count, MAX_MESSAGES, None)),
            ]
        )
        if not rows:
            raise StateNotFoundError(state.session_id)
        merged(state, base, codec.state_of(rows[0]), blocks)

    def _reserving(self, reservation: Reservation | None, now_ms: int) -> list[Condition]:
        """The statements that take the reservation, as conditions of entering."""
        if reservation is None:
            return []
        errors: dict[str, Callable[[Facts], Exception]] = {
            "budget": lambda _: BudgetExceededError(reservation.scope, amount=reservation.amount),
            "no_budget": lambda _: UsageError(f"scope {reservation.scope!r} has no budget; set_budget gives it one"),
        }
        reserving = self._accounts.reserve(reservation, now_ms)
        return [Condition(statement=statement, errors=errors) for statement in reserving]

    def _interrupting(self, session_id: str, now_ms: int) -> list[Statement]:
        return [
            Statement(turn_sql.INTERRUPT_RUN, (session_id, now_ms)),
            *self._accounts.settle_interrupted(session_id, now_ms),
        ]

    def _turn_guard(self, operation: str, session_id: str, token: int, commit_id: str) -> Guard:
        is_open = Condition(
            statement=Statement(turn_sql.TURN_IS_OPEN, (session_id, token)),
            errors={"turn_gone": lambda _: StateNotFoundError(session_id)},
        )
        return replace(self._guard(operation, session_id, token, commit_id), conditions=(is_open,))


class _AttemptKnown(Exception):  # noqa: N818 - on its way to the next attempt, no error
    def __init__(self, turn: int) -> None:
        super().__init__()
        self.turn = turn


def _gate(entry: TurnEntry, earlier: int) -> Condition:
    """The condition that the turn may enter: its id is new, or belongs to an attempt that failed."""

    def of_turn(facts: Facts) -> Exception:
        if facts["turn"] is not None and facts["token"] is not None and facts["status"] in RESTARTABLE:
            return _AttemptKnown(facts["turn"])
        output = facts["output"]
        return TurnEndedError(
            entry.session_id,
            entry.turn_id,
            status=text_of(str(facts["status"])),
            output=None if output is None else decode_json(output),
            from_sequence=facts["start_sequence"],
            end_sequence=facts["end_sequence"],
        )

    def of_type(facts: Facts) -> Exception:
        return TurnError(
            f"session {entry.session_id!r} is of agent type {facts['agent_type']!r}, not {entry.agent_type!r}"
        )

    def owing(_: Facts) -> Exception:
        return TurnError(
            f"session {entry.session_id!r} owes its stream {MOST_OWED} closing chunks; call sweep_turns, or reset the stream"
        )

    return Condition(
        statement=Statement(
            turn_sql.TURN_GATE, (entry.session_id, entry.turn_id, earlier, entry.agent_type, MOST_OWED)
        ),
        errors={"turn": of_turn, "agent_type": of_type, "owing": owing},
    )


def _entered(entry: TurnEntry, results: list[list[Row]]) -> EnteredTurn:
    turns, rows, blocks = results
    if not rows:
        raise StateNotFoundError(entry.session_id)
    open_turn, owed, unit = cast("list[Any]", turns[0])
    turn: JsonObject = {} if open_turn is None else json.loads(open_turn)
    if turn.get("token") != entry.token:
        raise StaleFencingTokenError(
            entry.session_id, expected=int(cast("int", turn.get("token", 0))), actual=entry.token
        )
    return EnteredTurn(state=loaded(rows, blocks), turn=turn, owed=json.loads(owed), unit=unit)


def _due(row: Row) -> DueTurn:
    session_id, session_no, since, open_turn, owed = cast("list[Any]", row)
    return DueTurn(
        session_id=session_id,
        session_no=session_no,
        since=since,
        is_open=open_turn is not None,
        owed=json.loads(owed),
        owed_text=owed,
    )


def _repeated_checkpoint(commit: TurnCommit, state: AgentState, done: Commit) -> Checkpoint:
    facts: Row = [
        done.checkpoint_number,
        done.at_ms,
        commit.run_id,
        commit.end_sequence,
        stored_text(state.status),
        state.step_count,
    ]
    return codec.bare_checkpoint_of(commit.session_id, [*facts, done.message_count_after])


def _text(value: JsonValue) -> str:
    return encode_json(value, name="the turn")
