"""The records of turns in the state store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, cast

from agents_store_cloudflare.contract.json_values import JsonObject, JsonValue
from agents_store_cloudflare.contract.state.records import AgentState, Message
from agents_store_cloudflare.contract.usage.budgets import Reservation
from agents_store_cloudflare.database import Database, Statement
from agents_store_cloudflare.state import turn_sql
from agents_store_cloudflare.state.outgoing import Outgoing
from agents_store_cloudflare.state.stored_text import stored_text
from agents_store_cloudflare.state.turn_merge import TurnFields

if TYPE_CHECKING:
    from agents_store_cloudflare.objects.companion import Companion

__all__ = [
    "DueTurn",
    "EnteredTurn",
    "NotTogetherError",
    "StoredTurn",
    "TurnCommit",
    "TurnEntry",
    "TurnHome",
    "TurnSending",
    "kept_reservation",
]


def kept_reservation(reservation: Reservation) -> JsonValue:
    """Return a reservation as the open turn of the state row keeps it."""
    return [reservation.scope, reservation.expires_at, reservation.id, reservation.amount]


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnEntry:
    """The facts with which a turn enters.

    Attributes:
        token: the fencing token of the session's lock, or `LOCK_TOKEN` if the same call acquires the lock.
        turn: the JSON object that the state row keeps while the turn is open.
        messages: messages to store first.
        create: whether to make a missing session.
        reservation: the budget that the turn takes, or None.
        reserved_at: the Worker's time at which the reservation was made up; None after a correction by the database's clock.
        database: sends the batch together with other calls, or None.
    """

    session_id: str
    turn_id: str
    agent_type: str
    token: int
    turn: JsonObject
    messages: list[Message] = field(default_factory=list[Message])
    parent_session_id: str | None = None
    create: bool = True
    reservation: Reservation | None = None
    reserved_at: int | None = None
    database: Database | None = None

    def reserving(self, reservation: Reservation) -> TurnEntry:
        """Return the entry with a reservation by the database's clock."""
        turn = {**self.turn, "reservation": kept_reservation(reservation)}
        return replace(self, reservation=reservation, reserved_at=None, turn=turn)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnteredTurn:
    """A turn that has entered.

    Attributes:
        state: the loaded state.
        turn: the JSON object of the open turn, with its number.
        owed: the closing chunks that streams do not have yet.
        unit: the unit of the turn's budget, or None.
    """

    state: AgentState
    turn: JsonObject
    owed: list[JsonObject]
    unit: str | None

    @property
    def reservation(self) -> Reservation | None:
        """The reservation that the open turn has, or None."""
        kept = cast("list[Any] | None", self.turn.get("reservation"))
        if kept is None:
            return None
        scope, expires_at, reservation_id, amount = kept
        return Reservation(id=reservation_id, scope=scope, amount=amount, expires_at=expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnCommit:
    """The facts that one commit of a turn stores beside the state.

    Attributes:
        number: the number of the turn.
        open_turn: the JSON object of the turn while it stays open, or None.
        owed: the closing chunks that streams do not have yet.
        status: the status of the run.
        ended_at: when the run ended (milliseconds since 1970); None while the turn goes on.
        checkpoint: whether to keep a checkpoint.
        step_id: the step whose staged changes are promoted, or None.
        more: statements that belong to the same batch.
        database: sends the batch together with other calls, or None.
    """

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
    database: Database | None = None

    def run_statement(self) -> Statement:
        """Return the statement that brings the run up to date."""
        facts = (stored_text(self.status), self.ended_at, self.step_count, self.from_sequence, self.end_sequence)
        return Statement(
            turn_sql.UPDATE_TURN_RUN, (self.session_id, self.number, *facts, self.output, stored_text(self.error))
        )


class NotTogetherError(Exception):
    """The home could not enter the turn in one call, and nothing has happened. The calls go one by one.

    Args:
        is_held: somebody holds the home's lock. Otherwise lock and stream have objects of their own.
    """

    def __init__(self, *, is_held: bool) -> None:
        super().__init__()
        self.is_held = is_held


class TurnHome(Protocol):
    """The home of a session, as its turns use it: one call changes the session, its lock and its stream."""

    def entering(self, acquire: Companion, others: Sequence[Companion]) -> Database:
        """Return a database whose batch comes after an acquire of the lock, and before the other calls."""
        ...

    def committing(self, others: Sequence[Companion], *, is_last: bool) -> Database:
        """Return a database whose batch comes before the other calls.

        Args:
            is_last: the batch ends the turn, so no other call to the home follows soon.
        """
        ...


@dataclass(frozen=True, slots=True)
class TurnSending:
    """The content of a commit, fixed so that the state may change while the commit is stored; and its fields as they are then."""

    outgoing: Outgoing
    fields: TurnFields


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTurn:
    """A turn for a caller without the lock. `open_turn` is the session's open turn, or None."""

    open_turn: JsonObject | None
    status: str | None
    from_sequence: int | None
    end_sequence: int | None
    output: JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class DueTurn:
    """A session with an open turn, or with closing chunks that its streams do not have yet.

    Attributes:
        since: when the turn was opened (milliseconds since 1970).
        is_open: whether a turn is open.
        owed: the closing chunks.
        owed_text: the closing chunks as the stored JSON text. None when the session has neither an open turn nor closing chunks.
        unreadable: why the session cannot be swept, or None.
    """

    session_id: str
    session_no: int
    since: int
    is_open: bool = False
    owed: list[JsonObject] = field(default_factory=list["JsonObject"])
    owed_text: str | None = None
    unreadable: str | None = None
