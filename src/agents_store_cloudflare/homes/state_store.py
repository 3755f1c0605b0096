"""`HomeStateStore`: the state store over homes, with the few calls that need several homes."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Final, LiteralString, cast

from agents_store_cloudflare.contract.arguments import (
    UNSET,
    FencingToken,
    check_flag,
    check_whole_number,
)
from agents_store_cloudflare.contract.errors import (
    AgentsStoreError,
    CheckpointNotFoundError,
    InvalidArgumentError,
    SessionExistsError,
    StaleStateError,
    StateNotFoundError,
)
from agents_store_cloudflare.contract.homes import home_of
from agents_store_cloudflare.contract.state.marks import AnyVersion
from agents_store_cloudflare.contract.state.records import (
    AgentState,
    Checkpoint,
    Message,
    PromoteResult,
    SessionPage,
    SessionTree,
)
from agents_store_cloudflare.contract.usage.budgets import Reservation
from agents_store_cloudflare.contract.usage.records import UsageEntry
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.homes.accounts import OutboxAccounts
from agents_store_cloudflare.homes.budgets import HomeBudgets
from agents_store_cloudflare.homes.database import ObjectHomes
from agents_store_cloudflare.homes.directory import LISTED, Directory
from agents_store_cloudflare.state import checkpoint_sql, codec, message_sql, session_sql
from agents_store_cloudflare.state.calls import state_for
from agents_store_cloudflare.state.checkpoints import existing_checkpoint
from agents_store_cloudflare.state.commit_sql import FIRST_COMMIT
from agents_store_cloudflare.state.damage import open_turn_of
from agents_store_cloudflare.state.deletions import ANY_SESSION, DeletionPlan, ExpiredTrees
from agents_store_cloudflare.state.guard import Guard
from agents_store_cloudflare.state.numbering import MAX_MESSAGES
from agents_store_cloudflare.state.options import StateStoreOptions
from agents_store_cloudflare.state.outgoing import Outgoing
from agents_store_cloudflare.state.session_lists import MAX_PAGE, ListedSessions
from agents_store_cloudflare.state.turn_records import DueTurn, EnteredTurn, TurnEntry, TurnHome
from agents_store_cloudflare.state.turn_store import D1TurnStore
from agents_store_cloudflare.state.turns import due_turn
from agents_store_cloudflare.usage import UsageOptions

__all__ = ["HomeStateStore"]

# ?1 session id -> (open turn, owed closings), or no row if there is neither. Primary key.
_DUE_TURN: LiteralString = """
    SELECT open_turn, owed_closings
    FROM __agents_states
    WHERE session_id = ?1
      AND turn_since IS NOT NULL
"""

FROM_A_LIST: Final = ("agent_type", "status", "step_count", "expires_at")
"""The attributes that a save takes from a state of a list, in addition to its new messages."""


class HomeStateStore(D1TurnStore):
    """The state store over homes. It has the calls, records and errors of `D1StateStore`.

    `list_sessions` and `cleanup_expired_sessions` read the directory. A fork into another home takes two calls.

    Args:
        homes: finds the databases of sessions.
        directory: the directory of sessions in D1.
        budgets: the budgets in D1.
    """

    def __init__(
        self,
        homes: ObjectHomes,
        directory: Directory,
        budgets: HomeBudgets,
        *,
        options: StateStoreOptions | None = None,
        usage: UsageOptions | None = None,
    ) -> None:
        given = options or StateStoreOptions()
        super().__init__(homes, options=given, accounts=OutboxAccounts(usage, given.now_ms))
        self._homes = homes
        self._directory = directory
        self._budgets = budgets

    async def save_state(
        self,
        session_id: str,
        state: AgentState | Mapping[str, object],
        *,
        expected_version: int | AnyVersion | None = None,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
        usage: Sequence[UsageEntry | Mapping[str, object]] = (),
    ) -> int:
        """Save a state and return the new version, as `D1StateStore.save_state` does.

        A state from `list_sessions` is completed first. Changes to fields that the directory does not know are refused.
        """
        given = state_for(session_id, state)
        whole = await self._completed(given) if LISTED in given.extra else given
        version = await super().save_state(
            session_id,
            whole,
            expected_version=expected_version,
            fencing_token=fencing_token,
            commit_id=commit_id,
            usage=usage,
        )
        if whole is not given:
            for field in fields(AgentState):
                setattr(given, field.name, getattr(whole, field.name))
        return version

    async def save_checkpoint(
        self,
        session_id: str,
        state: AgentState | Mapping[str, object] | None = None,
        *,
        run_id: str | None = None,
        stream_sequence: int | None = None,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> Checkpoint:
        return await super().save_checkpoint(
            session_id,
            None if state is None else _loaded(state_for(session_id, state)),
            run_id=run_id,
            stream_sequence=stream_sequence,
            fencing_token=fencing_token,
            commit_id=commit_id,
        )

    async def save_state_and_promote_staging(
        self,
        session_id: str,
        state: AgentState | Mapping[str, object],
        *,
        step_id: str,
        checkpoint: bool = True,
        run_id: str | None = None,
        stream_sequence: int | None = None,
        expected_version: int | AnyVersion | None = None,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> PromoteResult:
        return await super().save_state_and_promote_staging(
            session_id,
            _loaded(state_for(session_id, state)),
            step_id=step_id,
            checkpoint=checkpoint,
            run_id=run_id,
            stream_sequence=stream_sequence,
            expected_version=expected_version,
            fencing_token=fencing_token,
            commit_id=commit_id,
        )

    async def append_messages(
        self,
        session: str | AgentState,
        messages: Iterable[Message | Mapping[str, object]],
        *,
        create: str | None = None,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> int:
        if isinstance(session, AgentState):
            _loaded(session)
        return await super().append_messages(
            session, messages, create=create, fencing_token=fencing_token, commit_id=commit_id
        )

    async def fork_session(
        self,
        session_id: str,
        checkpoint_id: str,
        new_session_id: str,
        *,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> AgentState:
        """Copy a checkpoint into a new session.

        A fork into another home takes two calls: one reads the checkpoint, and one creates the session.
        """
        if home_of(session_id) == home_of(new_session_id):
            return await super().fork_session(
                session_id, checkpoint_id, new_session_id, fencing_token=fencing_token, commit_id=commit_id
            )
        request = (session_id, checkpoint_id)
        guard = self._guard("fork_session", new_session_id, fencing_token, commit_id, *request)
        guard = replace(guard, must_exist=False, version=0)
        try:
            state = await self._copy_of(session_id, checkpoint_id, new_session_id)
        except (CheckpointNotFoundError, StateNotFoundError):
            # The source may be deleted since. A repetition is answered nevertheless.
            rows = await self._batches.read([Statement(FIRST_COMMIT, (new_session_id, guard.commit_id))])
            if not rows[0]:
                raise
            text, past = rows[0][0]
            guard.living(guard.first(cast("str", text), past=bool(past)))
            return await self.load_state(new_session_id, required=True)
        return await self._forked(state, guard)

    async def cleanup_expired_trees(
        self, now: int | None = None, limit: int = 100, *, delete_usage: bool = False
    ) -> ExpiredTrees:
        """Delete expired sessions. The directory proposes homes, and each home deletes the sessions that have expired by its own rows."""
        at_ms = None if now is None else check_whole_number(now, "now")
        check_whole_number(limit, "limit", low=1, high=MAX_PAGE)
        check_flag(delete_usage, "delete_usage")
        session_ids: list[str] = []
        streams: dict[str, frozenset[str]] = {}
        for home, count in await self._directory.expired(at_ms, limit):
            trees = await self._clean_up(home, at_ms, count, usage=delete_usage)
            session_ids.extend(trees.session_ids)
            streams |= await self._lives_without_used(home, trees.streams)
            if not trees.session_ids:
                await self._homes.project(home)  # the directory is out of date, and would propose this home for ever
        return ExpiredTrees(session_ids=tuple(session_ids), streams=streams)

    async def find_expired_streams(self, now: int | None, limit: int = 100) -> Mapping[str, frozenset[str]]:
        """Find the streams of expired sessions in the homes that the directory proposes."""
        check_whole_number(limit, "limit", low=1, high=MAX_PAGE)
        at_ms = None if now is None else check_whole_number(now, "now")
        streams: dict[str, frozenset[str]] = {}
        for home, count in await self._directory.expired(at_ms, limit):
            streams |= await self._lives_without_used(home, await self._expired_streams(home, at_ms, count))
        return streams

    async def _lives_without_used(self, home: str, streams: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
        return {stream_id: streams[stream_id] for stream_id in await self._without_used(home, streams)}

    async def plan_deletion(
        self,
        session_id: str,
        *,
        expected_version: int | None = None,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> DeletionPlan:
        """Ask whether a session may be deleted. A stream with the name of another home is left out if a session there uses it."""
        plan = await super().plan_deletion(
            session_id, expected_version=expected_version, fencing_token=fencing_token, commit_id=commit_id
        )
        kept = await self._without_used(home_of(session_id), plan.streams)
        streams = {stream_id: plan.streams[stream_id] for stream_id in kept}
        return replace(plan, streams=streams, tree=replace(plan.tree, stream_ids=kept))

    async def get_session_tree(self, session_id: str) -> SessionTree:
        tree = await super().get_session_tree(session_id)
        return replace(tree, stream_ids=await self._without_used(home_of(session_id), tree.stream_ids))

    async def _without_used(self, home: str, stream_ids: Iterable[str]) -> tuple[str, ...]:
        """Return the streams, without those with the name of another home whose session uses them."""
        return tuple(
            [
                stream_id
                for stream_id in stream_ids
                if not _has_home(stream_id)
                or home_of(stream_id) == home
                or not await self._is_used(stream_id, stream_id)
            ]
        )

    async def is_stream_used(self, session_id: str, stream_id: str) -> bool:
        """Return whether a session uses the stream.

        Only two homes are asked: the home with the stream's name, and the session's home.

        A session of a third home that writes to the stream is not found.
        """
        places = {place for place in (stream_id, session_id) if place != ANY_SESSION and _has_home(place)}
        used = [await self._is_used(place, stream_id) for place in places]
        return any(used)

    async def _is_used(self, place: str, stream_id: str) -> bool:
        return await super().is_stream_used(place, stream_id)

    def turn_home(self, session_id: str) -> TurnHome | None:
        return self._homes.turn_home(session_id)

    async def enter_turn(self, entry: TurnEntry, commit_id: str) -> EnteredTurn:
        """Enter a turn. Its reservation is made in D1 before, and is given back if the turn cannot be entered."""
        if entry.reservation is None:
            return await super().enter_turn(entry, commit_id)
        reservation, unit = await self._budgets.reserve(entry.reservation, entry.reserved_at)
        try:
            entered = await super().enter_turn(entry.reserving(reservation), commit_id)
        except BaseException as error:
            if not (isinstance(error, AgentsStoreError) and error.outcome_unknown):
                await self._budgets.release(reservation)
            raise
        return replace(entered, unit=unit)

    async def settle_orphaned(self, session_id: str, token: int, reservation: Reservation, actual: int) -> None:
        """Settle as `D1TurnStore.settle_orphaned` does, directly in D1, because a home without a session has no outbox."""
        [rows] = await self._batches.read([Statement(_DUE_TURN, (session_id,))])
        open_turn = open_turn_of(session_id, cast("str | None", rows[0][0]) if rows else None)
        if open_turn is None or open_turn["token"] != token:
            await self._budgets.settle(reservation, actual)

    async def list_due_turns(self, limit: int, after: tuple[int, int] = (0, 0)) -> list[DueTurn]:
        """Return the due turns. The directory proposes sessions, and each session's home has the facts.

        A home that cannot be reached does not stop the others. When the directory is out of date, the home sends its session again.
        Otherwise the directory would propose the session for ever.
        """
        return [await self._due_turn(*each) for each in await self._directory.due_turns(limit, after)]

    async def _due_turn(self, session_id: str, place: int, since: int) -> DueTurn:
        try:
            [rows] = await self._batches.read([Statement(_DUE_TURN, (session_id,))])
            for open_turn, owed in cast("list[tuple[str | None, str]]", rows):
                return due_turn(session_id, place, since, open_turn, owed)
            await self._homes.project(session_id)
        except AgentsStoreError as error:
            return DueTurn(session_id=session_id, session_no=place, since=since, unreadable=error.message)
        return DueTurn(session_id=session_id, session_no=place, since=since)

    async def settle_closings(self, settled: Sequence[tuple[str, str]]) -> None:
        """Forget closing chunks that their streams have by now, home by home."""
        for pair in settled:
            await super().settle_closings([pair])

    async def _listed(self, wanted: ListedSessions) -> SessionPage:
        return await self._directory.page(wanted)

    async def _completed(self, listed: AgentState) -> AgentState:
        """Load the whole state of a session from a list, and apply the changes that the caller made to the listed state."""
        changed = copy.deepcopy(listed)
        if changed.custom_state or changed.output is not None or changed.error is not None:
            raise _not_loaded(listed)
        whole = await self.load_state(changed.session_id, required=True, messages="none")
        if whole.version != changed.version:
            raise StaleStateError(changed.session_id, reason="version", expected=changed.version, actual=whole.version)
        for name in FROM_A_LIST:
            setattr(whole, name, getattr(changed, name))
        whole.messages = changed.messages
        return whole

    async def _copy_of(self, session_id: str, checkpoint_id: str, new_session_id: str) -> AgentState:
        name, _ = existing_checkpoint(session_id, checkpoint_id)
        rows, blocks, sessions = await self._batches.read(
            [
                Statement(checkpoint_sql.SELECT_CHECKPOINT, (session_id, name.number)),
                Statement(checkpoint_sql.BLOCKS_OF_CHECKPOINT, (session_id, name.number)),
                Statement(session_sql.SELECT_STATE, (session_id,)),
            ]
        )
        if not sessions:
            raise StateNotFoundError(session_id)
        checkpoint = codec.checkpoint_of(rows[0], blocks) if rows else None
        if checkpoint is None or checkpoint.state is None or checkpoint.id != checkpoint_id:
            raise CheckpointNotFoundError(session_id, checkpoint_id)
        expires_at = codec.state_of(sessions[0]).expires_at
        return replace(
            checkpoint.state,
            session_id=new_session_id,
            stream_id=new_session_id,
            parent_session_id=None,
            root_session_id=None,
            version=0,
            expires_at=expires_at if expires_at is not None and expires_at > self._now_ms() else None,
            stored_history=None,
        )

    async def _forked(self, state: AgentState, guard: Guard) -> AgentState:
        session_id = guard.session_id
        outgoing = Outgoing.of(state, self._limits, guard.operation)
        guard = replace(guard, history=outgoing.history, new_messages=outgoing.added)
        loading = [
            Statement(session_sql.SELECT_STATE, (session_id,)),
            Statement(message_sql.BLOCKS_FROM, (session_id, 0, MAX_MESSAGES, MAX_MESSAGES)),
        ]
        try:
            commit, results = await self._batches.write(guard, [*self._save_statements(outgoing, guard), *loading])
        except StaleStateError as error:
            raise SessionExistsError(session_id) from error
        return await self._state_after(guard, commit, results)


def _has_home(session_id: str) -> bool:
    try:
        home_of(session_id)
    except InvalidArgumentError:
        return False
    return True


def _loaded(state: AgentState) -> AgentState:
    """Return the state if it does not come from a list.

    Raises:
        InvalidArgumentError: the state comes from a list.
    """
    if LISTED in state.extra:
        raise _not_loaded(state)
    return state


def _not_loaded(state: AgentState) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"the state of session {state.session_id!r} is from list_sessions, which gives what the directory knows; load_state gives "
        "the whole state"
    )
