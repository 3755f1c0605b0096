"""Turns of several Workers against a model, in random order; and faults that are planted, which the model must find."""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.locks.lock import DurableObjectLock
from agents_store_cloudflare.state import turn_entering
from agents_store_cloudflare.state.turn_records import TurnCommit
from agents_store_cloudflare.state.turn_store import D1TurnStore
from agents_store_cloudflare.turns import Turn, sweeping
from tests.lengths import length
from tests.turns.faulty_worker import OUTCOMES, Outcome
from tests.turns.retries import at_once, retries_at_once
from tests.turns.turn_walk import Fault, Leaving, TurnWalk

pytestmark = pytest.mark.filterwarnings("ignore:lock .* was dropped while it was held:ResourceWarning")

NAMES = ("a", "b")
SINGLE: list[Outcome] = [outcome for outcome in OUTCOMES if outcome not in ("cut off", "mute")]
WAYS: tuple[Leaving, ...] = ("ends", "suspends", "raises", "is cancelled", "dies")

names = st.sampled_from(NAMES)
turn_ids = st.sampled_from(["t1", "t2", "t3", "t4"])
faults: st.SearchStrategy[Fault] = st.one_of(
    st.none(), st.none(), st.tuples(st.integers(0, 6), st.sampled_from(SINGLE))
)


class TurnMachine(RuleBasedStateMachine):
    """Each rule is one step of the walk."""

    @initialize()
    def start(self) -> None:
        self.runner = asyncio.Runner()
        self.walk: TurnWalk = self.runner.run(TurnWalk.of(*NAMES))

    def run(self, step: Coroutine[Any, Any, None]) -> None:
        self.runner.run(step)

    def is_living(self) -> bool:
        return bool(self.walk.living)

    def some(self, name: str) -> str:
        """Return this session if a turn runs in it, otherwise another one."""
        return name if name in self.walk.living else next(iter(self.walk.living))

    @rule(name=names, turn_id=turn_ids, fault=faults)
    def enter(self, name: str, turn_id: str, fault: Fault) -> None:
        self.run(self.walk.enter(name, turn_id, fault))

    @precondition(lambda self: any(session.runs for session in self.walk.sessions.values()))
    @rule(name=names, number=st.integers(0, 9), fault=faults)
    def enter_again(self, name: str, number: int, fault: Fault) -> None:
        """Send a request whose turn id the session has seen: chance alone seldom repeats one."""
        known = [each for each, session in self.walk.sessions.items() if session.runs]
        chosen = name if name in known else known[0]
        runs = self.walk.sessions[chosen].runs
        self.run(self.walk.enter(chosen, runs[number % len(runs)].turn_id, fault))

    @precondition(is_living)
    @rule(name=names)
    def speak(self, name: str) -> None:
        self.run(self.walk.speak(self.some(name)))

    @precondition(is_living)
    @rule(name=names, fault=faults)
    def commit(self, name: str, fault: Fault) -> None:
        self.run(self.walk.commit(self.some(name), fault))

    @precondition(is_living)
    @rule(name=names, how=st.sampled_from(WAYS), fault=faults)
    def leave(self, name: str, how: Leaving, fault: Fault) -> None:
        self.run(self.walk.leave(self.some(name), how, fault))

    @precondition(is_living)
    @rule(name=names)
    def stop_clock(self, name: str) -> None:
        self.run(self.walk.stop_clock(self.some(name)))

    @rule()
    def time_passes(self) -> None:
        self.run(self.walk.time_passes())

    @precondition(lambda self: bool(self.walk.ghosts))
    @rule(number=st.integers(0, 9), how=st.sampled_from(WAYS))
    def ghost_acts(self, number: int, how: Leaving) -> None:
        self.run(self.walk.ghost_acts(number, how))

    @precondition(lambda self: any(session.exists for session in self.walk.sessions.values()))
    @rule(name=names)
    def append(self, name: str) -> None:
        exists = [each for each, session in self.walk.sessions.items() if session.exists]
        self.run(self.walk.append(name if name in exists else exists[0]))

    @rule(name=names)
    def delete(self, name: str) -> None:
        self.run(self.walk.delete(name))

    @rule(fault=faults)
    def sweep(self, fault: Fault) -> None:
        self.run(self.walk.sweep(fault))

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "walk"):
            self.run(self.walk.check())

    def teardown(self) -> None:
        if hasattr(self, "walk"):
            try:
                self.run(self.walk.finish())
            finally:
                self.walk.close()
                self.runner.close()


def _walk(max_examples: int, *, is_same: bool = False) -> None:
    """Make walks, the same ones each time or new ones. A failing one is shown as it was: shorter ones would take minutes to find."""
    chosen = settings(
        max_examples=max_examples,
        stateful_step_count=length(25, 50),
        deadline=None,
        database=None,
        derandomize=is_same,
        report_multiple_bugs=False,
        phases=(Phase.generate,),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
    run_state_machine_as_test(TurnMachine, settings=chosen)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make retries come at once."""
    retries_at_once(monkeypatch)
    monkeypatch.setattr("agents_store_cloudflare.locks.calls.backoff_s", at_once)


def test_turns_of_several_workers() -> None:
    """Messages, checkpoint, usage, budget, runs and stream agree after every step. Readers hear of every end once."""
    _walk(length(25, 2_000))


def _usage_of_another_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: a commit stores its usage later."""
    monkeypatch.setattr(Turn, "_usage_statements", _no_statements)


def _no_statements(_: Turn) -> list[Statement]:
    return []


def _a_sweep_that_tells_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: the sweep closes dead turns and settles them, but writes nothing to the readers."""

    async def publish(*_: Any) -> Mapping[str, int]:
        return {}

    monkeypatch.setattr(sweeping, "publish", publish)


def _a_turn_that_runs_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: a turn id may start again after its success."""
    monkeypatch.setattr(turn_entering, "RESTARTABLE", turn_entering.RESTARTABLE | {"completed"})


def _a_holder_without_a_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: every writer counts as the newest holder, also one whose lock was taken over."""
    monkeypatch.setattr(DurableObjectLock, "fencing_token", property(lambda _: 1))


def _an_end_that_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: a turn that fails stores no end."""

    async def close_turn_state(_: D1TurnStore, commit: TurnCommit) -> None:
        assert commit.ended_at is not None

    monkeypatch.setattr(D1TurnStore, "close_turn_state", close_turn_state)


PLANTED = (
    _usage_of_another_batch,
    _a_sweep_that_tells_nobody,
    _a_turn_that_runs_twice,
    _a_holder_without_a_fence,
    _an_end_that_is_not_stored,
)


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__.strip("_"))
def test_a_planted_fault_is_found(plant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine fails on each planted fault."""
    plant(monkeypatch)
    with pytest.raises(AssertionError) as found:
        _walk(400, is_same=True)
    print(f"{plant.__name__}: {str(found.value)[:200]!r}")
