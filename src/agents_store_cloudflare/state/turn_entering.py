"""Enters a turn: one batch loads the session, closes a turn whose Worker died, and opens this turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from agents_store_cloudflare.contract.errors import (
    BudgetExceededError,
    StaleFencingTokenError,
    StateNotFoundError,
    TurnEndedError,
    TurnError,
    UsageError,
)
from agents_store_cloudflare.contract.json_values import JsonValue, decode_json, encode_json
from agents_store_cloudflare.contract.state.records import Message
from agents_store_cloudflare.database import LOCK_TOKEN, Row, Statement
from agents_store_cloudflare.state import message_sql, turn_sql
from agents_store_cloudflare.state.calls import new_epoch
from agents_store_cloudflare.state.damage import open_turn_of, owed_closings_of
from agents_store_cloudflare.state.guard import Condition, Facts
from agents_store_cloudflare.state.loading import loaded, loading
from agents_store_cloudflare.state.messages import MessageCalls
from agents_store_cloudflare.state.staging import StagingCalls
from agents_store_cloudflare.state.stored_text import stored_text, text_of
from agents_store_cloudflare.state.turn_records import EnteredTurn, TurnEntry
from agents_store_cloudflare.usage.reserving import by_database_clock

if TYPE_CHECKING:
    from agents_store_cloudflare.contract.usage.budgets import Reservation

__all__ = ["RESTARTABLE", "TurnEntering", "turn_text"]

MOST_OWED: Final = 8
RESTARTABLE: Final = frozenset({"failed", "interrupted", "running"})
"""The statuses after which a turn id may start again. A running turn is dead when another caller has its lock."""


class TurnEntering(MessageCalls, StagingCalls):
    """The batch that enters a turn."""

    async def enter_turn(self, entry: TurnEntry, commit_id: str) -> EnteredTurn:
        """Enter a turn: one transaction that also closes an open turn whose Worker died.

        Raises:
            TurnEndedError: the turn has ended, and not by a failure.
            TurnError: the session has another agent type, or too many of its closing chunks are not published.
            StateNotFoundError: there is no such session, and `create` is False.
            BudgetExceededError: the reservation does not fit.
            StaleFencingTokenError: a newer holder of the lock has written.
        """
        self._batches.homes.admit(entry.session_id, entry.parent_session_id)
        earlier, messages = 0, entry.messages
        enter = self._enter if entry.reservation is None else self._enter_in_time
        for _ in range(2):
            try:
                return await enter(entry, commit_id, earlier, messages)
            except _AttemptKnown as known:
                earlier, messages = known.turn, []
        raise TurnError(f"turn {entry.turn_id!r} of session {entry.session_id!r} was begun by somebody else as well")

    async def _enter_in_time(
        self, entry: TurnEntry, commit_id: str, earlier: int, messages: list[Message]
    ) -> EnteredTurn:
        """Enter, and if the Worker's clock is wrong, again with a reservation by the database's clock."""
        try:
            return await self._enter(entry, commit_id, earlier, messages)
        except _WrongClock as wrong:
            return await self._enter(entry.reserving(wrong.corrected), commit_id, earlier, messages)

    async def _enter(self, entry: TurnEntry, commit_id: str, earlier: int, messages: list[Message]) -> EnteredTurn:
        now_ms, session_id = self._now_ms(), entry.session_id
        guard = replace(
            self._guard("enter_turn", session_id, entry.token, commit_id),
            must_exist=not entry.create,
            new_messages=len(messages),
            conditions=(_gate(entry, earlier), *self._reserving(entry.reservation, entry.reserved_at)),
        )
        created = (session_id, now_ms, stored_text(entry.agent_type), entry.parent_session_id, new_epoch())
        enter = (*self._commit(guard), len(messages), turn_text(entry.turn), entry.token)
        run = (session_id, entry.turn_id, entry.token)
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
            entry.database,
        )
        if first is not None:
            results = await self._batches.read(entered)
        return _entered(entry, results[-3:])

    def _reserving(self, reservation: Reservation | None, now_ms: int | None) -> list[Condition]:
        """Return the statements that take the reservation, as conditions of the turn."""
        if reservation is None:
            return []
        errors: dict[str, Callable[[Facts], Exception]] = {
            "budget": lambda _: BudgetExceededError(reservation.scope, amount=reservation.amount),
            "no_budget": lambda _: UsageError(f"scope {reservation.scope!r} has no budget; set_budget gives it one"),
        }
        if now_ms is not None:
            errors["clock"] = lambda facts: _WrongClock(by_database_clock(reservation, now_ms, facts))
        reserving = self._accounts.reserve(reservation, now_ms)
        return [Condition(statement=statement, errors=errors) for statement in reserving]

    def _interrupting(self, session_id: str, now_ms: int) -> list[Statement]:
        return [
            Statement(turn_sql.INTERRUPT_RUN, (session_id, now_ms)),
            *self._accounts.settle_interrupted(session_id, now_ms),
        ]


class _WrongClock(Exception):  # noqa: N818 - it starts the next attempt and is no error
    def __init__(self, corrected: Reservation) -> None:
        super().__init__()
        self.corrected = corrected


class _AttemptKnown(Exception):  # noqa: N818 - it starts the next attempt and is no error
    def __init__(self, turn: int) -> None:
        super().__init__()
        self.turn = turn


def _gate(entry: TurnEntry, earlier: int) -> Condition:
    """Return the condition that the turn may enter: its id is new, or belongs to an attempt that failed."""

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
            f"session {entry.session_id!r} is of agent type {text_of(facts['agent_type'])!r}, not {entry.agent_type!r}"
        )

    def owing(_: Facts) -> Exception:
        return TurnError(
            f"session {entry.session_id!r} owes its stream {MOST_OWED} closing chunks; call sweep_turns, or reset the stream"
        )

    return Condition(
        statement=Statement(
            turn_sql.TURN_GATE, (entry.session_id, entry.turn_id, earlier, stored_text(entry.agent_type), MOST_OWED)
        ),
        errors={"turn": of_turn, "agent_type": of_type, "owing": owing},
    )


def _entered(entry: TurnEntry, results: list[list[Row]]) -> EnteredTurn:
    turns, rows, blocks = results
    if not rows:
        raise StateNotFoundError(entry.session_id)
    open_turn, owed, unit = cast("list[Any]", turns[0])
    turn = open_turn_of(entry.session_id, open_turn) or {}
    if entry.token is not LOCK_TOKEN and turn.get("token") != entry.token:
        raise StaleFencingTokenError(
            entry.session_id, expected=int(cast("int", turn.get("token", 0))), actual=entry.token
        )
    return EnteredTurn(state=loaded(rows, blocks), turn=turn, owed=owed_closings_of(entry.session_id, owed), unit=unit)


def turn_text(value: JsonValue) -> str:
    """Return a part of a turn as the JSON text that the state row keeps."""
    return encode_json(value, name="the turn")
