"""Turns in the state store: a batch commits a turn, ends it, or closes it for a Worker that died."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from agents_store_cloudflare.contract.errors import (
    D1StateError,
    StaleStateError,
    StateNotFoundError,
    TurnError,
)
from agents_store_cloudflare.contract.json_values import JsonObject, decode_json
from agents_store_cloudflare.contract.state.records import AgentState
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.state import codec, message_sql, session_sql, turn_sql
from agents_store_cloudflare.state.calls import new_epoch
from agents_store_cloudflare.state.changes import apply_changes
from agents_store_cloudflare.state.contention import MOST_ATTEMPTS, pause_after_conflict
from agents_store_cloudflare.state.damage import open_turn_of, owed_closings_of
from agents_store_cloudflare.state.guard import Condition, Guard
from agents_store_cloudflare.state.history import history_of
from agents_store_cloudflare.state.numbering import MAX_MESSAGES
from agents_store_cloudflare.state.outgoing import Outgoing
from agents_store_cloudflare.state.staged_rows import StagedDiffers, promoting, staged_change
from agents_store_cloudflare.state.staging_sql import SELECT_STAGED
from agents_store_cloudflare.state.stored_text import text_of
from agents_store_cloudflare.state.turn_entering import TurnEntering, turn_text
from agents_store_cloudflare.state.turn_merge import TurnBase, TurnFields, merged, take_promoted
from agents_store_cloudflare.state.turn_records import DueTurn, StoredTurn, TurnCommit, TurnHome, TurnSending

if TYPE_CHECKING:
    from agents_store_cloudflare.contract.usage.budgets import Reservation
    from agents_store_cloudflare.contract.usage.records import UsageEntry

__all__ = ["TurnCalls", "due_turn"]


class TurnCalls(TurnEntering):
    """The batches of turns. `store.turn` calls them with the token of the lock, and trusts that its caller holds the lock."""

    async def commit_turn(self, commit: TurnCommit, sending: TurnSending, base: TurnBase) -> None:
        """Store a commit of a turn. Changes that others have stored meanwhile are merged, and the state is brought up to date.

        Where others have written, the commit is sent again with the state as it is then.

        Args:
            commit: the facts of the commit.
            sending: the state, as it was when the commit began.
            base: the fields that the turn knows to be stored. It is brought up to date too.

        Raises:
            StaleStateError: others have changed a field that the turn changed, or have removed messages.
            StateNotFoundError: the session was deleted, perhaps made anew.
            StaleFencingTokenError: another holder of the lock has written.
        """
        for attempt in range(1, MOST_ATTEMPTS + 1):
            try:
                await self._commit_once(commit, sending, base)
            except StaleStateError as error:
                if attempt == MOST_ATTEMPTS or error.reason == "edited":
                    raise
                await self._take_up_others(sending.outgoing.state, base)
                sending = self.turn_sending(sending.outgoing.state)
                await pause_after_conflict(attempt)
            except StagedDiffers:
                if attempt == MOST_ATTEMPTS:
                    raise TurnError(f"the staged changes of session {commit.session_id!r} kept changing") from None
            else:
                return
        raise AssertionError("the last attempt returns or raises")

    def turn_sending(self, state: AgentState) -> TurnSending:
        """Fix the content of a commit now, so that the state may change while the commit is stored.

        Raises:
            StaleStateError: stored messages were changed or removed in the state.
            TypeError: a field has a wrong type.
            InvalidArgumentError: a field breaks a rule.
            StateSizeExceededError: the state or a message is over a limit.
        """
        return TurnSending(Outgoing.of(state, self._limits, "commit_turn"), TurnFields.of(state))

    async def close_turn_state(self, commit: TurnCommit) -> None:
        """End the run of a turn that failed. The usage, the settlement and the closing chunks are stored. The state is not."""
        guard = self._turn_guard("close_turn", commit.session_id, commit.token, commit.commit_id)
        close = Statement(turn_sql.CLOSE_STATE, (*self._commit(guard), turn_text(list(commit.owed))))
        await self._batches.write(guard, [close, commit.run_statement(), *commit.more])

    def complete_usage(self, entries: Sequence[UsageEntry | Mapping[str, object]]) -> list[UsageEntry]:
        """Return the entries with ids, times and prices. With their ids they count once, however often they are sent.

        Raises:
            TypeError: a field of an entry has a wrong type.
            InvalidArgumentError: an entry breaks a rule, which the message names.
        """
        return self._accounts.complete(entries)

    def usage_statements(self, session_id: str, entries: Sequence[UsageEntry]) -> list[Statement]:
        """Return the statements that record entries of this session as part of a batch of the store."""
        return self._accounts.record(session_id, entries)

    def settle_statements(self, session_id: str, reservation: Reservation, actual: int, now_ms: int) -> list[Statement]:
        """Return the statements that settle a reservation as part of a batch of the store. Sent several times, they settle it once."""
        return self._accounts.settle(session_id, reservation, actual, now_ms)

    async def settle_orphaned(self, session_id: str, token: int, reservation: Reservation, actual: int) -> None:
        """Settle the reservation of a turn whose session was deleted, once, however often the call comes.

        While the turn is the open one of its session, nothing happens: the next turn closes it and settles.

        Args:
            token: the fencing token of the turn.
            actual: what the turn has spent.

        Raises:
            D1StateError: the settlement was not stored. The reservation expires by itself.
        """
        statements = self._accounts.settle_orphaned(session_id, token, reservation, actual, self._now_ms())
        await self._batches.repeatable("close_turn", session_id, statements)

    def turn_home(self, session_id: str) -> TurnHome | None:  # noqa: ARG002 - in a database nothing goes together
        """Return the home that changes the session with its lock and its stream in one call, or None."""
        return None

    async def find_turn(self, session_id: str, turn_id: str) -> StoredTurn | None:
        """Return the turn of this id and the turn that is open now; None if there is no such session."""
        [rows] = await self._batches.read([Statement(turn_sql.SELECT_TURN_RUN, (session_id, turn_id))])
        if not rows:
            return None
        open_turn, status, _, start, end, output, _ = cast("list[Any]", rows[0])
        return StoredTurn(
            open_turn=open_turn_of(session_id, open_turn),
            status=text_of(status),
            from_sequence=start,
            end_sequence=end,
            output=None if output is None else decode_json(output),
        )

    async def list_due_turns(self, limit: int, after: tuple[int, int] = (0, 0)) -> list[DueTurn]:
        """Return the sessions with an open turn or with closing chunks that streams do not have, the oldest first.

        The call reads one row for each of them.

        Args:
            limit: the most sessions.
            after: `since` and `session_no` of the last session of the page before.
        """
        [rows] = await self._batches.read([Statement(turn_sql.LIST_DUE, (*after, limit))])
        return [due_turn(*cast("list[Any]", row)) for row in rows]

    async def interrupt_turn(self, session_id: str, token: int, commit_id: str) -> tuple[list[JsonObject], str]:
        """Close the open turn of a session whose lock the caller holds.

        Returns:
            The closing chunks that streams do not have yet, as a list and as the stored JSON text.
        """
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
        return owed_closings_of(session_id, text), text

    async def settle_closings(self, settled: Sequence[tuple[str, str]]) -> None:
        """Forget closing chunks that their streams have by now, session by session. A session with newer closing chunks keeps all.

        Args:
            settled: for each session its id and the stored JSON text of its closing chunks.
        """
        statements = [Statement(turn_sql.SETTLE_CLOSINGS, pair) for pair in settled]
        if statements:
            await self._batches.repeatable("settle_closings", settled[0][0], statements)

    async def _commit_once(self, commit: TurnCommit, sending: TurnSending, base: TurnBase) -> None:
        outgoing = sending.outgoing
        guard = replace(
            self._turn_guard(outgoing.operation, commit.session_id, commit.token, commit.commit_id),
            version=outgoing.version,
            history=outgoing.history,
            new_messages=outgoing.added,
            new_checkpoints=int(commit.checkpoint),
        )
        saved, promotes, conditions = await self._promoted(commit, outgoing)
        first = (*self._commit(guard), guard.new_messages, guard.new_checkpoints, new_epoch())
        turn = (None if commit.open_turn is None else turn_text(commit.open_turn), turn_text(list(commit.owed)))
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
            commit.database,
        )
        guard.living(done)
        outgoing.bring_up_to_date(done)
        base.known = sending.fields
        if commit.step_id is None:
            return
        if results:
            take_promoted(outgoing.state, base, sending.fields, cast("JsonObject", decode_json(saved.custom_state)))
        else:  # a repetition, and what was promoted then is not known here: the next commit takes it up as a change of others
            outgoing.state.version -= 1

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

    async def _take_up_others(self, state: AgentState, base: TurnBase) -> None:
        history = history_of(state)
        rows, blocks = await self._batches.read(
            [
                Statement(session_sql.SELECT_STATE, (state.session_id,)),
                Statement(message_sql.BLOCKS_FROM, (state.session_id, history.count, MAX_MESSAGES, None)),
            ]
        )
        if not rows:
            raise StateNotFoundError(state.session_id)
        merged(state, base, codec.state_of(rows[0]), blocks)

    def _turn_guard(self, operation: str, session_id: str, token: int, commit_id: str) -> Guard:
        is_open = Condition(
            statement=Statement(turn_sql.TURN_IS_OPEN, (session_id, token)),
            errors={"turn_gone": lambda _: StateNotFoundError(session_id)},
        )
        return replace(self._guard(operation, session_id, token, commit_id), conditions=(is_open,))


def due_turn(session_id: str, session_no: int, since: int, open_turn: str | None, owed_text: str) -> DueTurn:
    """Return the due turn of a row of `LIST_DUE`. A damaged row has the reason in `unreadable`."""
    due = DueTurn(
        session_id=str(session_id),
        session_no=session_no,
        since=since,
        is_open=open_turn is not None,
        owed_text=owed_text,
    )
    try:
        open_turn_of(session_id, open_turn)
        return replace(due, owed=owed_closings_of(session_id, owed_text))
    except D1StateError as error:
        return replace(due, unreadable=error.message)
