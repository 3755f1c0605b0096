"""A random walk over every call of `StateStore`, each step compared with the model: the same result or the same error, and the same
session afterwards.

The walk draws from a `random.Random`: a seeded one, or one that hypothesis makes (`st.randoms`), which then shrinks it.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable
from copy import deepcopy
from dataclasses import dataclass, fields, is_dataclass
from random import Random
from typing import Any, ClassVar

from agents_store_cloudflare.errors import AgentsStoreError, InvalidArgumentError
from agents_store_cloudflare.protocols import ANY_VERSION, UNSET
from agents_store_cloudflare.records import AgentState, MergeChanges, StagedChange, SubSessionRef
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing.state_model import Twin
from agents_store_cloudflare.testing.state_step_model import StepModel

__all__ = ["StateWalk", "WalkClock"]

SESSIONS = ("a", "a/it's", 'a-s1-t2-000003"🎉%_', "cpv1-a-s0-t1-000001", "é" * 200)
STEPS = ("step", "step/2 '")
CALLS = ("call", "call 🎉", "'; --", "4")
RUNS = ("r1", "r2", "r'3", *map(str, range(20)))
STATUSES = ("active", "running", "it's", "paused 🎉", "completed", "[", '","')
RUN_STATUSES = ("running", "paused", "completed", "failed", "aborted")
VALUES: tuple[Any, ...] = (
    *(
        2**53 + 1,
        -(10**30),
        1.0,
        -0.0,
        1e308,
        1e-7,
        "",
        "a\x00b",
        "line\nline\u2028line\r\n\\n",
        '🎉 ё \'q\' """ \\ / ]}',
    ),
    *(
        "''; DROP TABLE x; --",
        [],
        {},
        {"": None, "z": 1, "a": [{}]},
        [True, False, None, [[[]]], "\n,"],
        None,
        True,
        0,
        7,
    ),
)
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


class StateWalk:
    """The walk.

    Args:
        store: reads the same `clock`, and nobody else writes to its sessions.
        prefix: of all session ids.

    Attributes:
        steps: how many were made.
        made: how often each call was made, and how often it raised.
    """

    def __init__(self, store: D1StateStore, clock: WalkClock, *, prefix: str = "") -> None:
        self._store = store
        self._clock = clock
        self._prefix = prefix
        self._model = StepModel(clock.now_ms)
        self._held: dict[str, list[Held]] = {}
        self._past: deque[Call] = deque(maxlen=REMEMBERED_CALLS)
        self._ids = [f"{prefix}{name}" for name in SESSIONS]
        self._commits = 0
        self._checkpoint_ids: deque[str] = deque(maxlen=REMEMBERED_CALLS)
        self.steps = 0
        self.made: dict[str, list[int]] = {}

    async def step(self, random: Random) -> None:
        """One call, compared; now and then everything is."""
        self.steps += 1
        self._clock.at_ms += random.choice([0, 0, 1, 3])
        if self._past and random.randrange(100) < REPEATED_OF_HUNDRED:
            touched = await self._both(random.choice(self._past))
        else:
            name = random.choice(self._CALLS)
            draw: Callable[[StateWalk, Random], Call] = getattr(StateWalk, f"_{name}")
            call = draw(self, random)
            if "commit_id" in call.options:
                self._past.append(call)
            touched = await self._both(call)
        for session_id in touched:
            await self._compare(session_id, random)
        if self.steps % 25 == 0:
            await self.compare_all(random)

    def reopened(self, store: D1StateStore) -> None:
        """Go on with another store on the same database."""
        self._store = store

    async def compare_all(self, random: Random) -> None:
        """Compare every session."""
        for session_id in self._ids:
            await self._compare(session_id, random)
        await self._compare_lists(random)

    async def _both(self, call: Call) -> list[str]:
        """Make the call on both sides, compare what comes of it; the sessions it was about."""
        expected = await _outcome(self._on_model(call))
        actual = await _outcome(self._on_store(call))
        counts = self.made.setdefault(call.name, [0, 0])
        counts[0] += 1
        counts[1] += isinstance(expected, Exception)
        assert _plain(actual) == _plain(expected), (call.name, call.arguments, call.options)
        for each in call.arguments:
            if isinstance(each, Held):
                assert _plain(each.real) == _plain(each.twin), (call.name, call.arguments, call.options)
        self._take(expected, actual)
        ids = [_id_of(each) for each in call.arguments]
        return [each for each in ids if each in self._ids]

    async def _on_model(self, call: Call) -> object:
        arguments = [each.twin if isinstance(each, Held) else each for each in call.arguments]
        options = dict(call.options)
        if call.name == "delete_session":
            options.pop("delete_usage", None)
        return getattr(self._model, call.name)(*arguments, **options)

    async def _on_store(self, call: Call) -> object:
        arguments = [each.real if isinstance(each, Held) else each for each in call.arguments]
        made: Awaitable[object] = getattr(self._store, call.name)(*arguments, **call.options)
        result = await made
        if call.name == "get_session_tree":
            tree: Any = result
            return type(tree)(**{each.name: tuple(sorted(getattr(tree, each.name))) for each in fields(tree)})
        return sorted(result) if call.name == "cleanup_expired_sessions" and isinstance(result, list) else result

    def _take(self, expected: object, actual: object) -> None:
        """Keep a state that was given, to change and save it later, and checkpoints to ask for."""
        if isinstance(expected, Twin) and isinstance(actual, AgentState):
            held = self._held.setdefault(actual.session_id, [])
            held.append(Held(actual, expected))
            del held[:-3]
        for name in ("id", "checkpoint_id"):
            checkpoint_id = getattr(actual, name, None)
            if isinstance(checkpoint_id, str) and not isinstance(actual, Exception):
                self._checkpoint_ids.append(checkpoint_id)

    async def _compare(self, session_id: str, random: Random) -> None:
        """Everything that is stored of one session, through all the reads."""
        store, model = self._store, self._model
        loaded = await store.load_state(session_id)
        assert _plain(loaded) == _plain(model.state_of(session_id))
        pages: list[object] = []
        limit = random.choice([1, 2, 7])
        cursor = None
        while True:
            page = await store.list_checkpoints(session_id, limit=limit, cursor=cursor)
            pages += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
        assert _plain(pages) == _plain(model.all_checkpoints(session_id))
        for name in ("get_staged_changes", "get_current_run", "list_runs", "get_sub_session_refs"):
            actual = await getattr(store, name)(session_id)
            assert _plain(actual) == _plain(getattr(model, name)(session_id)), name

    async def _compare_lists(self, random: Random) -> None:
        state = random.choice([*(session.state for session in self._model.sessions.values()), None])
        wanted: dict[str, str | None] = dict.fromkeys(("agent_type", "status", "parent_session_id"))
        wanted["prefix"] = random.choice(
            [self._prefix or None, f"{self._prefix}a", f"{self._prefix}é", f"{self._prefix}zz"]
        )
        if state is not None and random.randrange(2):
            name = random.choice(list(wanted))
            wanted[name] = getattr(state, "session_id" if name == "prefix" else name)
        if wanted["parent_session_id"] is None and not wanted["prefix"]:
            wanted["prefix"] = self._prefix or None
        listed: list[AgentState] = []
        cursor = None
        while True:
            page = await self._store.list_sessions(**wanted, limit=random.choice([1, 2, 50]), cursor=cursor)
            listed += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
        assert _plain(listed) == _plain(self._model.list_sessions(**wanted)), wanted

    # What is drawn

    _CALLS: ClassVar[tuple[str, ...]] = (
        *("create_session", "create_session", "load_state", "load_state", "save_state", "save_state", "save_state"),
        *("update_state", "exists", "update_status", "compare_and_set_status", "increment"),
        *(
            "merge_custom_state",
            "get_messages",
            "append_messages",
            "append_messages",
            "truncate_messages",
            "replace_messages",
        ),
        *(
            "save_checkpoint",
            "save_checkpoint",
            "get_checkpoint",
            "get_latest_checkpoint",
            "restore_checkpoint",
            "fork_session",
        ),
        *("prune_checkpoints", "stage_changes", "stage_changes", "stage_changes", "promote_staging", "discard_staging"),
        *("save_and_promote", "start_run", "update_run", "add_sub_session_refs", "update_sub_session_ref"),
        *(
            "get_session_tree",
            "delete_session",
            "cleanup",
            "reset_fence",
            "load_state",
            "save_checkpoint",
            "save_and_promote",
            "start_run",
        ),
    )

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
        custom, messages, value = self._custom(random), self._messages(random), random.choice(VALUES)
        what = random.randrange(20)
        expires_at = self._clock.at_ms + random.randrange(200)
        parent, status = random.choice([None, *self._ids]), random.choice(STATUSES)

        def change(state: AgentState) -> None:
            state.messages += deepcopy(messages)
            state.custom_state |= deepcopy(custom)
            match what:
                case 0:
                    state.output, state.error = deepcopy(value), "it's\x00"
                case 1:
                    state.suspension_context, state.suspended_step_id = deepcopy(value), "s"
                case 2:
                    state.expires_at = expires_at
                case 3:
                    state.parent_session_id = parent
                case 4:
                    state.aborted, state.abort_reason = not state.aborted, "'"
                case 5:
                    state.extra = {"future": deepcopy(value)}
                case 6:
                    state.custom_state.clear()
                case 7 if state.messages:
                    state.messages[0]["content"] = "edited"
                case 8:
                    state.messages[:1] = []
                case 9 | 10:
                    state.step_count, state.status = state.step_count + 1, status
                case _:
                    pass

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
        values = self._custom(random) | {"list": [deepcopy(random.choice(VALUES))]}
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

    def _kept_beside(self, random: Random) -> dict[str, Any]:
        return {"run_id": random.choice([None, "r1"]), "stream_sequence": random.choice([None, 0, 17])}

    def _save_checkpoint(self, random: Random) -> Call:
        options = {**self._kept_beside(random), **self._write(random)}
        if random.randrange(2):
            held = self._changed(random)
            return Call(name="save_checkpoint", arguments=(held.real.session_id, held), options=options)
        return Call(name="save_checkpoint", arguments=(self._id(random), None), options=options)

    def _checkpoint(self, random: Random) -> tuple[str, str]:
        """A session and a checkpoint id: one that is kept, or was, or another session's, or nonsense."""
        kept = [
            (session_id, each.bare.id)
            for session_id, model in self._model.sessions.items()
            for each in model.checkpoints
        ]
        if kept and random.randrange(5):
            return random.choice(kept)
        session_id = self._id(random)
        known = random.choice(self._checkpoint_ids) if self._checkpoint_ids else "nonsense"
        return session_id, random.choice([known, f"cpv1-{session_id}-s0-t1-00000f", "cpv1-nonsense"])

    def _get_checkpoint(self, random: Random) -> Call:
        return Call(name="get_checkpoint", arguments=self._checkpoint(random), options={})

    def _get_latest_checkpoint(self, random: Random) -> Call:
        return Call(name="get_latest_checkpoint", arguments=(self._id(random),), options={})

    def _restore_checkpoint(self, random: Random) -> Call:
        return Call(name="restore_checkpoint", arguments=self._checkpoint(random), options=self._write(random))

    def _fork_session(self, random: Random) -> Call:
        free = [each for each in self._ids if each not in self._model.sessions]
        arguments = (*self._checkpoint(random), random.choice(free if free and random.randrange(3) else self._ids))
        return Call(name="fork_session", arguments=arguments, options=self._write(random))

    def _prune_checkpoints(self, random: Random) -> Call:
        keep_last, age_ms = random.choice([(1, None), (2, None), (3, 5), (None, 20), (None, 0)])
        options = {"keep_last": keep_last, "older_than_ms": age_ms, **self._write(random)}
        return Call(name="prune_checkpoints", arguments=(self._id(random),), options=options)

    def _stage_changes(self, random: Random) -> Call:
        patch: list[Any] = [
            {"op": "add", "path": "/list", "value": deepcopy(random.choice(VALUES))},
            {"op": random.choice(["add", "add", "remove"]), "path": random.choice(["/n", "/o", "/list/-"]), "value": 1},
        ]
        change = StagedChange(
            tool_call_id=random.choice(CALLS),
            patches=patch[: random.randrange(3)],
            merge_changes=random.choice([None, self._merge(random)]),
            timestamp=random.choice([None, None, 5, self._clock.at_ms]),
        )
        arguments = (self._id(random), random.choice(STEPS), change)
        return Call(name="stage_changes", arguments=arguments, options=self._write(random))

    def _promote_staging(self, random: Random) -> Call:
        arguments = (self._id(random), random.choice(STEPS))
        return Call(name="promote_staging", arguments=arguments, options=self._write(random))

    def _discard_staging(self, random: Random) -> Call:
        arguments = (self._id(random), random.choice(STEPS))
        return Call(name="discard_staging", arguments=arguments, options=self._write(random))

    def _save_and_promote(self, random: Random) -> Call:
        held = self._changed(random)
        options = {
            "step_id": random.choice(STEPS),
            "checkpoint": random.randrange(2) == 0,
            "expected_version": random.choice([None, None, ANY_VERSION]),
            **self._kept_beside(random),
            **self._write(random),
        }
        arguments = (held.real.session_id, held)
        return Call(name="save_state_and_promote_staging", arguments=arguments, options=options)

    def _start_run(self, random: Random) -> Call:
        options = {
            "expect_statuses": random.choice([None, None, ["active", "running"], []]),
            "expect_current_run_id": random.choice([UNSET, UNSET, UNSET, UNSET, None, *RUNS[:3]]),
            "status": random.choice(RUN_STATUSES[:2]),
            "step_count": random.randrange(3),
            "start_sequence": random.choice([None, 3]),
            **self._write(random),
        }
        return Call(name="start_run", arguments=(self._id(random), random.choice(RUNS)), options=options)

    def _update_run(self, random: Random) -> Call:
        options = {
            "status": random.choice([None, *RUN_STATUSES]),
            "step_count": random.choice([None, 5]),
            "error": random.choice([UNSET, None, "", "it's"]),
            **self._write(random),
        }
        known = [(session_id, run.run_id) for session_id, model in self._model.sessions.items() for run in model.runs]
        arguments = random.choice(known) if known and random.randrange(5) else (self._id(random), random.choice(RUNS))
        return Call(name="update_run", arguments=arguments, options=options)

    def _add_sub_session_refs(self, random: Random) -> Call:
        refs = [
            SubSessionRef(
                sub_session_id=random.choice(self._ids),
                agent_type="y",
                location=random.choice(["local", "remote"]),
                started_at=random.choice([None, 5]),
                output=deepcopy(random.choice(VALUES)),
            )
            for _ in range(random.randrange(1, 4))
        ]
        return Call(name="add_sub_session_refs", arguments=(self._id(random), refs), options=self._write(random))

    def _update_sub_session_ref(self, random: Random) -> Call:
        options = {
            "status": random.choice([None, "completed"]),
            "completed_at": random.choice([None, 9]),
            "output": random.choice([UNSET, *VALUES]),
            "error": random.choice([UNSET, None, "e\x00"]),
            **self._write(random),
        }
        known = [
            (session_id, ref.sub_session_id) for session_id, model in self._model.sessions.items() for ref in model.refs
        ]
        arguments = (
            random.choice(known) if known and random.randrange(5) else (self._id(random), random.choice(self._ids))
        )
        return Call(name="update_sub_session_ref", arguments=arguments, options=options)

    def _get_session_tree(self, random: Random) -> Call:
        return Call(name="get_session_tree", arguments=(self._id(random),), options={})

    def _delete_session(self, random: Random) -> Call:
        options = self._write(random)
        if random.randrange(4) == 0:
            options["commit_id"] = None
        return Call(name="delete_session", arguments=(random.choice(self._ids),), options=options)

    def _cleanup(self, random: Random) -> Call:
        return Call(name="cleanup_expired_sessions", arguments=(self._clock.at_ms,), options={})

    def _reset_fence(self, random: Random) -> Call:
        return Call(name="reset_fence", arguments=(self._id(random),), options={})


def _id_of(argument: object) -> str:
    if isinstance(argument, Held):
        return argument.real.session_id
    return argument if isinstance(argument, str) else ""


async def _outcome(call: Awaitable[object]) -> object:
    try:
        return await call
    except (AgentsStoreError, TypeError) as error:
        return error


def _plain(value: object) -> str:
    """A text that is equal for equal outcomes, types of numbers and the order of keys included."""
    if isinstance(value, Exception):
        exact = not isinstance(value, InvalidArgumentError | TypeError)
        return f"{type(value).__name__}: {value}" if exact else type(value).__name__
    return json.dumps(_jsonable(value), ensure_ascii=False)


def _jsonable(value: object) -> Any:
    if isinstance(value, Twin):
        return _jsonable(value.state)
    if is_dataclass(value) and not isinstance(value, type):
        return [
            [each.name, _jsonable(getattr(value, each.name))] for each in fields(value) if each.name != "stored_history"
        ]
    if isinstance(value, list | tuple):
        return [_jsonable(each) for each in value]
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, dict):
        return {key: _jsonable(each) for key, each in value.items()}
    return value
