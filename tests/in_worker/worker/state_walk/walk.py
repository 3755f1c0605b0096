"""A random walk over every call of `StateStore`, each step compared with the model: the same result or the same error, and the same
session afterwards.

The walk draws from a `random.Random`: a seeded one, or one that hypothesis makes (`st.randoms`), which then shrinks it.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import fields, is_dataclass
from random import Random
from typing import Any, cast

from agents_store_cloudflare.contract.errors import AgentsStoreError, InvalidArgumentError, StateNotFoundError
from agents_store_cloudflare.contract.state.records import AgentState
from agents_store_cloudflare.state import D1StateStore
from state_walk.draws import REMEMBERED_CALLS, REPEATED_OF_HUNDRED, Call, Held, WalkClock
from state_walk.step_draws import StepDraws
from state_walk.stored import Twin

CALLS_MADE: tuple[str, ...] = (
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


CONDITIONS = {"fencing_token", "commit_id", "expected_version", "expect_statuses", "expect_current_run_id"}


class StateWalk(StepDraws):
    """The walk.

    Args:
        store: reads the same `clock`, and nobody else writes to its sessions.
        prefix: of all session ids.
        database_now_ms: the clock of the store's database, if it is another one. It is ahead by more than the walk lasts.

    Attributes:
        steps: how many were made.
        made: how often each call was made, and how often it raised.
    """

    def __init__(
        self,
        store: D1StateStore,
        clock: WalkClock,
        *,
        prefix: str = "",
        database_now_ms: Callable[[], int] | None = None,
    ) -> None:
        super().__init__(clock, prefix)
        self._model.database_now_ms = database_now_ms or clock.now_ms
        self._store = store
        self._past: deque[Call] = deque(maxlen=REMEMBERED_CALLS)
        self.steps = 0
        self.made: dict[str, list[int]] = {}

    async def step(self, random: Random) -> None:
        """One call, compared; now and then everything is."""
        self.steps += 1
        self._clock.at_ms += random.choice([0, 0, 1, 3])
        if self._past and random.randrange(100) < REPEATED_OF_HUNDRED:
            touched = await self._both(random.choice(self._past))
        else:
            name = random.choice(CALLS_MADE)
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
        self._model.request = _request_of(call)
        if call.name == "delete_session":
            options.pop("delete_usage", None)
        return getattr(self._model, call.name)(*arguments, **options)

    async def _on_store(self, call: Call) -> object:
        arguments = [each.real if isinstance(each, Held) else each for each in call.arguments]
        # The model writes None for "no token"; the store takes the argument or its absence.
        options = {name: value for name, value in call.options.items() if (name, value) != ("fencing_token", None)}
        made: Awaitable[object] = getattr(self._store, call.name)(*arguments, **options)
        result = await made
        if call.name == "get_session_tree":
            tree: Any = result
            return type(tree)(**{each.name: tuple(sorted(getattr(tree, each.name))) for each in fields(tree)})
        return sorted(cast("list[str]", result)) if call.name == "cleanup_expired_sessions" else result

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


def _request_of(call: Call) -> tuple[str, str]:
    """Everything that a call is to store, without its conditions: the state that it saves apart from the rest."""
    rest = [_id_of(each) or repr(each) for each in call.arguments if not callable(each)]
    options = {name: value for name, value in call.options.items() if name not in CONDITIONS}
    saved = [each.twin.text() for each in call.arguments if isinstance(each, Held) and call.name != "append_messages"]
    return (repr((call.name, rest, options)), "".join(saved))


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
        exact = not isinstance(value, InvalidArgumentError | TypeError | StateNotFoundError)
        return f"{type(value).__name__}: {value}" if exact else type(value).__name__
    return json.dumps(_jsonable(value), ensure_ascii=False)


def _jsonable(value: Any) -> Any:
    if isinstance(value, Twin):
        return _jsonable(value.state)
    if is_dataclass(value) and not isinstance(value, type):
        return [
            [each.name, _jsonable(getattr(value, each.name))] for each in fields(value) if each.name != "stored_history"
        ]
    if isinstance(value, list | tuple):
        return [_jsonable(each) for each in cast("list[Any]", value)]
    if isinstance(value, frozenset):
        return sorted(cast("frozenset[str]", value))
    if isinstance(value, dict):
        return {key: _jsonable(each) for key, each in cast("dict[str, Any]", value).items()}
    return value
