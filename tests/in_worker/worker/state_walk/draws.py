"""What the walk calls with: drawn by chance, from what is there and from what is not."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from random import Random
from typing import Any

from agents_store_cloudflare.contract.state.marks import ANY_VERSION
from agents_store_cloudflare.contract.state.records import AgentState, MergeChanges
from state_walk.model import StateModel
from state_walk.stored import Twin

SESSIONS = ("a", "a/it's", 'a-s1-t2-000003"🎉%_', "cpv1-a-s0-t1-000001", "é" * 200)
STEPS = ("step", "step/2 '")
CALLS = ("call", "call 🎉", "'; --", "4")
RUNS = ("r1", "r2", "r'3", *map(str, range(20)))
STATUSES = ("active", "running", "it's", "paused 🎉", "completed", "[", '","')
RUN_STATUSES = ("running", "paused", "completed", "failed", "aborted")
VALUES: list[Any] = [
    *(2**53 + 1, -(10**30), 1.0, -0.0, 1e308, 1e-7, None, True, 0, 7),
    *("", "a\x00b", "line\nline\u2028line\r\n\\n", '🎉 ё \'q\' """ \\ / ]}', "''; DROP TABLE x; --"),
    *([], {}, {"": None, "z": 1, "a": [{}]}, [True, False, None, [[[]]], "\n,"]),
]
KEYS = ("list", "n", "", "k'e\"y", "o", "a\x00b", "~/")
NO_TOKEN_OF_TEN = 6
REPEATED_OF_HUNDRED = 12
REMEMBERED_CALLS = 40


class WalkClock:
    """A clock that the walk moves by hand."""

    def __init__(self) -> None:
        self.at_ms = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.at_ms


@dataclass(slots=True)
class Held:
    """One state in somebody's hands: the store's object and the model's."""

    real: AgentState
    twin: Twin


@dataclass(slots=True, kw_only=True)
class Call:
    """One call, as it can be repeated."""

    name: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]


class Draws:
    """Calls on sessions and messages, and what all draws choose from."""

    def __init__(self, clock: WalkClock, prefix: str) -> None:
        self._clock = clock
        self._prefix = prefix
        self._model = StateModel(clock.now_ms)
        self._held: dict[str, list[Held]] = {}
        self._ids = [f"{prefix}{name}" for name in SESSIONS]
        self._commits = 0
        self._checkpoint_ids: deque[str] = deque(maxlen=REMEMBERED_CALLS)

    def _id(self, random: Random) -> str:
        """Any session id, those in use more often."""
        alive = list(self._model.sessions)
        return random.choice(alive if alive and random.randrange(8) else self._ids)

    def _write(self, random: Random) -> dict[str, Any]:
        """What every write takes."""
        self._commits += 1
        token = None if random.randrange(10) < NO_TOKEN_OF_TEN else random.randrange(1, 6)
        commit_id = f"commit {self._commits}" if random.randrange(30) else f"commit {max(self._commits - 3, 1)}"
        return {"fencing_token": token, "commit_id": commit_id}

    def _custom(self, random: Random) -> dict[str, Any]:
        return {random.choice(KEYS): deepcopy(random.choice(VALUES)) for _ in range(random.randrange(3))}

    def _messages(self, random: Random, most: int = 4) -> list[Any]:
        return [
            {"role": "user", "content": deepcopy(random.choice(VALUES)), "thinking": "t"}
            for _ in range(random.randrange(most))
        ]

    def _create_session(self, random: Random) -> Call:
        options = {
            "agent_type": random.choice(["x", "it's"]),
            "initial_state": self._custom(random),
            "parent_session_id": random.choice([None, None, random.choice(self._ids)]),
            "exist_ok": random.randrange(3) == 0,
            **self._write(random),
        }
        return Call(name="create_session", arguments=(random.choice(self._ids),), options=options)

    def _load_state(self, random: Random) -> Call:
        messages = random.choice(["all", "all", "none", 0, 1, 3, 1_000])
        options = {"required": random.randrange(2) == 0, "messages": messages}
        return Call(name="load_state", arguments=(self._id(random),), options=options)

    def _exists(self, random: Random) -> Call:
        return Call(name=random.choice(["exists", "session_exists"]), arguments=(self._id(random),), options={})

    def _changed(self, random: Random) -> Held:
        """A state in somebody's hands, changed on both sides; or a new one."""
        held = [each for several in self._held.values() for each in several]
        current = [each for each in held if self._is_current(each)]
        if not held or random.randrange(10) == 0:
            given = self._new(random.choice(self._ids))
        else:
            given = random.choice(current if current and random.randrange(5) else held)
        change = self._change(random)
        change(given.real)
        change(given.twin.state)
        return given

    def _is_current(self, held: Held) -> bool:
        session = self._model.sessions.get(held.real.session_id)
        return session is not None and (held.twin.epoch, held.real.version) == (session.epoch, session.state.version)

    def _new(self, session_id: str) -> Held:
        """A state that was never stored."""
        real, twin = (AgentState(session_id=session_id, agent_type="x") for _ in range(2))
        held = Held(real, Twin(state=twin))
        self._held.setdefault(session_id, []).append(held)
        return held

    def _change(self, random: Random) -> Callable[[AgentState], None]:
        """What somebody does to a state; sometimes what a save refuses."""
        custom, messages, value = self._custom(random), self._messages(random), random.choice(VALUES)
        sets: dict[str, Any] = random.choice(
            [
                *({}, {}, {}, {}, {"status": random.choice(STATUSES), "step_count": random.randrange(9)}),
                *({"output": value, "error": "it's\x00"}, {"suspension_context": value, "suspended_step_id": "s"}),
                {"expires_at": self._clock.at_ms + random.randrange(200)},
                {"parent_session_id": random.choice([None, *self._ids])},
                {"agent_type": random.choice(["x", "y\x00"]), "stream_id": random.choice([*self._ids, "its own"])},
                *({"aborted": True, "abort_reason": "'"}, {"extra": {"future": value}}, {"custom_state": {}}),
            ]
        )
        edit = random.randrange(20)

        def change(state: AgentState) -> None:
            state.messages += deepcopy(messages)
            state.custom_state |= deepcopy(custom)
            for name, new in sets.items():
                setattr(state, name, deepcopy(new))
            if edit == 0 and state.messages:
                state.messages[0]["content"] = "edited"
            if edit == 1:
                del state.messages[:1]

        return change

    def _save_state(self, random: Random) -> Call:
        held = self._changed(random)
        version = held.real.version
        expected = random.choice([None, None, None, None, ANY_VERSION, version, version + 1])
        options = {"expected_version": expected, **self._write(random)}
        return Call(name="save_state", arguments=(held.real.session_id, held), options=options)

    def _update_state(self, random: Random) -> Call:
        change = self._change(random)
        return Call(name="update_state", arguments=(self._id(random), change), options=self._write(random))

    def _update_status(self, random: Random) -> Call:
        arguments = (self._id(random), random.choice(STATUSES))
        return Call(name="update_status", arguments=arguments, options=self._write(random))

    def _compare_and_set_status(self, random: Random) -> Call:
        expected = random.sample(STATUSES, random.randrange(5))
        arguments = (self._id(random), expected, random.choice(STATUSES))
        return Call(name="compare_and_set_status", arguments=arguments, options=self._write(random))

    def _increment(self, random: Random) -> Call:
        name = random.choice(["increment_resume_count", "increment_step_count"])
        return Call(name=name, arguments=(self._id(random),), options=self._write(random))

    def _merge(self, random: Random) -> MergeChanges:
        values: dict[str, Any] = {**self._custom(random), "list": [deepcopy(random.choice(VALUES))]}
        return MergeChanges(values=values, array_replacements=frozenset(random.sample(KEYS, 1)))

    def _merge_custom_state(self, random: Random) -> Call:
        arguments = (self._id(random), self._merge(random))
        return Call(name="merge_custom_state", arguments=arguments, options=self._write(random))

    def _get_messages(self, random: Random) -> Call:
        options = {
            "offset": random.randrange(8),
            "limit": random.choice([1, 2, 50]),
            "include_thinking": random.randrange(2) == 0,
        }
        return Call(name="get_messages", arguments=(self._id(random),), options=options)

    def _append_messages(self, random: Random) -> Call:
        target = self._held_or_id(random)
        messages = self._messages(random) or [{"role": "user"}]
        return Call(name="append_messages", arguments=(target, messages), options=self._write(random))

    def _held_or_id(self, random: Random) -> Held | str:
        held = [each for several in self._held.values() for each in several]
        return random.choice(held) if held and random.randrange(2) else self._id(random)

    def _truncate_messages(self, random: Random) -> Call:
        options = {"drop_checkpoints": random.randrange(3) == 0, **self._write(random)}
        return Call(name="truncate_messages", arguments=(self._id(random), random.randrange(9)), options=options)

    def _replace_messages(self, random: Random) -> Call:
        session_id = self._id(random)
        state = self._model.state_of(session_id)
        expected = (state.version if state else 0) + (random.randrange(4) == 0)
        options = {"expected_version": expected, "drop_checkpoints": random.randrange(3) == 0, **self._write(random)}
        return Call(name="replace_messages", arguments=(session_id, self._messages(random)), options=options)
