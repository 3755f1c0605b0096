"""Several Workers whose turns go well, fail, die, are overtaken and swept, beside a model of what must be stored."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from agents_store_cloudflare import (
    AgentsStoreError,
    CloudflareStore,
    LockLostError,
    LockNotAcquiredError,
    TurnEndedError,
    TurnError,
    TurnRunningError,
)
from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.locks.lock_object import LockObject
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state.turn_entering import MOST_OWED
from agents_store_cloudflare.testing import FakeClock, LocalObjects, SqliteDatabase
from agents_store_cloudflare.turns import Turn
from tests.turns.faulty_worker import FaultyWorker, Outcome, WorkerDiedError
from tests.turns.turn_actor import TurnActor
from tests.turns.turn_model import AMOUNT, ENDED, SPENT, RunModel, SessionModel

__all__ = ["Fault", "Leaving", "TurnWalk"]

TTL_S = 300
MAX_HOLD_S = 86_400
"""The reservations outlast the walk. Their expiry has tests of its own."""

Fault: TypeAlias = "tuple[int, Outcome] | None"
Leaving: TypeAlias = Literal["ends", "suspends", "raises", "is cancelled", "dies"]
STATUS: dict[Leaving, str] = {
    "ends": "completed",
    "suspends": "suspended",
    "raises": "failed",
    "is cancelled": "interrupted",
    "dies": "running",
}


@dataclass(slots=True)
class Held:
    """What is known about a session's lock.

    Attributes:
        by: the run whose Worker has it; None where the lock is free, or where somebody may have it who died.
        until_ms: when it is free at the latest.
    """

    by: RunModel | None = None
    until_ms: int = 0


@dataclass(slots=True)
class Living:
    """An open turn, with what it has recorded since its last commit."""

    actor: TurnActor
    session: SessionModel
    run: RunModel
    said: list[str] = field(default_factory=list[str])
    chunks: list[str] = field(default_factory=list[str])
    spent: int = 0

    def taken(self) -> tuple[list[str], list[str], int]:
        """Return the work to store now, and clear it."""
        taken = self.said, self.chunks, self.spent
        self.said, self.chunks, self.spent = [], [], 0
        return taken


class TurnWalk:
    """The steps. Each one acts, compares its outcome with the model, and updates the model."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.clock = FakeClock()
        self.database = SqliteDatabase(now_ms=self.clock.now_ms)
        self.streams = LocalObjects(StreamObject, clock=self.clock)
        self.locks = LocalObjects(LockObject, clock=self.clock)
        self.observer: CloudflareStore = self._worker(None).store
        self.sessions = {name: SessionModel(name, f"{name}-0") for name in names}
        self.living: dict[str, Living] = {}
        self.ghosts: list[Living] = []
        self._held = {name: Held() for name in names}
        self._workers: list[TurnActor] = []  # their locks are kept, so that none is dropped while it is held
        self._count = 0

    @classmethod
    async def of(cls, *names: str) -> "TurnWalk":
        """Return a walk on a new database with budgets for the sessions of these names."""
        walk = cls(names)
        await run_migration(walk.database)
        for session in walk.sessions.values():
            await walk.observer.usage_store.set_budget(session.scope, 1_000_000, "tokens")
        return walk

    async def enter(self, name: str, turn_id: str, fault: Fault) -> None:
        """Send a request to a new Worker."""
        session, held = self.sessions[name], self._held[name]
        worker = self._worker(fault)
        asked = {"role": "user", "content": f"question {turn_id}"}
        block = worker.store.turn(
            name,
            agent_type="a",
            turn_id=turn_id,
            messages=[asked],
            budget=(session.scope, AMOUNT),
            ttl=TTL_S,
            max_hold=MAX_HOLD_S,
            auto_refresh=False,
        )
        actor = TurnActor(worker, block, self.clock)
        self._workers.append(actor)
        await actor.enter()
        worker.forgive()
        if worker.is_dead:
            await self._died_entering(session, turn_id)
        elif actor.turn is None:
            self._refused(session, held, turn_id, actor.error)
        else:
            self._entered(session, held, turn_id, actor, actor.turn)

    async def _died_entering(self, session: SessionModel, turn_id: str) -> None:
        runs = await self.observer.state_store.list_runs(session.name)
        if len(runs) > len(session.runs):
            assert not session.has_ended(turn_id)
            run = session.entered(turn_id)
            run.has_stream = await self.observer.stream_manager.get_info(session.name) is not None
            session.is_told = False
        self._perhaps_held(session.name)

    def _refused(self, session: SessionModel, held: Held, turn_id: str, error: BaseException | None) -> None:
        if session.has_ended(turn_id):
            assert isinstance(error, TurnEndedError), error
            return
        if type(error) is TurnError:
            # Turn after turn died unseen and nobody has swept: what a session owes its stream has a bound.
            assert "closing chunks" in str(error), error
            assert sum(run.status == "interrupted" for run in session.runs) >= MOST_OWED
            return
        assert isinstance(error, TurnRunningError | LockNotAcquiredError), error
        assert not self._is_free(held), f"{error!r}, but the lock is free"
        if held.by is not None:
            is_running = held.by is session.open_run and held.by.turn_id == turn_id
            assert isinstance(error, TurnRunningError) == is_running, error

    def _entered(self, session: SessionModel, held: Held, turn_id: str, actor: TurnActor, turn: Turn) -> None:
        assert not session.has_ended(turn_id), f"turn {turn_id} ran twice"
        assert held.by is None or self._is_free(held), "two turns at a time"
        assert turn.resumed_from == (None if session.suspended_by is None else {"by": session.suspended_by})
        run = session.entered(turn_id)
        session.is_told = True
        self._held[session.name] = Held(run, self.clock.now_ms() + TTL_S * 1000)
        self.living[session.name] = Living(actor, session, run)

    async def speak(self, name: str) -> None:
        """Let the turn make a message that no commit has stored yet."""
        await self._speak(self.living[name])

    async def _speak(self, living: Living) -> bool:
        self._count += 1
        text = f"said {self._count}"

        async def act(turn: Turn) -> None:
            await turn.write({"type": "text", "text": text})
            turn.add({"role": "assistant", "content": text})
            turn.state.custom_state["last"] = text
            turn.record_tokens(model="m", prompt=SPENT)

        await living.actor.do(act)
        living.said.append(text)
        living.chunks.append(text)
        living.spent += SPENT
        return not living.actor.is_over

    async def commit(self, name: str, fault: Fault) -> None:
        """Let the turn commit."""
        living = self.living[name]
        await self._speak(living)
        self._plan(living, fault)
        await living.actor.do(lambda turn: turn.commit())
        living.actor.worker.forgive()
        if not living.actor.is_over:
            living.session.commit(living.run, *living.taken(), "running")
            return
        assert living.actor.worker.is_dead, living.actor.error
        await self._resolve(living)
        self._gone(name, is_lock_left=True)

    async def leave(self, name: str, how: Leaving, fault: Fault) -> None:
        """Leave the turn's block."""
        living = self.living[name]
        await self._speak(living)
        self._plan(living, fault)
        await self._end(living, how)
        living.actor.worker.forgive()
        is_dead = living.actor.worker.is_dead
        if is_dead:
            await self._resolve(living)
        elif how in ("ends", "suspends"):
            assert living.actor.error is None, living.actor.error
            living.session.commit(living.run, *living.taken(), STATUS[how])
        else:
            _, chunks, spent = living.taken()
            living.session.ended(living.run, chunks, spent, STATUS[how])
        living.session.is_told = living.session.is_told and fault is None and not is_dead
        self._gone(name, is_lock_left=is_dead)

    async def _end(self, living: Living, how: Leaving) -> None:
        actor = living.actor
        if how == "ends":
            await actor.do(None)
        elif how == "suspends":
            await actor.do(lambda turn: turn.suspend({"by": turn.id}))
            if not actor.is_over:
                await actor.do(None)
        elif how == "raises":
            await actor.do(_raise)
        elif how == "is cancelled":
            await actor.cancel()
        else:
            await actor.die()

    async def _resolve(self, living: Living) -> None:
        """Follow the database after a Worker died: its last step is stored completely or not at all."""
        session, run = living.session, living.run
        status = next(
            each.status for each in await self.observer.state_store.list_runs(session.name) if each.turn == run.turn
        )
        state = await self.observer.state_store.load_state(session.name, required=True)
        is_stored = bool(living.said) and living.said[0] in [message.get("content") for message in state.messages]
        assert run.is_open or status == run.status, f"{status} after {run.status}"
        said, chunks, spent = living.taken()
        if is_stored:
            assert run.is_open, "a turn that was over has written"
            session.commit(run, said, chunks, spent, status if status in ENDED else "running")
            spent = 0
        assert is_stored or status not in ENDED or not run.is_open
        if run.is_open and status != "running":
            session.ended(run, [], spent, status)

    async def stop_clock(self, name: str) -> None:
        """Pause the Worker, so that it does not notice the end of its lock."""
        self.living[name].actor.worker.stop_clock()

    async def time_passes(self) -> None:
        """Let all leases end. Workers notice, except the paused ones."""
        await self.clock.advance(2 * TTL_S)
        for name, living in list(self.living.items()):
            self._gone(name, is_lock_left=False)
            if await self._is_paused(living):
                self.ghosts.append(living)
            else:
                assert isinstance(living.actor.error, LockLostError), living.actor.error
                living.session.is_told = False
        for ghost in self.ghosts:
            await self._is_paused(ghost)
        self._held = {name: Held() for name in self._held}

    async def _is_paused(self, living: Living) -> bool:
        lock = None if living.actor.turn is None else living.actor.turn.lock
        if lock is not None and not lock.lost:
            return True
        await living.actor.noticed()
        return False

    async def ghost_acts(self, number: int, how: Leaving) -> None:
        """Let a paused Worker go on. Its writes are stored only if no newer holder has come."""
        ghost = self.ghosts.pop(number % len(self.ghosts))
        if ghost.actor.is_over:
            return
        is_orphan = ghost.session is not self.sessions[ghost.session.name]
        if not await self._speak(ghost):
            # Its session was deleted, and the stream with it: its block raised and gave the lock back.
            if is_orphan:
                self._given_back(ghost, "raises")
            return
        is_beaten = is_orphan or not ghost.run.is_open
        await self._end(ghost, how)
        if is_beaten and how in ("ends", "suspends"):
            assert isinstance(ghost.actor.error, AgentsStoreError), "a turn that was over has ended well"
        if is_orphan:
            self._given_back(ghost, how)
            return
        await self._resolve(ghost)
        ghost.session.is_told = False

    def _given_back(self, ghost: Living, how: Leaving) -> None:
        """Let the ghost release its lock, or die with it."""
        held = self._held[ghost.session.name]
        if held.by is ghost.run:
            held.by = None
            held.until_ms = held.until_ms if how == "dies" else 0

    async def append(self, name: str) -> None:
        """Let somebody else add a message, also during a turn."""
        self._count += 1
        text = f"beside {self._count}"
        await self.observer.state_store.append_messages(name, [{"role": "user", "content": text}])
        self.sessions[name].messages.append(text)

    async def delete(self, name: str) -> None:
        """Delete the session, whoever works in it."""
        await self.observer.delete_session(name)
        self._count += 1
        self.sessions[name] = SessionModel(name, f"{name}-{self._count}")
        await self.observer.usage_store.set_budget(self.sessions[name].scope, 1_000_000, "tokens")
        living = self.living.pop(name, None)
        if living is not None:
            self.ghosts.append(living)

    async def sweep(self, fault: Fault) -> None:
        """Run the cron trigger in a new Worker."""
        worker = self._worker(fault)
        try:
            swept = await worker.store.sweep_turns()
        except WorkerDiedError:
            swept = None
        closed: set[str] = set()
        for name, session in self.sessions.items():
            run, is_free = session.open_run, self._is_free(self._held[name])
            if run is not None and await self._may_be_closed(session, run, is_certain=is_free and swept is not None):
                closed.add(name)
                run.status = "interrupted"
                session.is_told = False
            if swept is not None and session.open_run is None:
                session.is_told = True
            if swept is None:
                self._perhaps_held(name)
        assert swept is None or set(swept.closed) == closed, (swept, closed)

    async def _may_be_closed(self, session: SessionModel, run: RunModel, *, is_certain: bool) -> bool:
        held = self._held[session.name]
        if held.by is not None and not self._is_free(held):
            return False  # the check finds it if the sweep has closed a turn that runs
        if is_certain:
            return True
        runs = await self.observer.state_store.list_runs(session.name)
        return runs[0].turn == run.turn and runs[0].status == "interrupted"

    async def check(self) -> None:
        """Compare all sessions with the model."""
        for session in self.sessions.values():
            await session.check(self.observer)

    async def finish(self) -> None:
        """Let all Workers die and sweep. Check that everything agrees, every reader was told, and the next turn succeeds."""
        for living in [*self.living.values(), *self.ghosts]:
            await living.actor.die()
        self.living, self.ghosts = {}, []
        await self.clock.advance(2 * TTL_S)
        self._held = {name: Held() for name in self._held}
        await self.sweep(None)
        await self.check()
        assert all(session.is_told for session in self.sessions.values())
        for name in self.sessions:
            await self.enter(name, "the last one", None)
            await self.leave(name, "ends", None)
        await self.check()

    def close(self) -> None:
        """Close the databases."""
        self.streams.close()
        self.locks.close()
        self.database.close()

    def _worker(self, fault: Fault) -> FaultyWorker:
        faults = {} if fault is None else dict([fault])
        return FaultyWorker(self.database, self.streams, self.locks, self.clock, faults)

    def _plan(self, living: Living, fault: Fault) -> None:
        if fault is not None:
            living.actor.worker.fail(*fault)

    def _gone(self, name: str, *, is_lock_left: bool) -> None:
        del self.living[name]
        held = self._held[name]
        self._held[name] = Held(None, held.until_ms if is_lock_left else 0)

    def _perhaps_held(self, name: str) -> None:
        held = self._held[name]
        if held.by is None or self._is_free(held):
            self._held[name] = Held(None, max(held.until_ms, self.clock.now_ms() + TTL_S * 1000))

    def _is_free(self, held: Held) -> bool:
        return held.until_ms <= self.clock.now_ms()


async def _raise(_: Turn) -> None:
    raise ZeroDivisionError
