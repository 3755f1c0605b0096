"""Ten thousand generated bad inputs over all calls: each is refused by its error before anything is sent, and nothing changes."""

import datetime
import decimal
import math
import random
from collections.abc import Sequence
from typing import Any

import pytest

from agents_store_cloudflare.database import Row, Statement
from agents_store_cloudflare.errors import CheckpointNotFoundError, InvalidArgumentError, StateSizeExceededError
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.records import AgentState
from agents_store_cloudflare.state import D1StateStore, StoreLimits
from agents_store_cloudflare.testing import SqliteDatabase

CASES = 10_000
SEEDS = 10
LIMITS = StoreLimits(max_state_bytes=20_000, max_message_bytes=20_000, max_staged_write_bytes=20_000)
OVER_A_LIMIT = "x" * 20_001


class Watched(SqliteDatabase):
    """Keeps the statements that are sent and counts the rows that ever changed."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        self.sent += [statement.sql.split()[0] for statement in statements]
        return await super().batch(statements)

    async def changes(self) -> list[Row]:
        [rows] = await super().batch([Statement("SELECT total_changes() AS changes")])
        return rows


def _circular() -> list[Any]:
    value: list[Any] = []
    value += [[value], {"back": value}]
    return value


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


class Odd(dict[str, Any]):
    """A dict that is one, with what JSON has not."""


OTHER_TYPES: list[Any] = [
    *(
        5,
        -1,
        0,
        1.5,
        math.nan,
        True,
        False,
        b"s",
        bytearray(b"s"),
        [],
        ["s"],
        {},
        {"a": 1},
        ("s",),
        {"s"},
        frozenset("s"),
        object(),
    ),
    *(datetime.datetime.now(tz=datetime.UTC), decimal.Decimal(1), range(3), len, int, 10**5_000, 1j),
]
SURROGATES = ["\ud800", "a\udfffb", "\udc80" * 3]
BAD_JSON: list[Any] = [
    *(math.nan, math.inf, -math.inf, *SURROGATES, {"\ud800": 1}, (1, 2), {1: 2}, {None: 1}, {"a": {2.5: 1}}, b"x", object(), {1}, 10**5_000),
    *(_nested(201), _nested(5_000), _circular(), [math.nan], {"a": [b""]}, decimal.Decimal(1), [len], Odd(a=math.inf), [[(1,)]]),
]  # fmt: skip
BAD: dict[str, list[Any]] = {
    "id": [*OTHER_TYPES, *SURROGATES, "", "x" * 513, "é" * 257, "\x00", "a\nb", "\x7f", "a\x85", "__x", "__", None],
    "label": [*OTHER_TYPES, *SURROGATES, "", "x" * 2_001, None],
    "text": [*OTHER_TYPES, *SURROGATES],
    "whole": [
        *(each for each in OTHER_TYPES if type(each) is not int),
        -1,
        -(2**70),
        2**53,
        2**64,
        10**400,
        "1",
        "",
        None,
    ],
    "flag": [*(each for each in OTHER_TYPES if type(each) is not bool), 1, "false", "true", "", None],
    "token": [*(each for each in OTHER_TYPES if type(each) is not int), 0, -1, 2**53, 10**400, "1", "", math.inf],
    "span": [True, "5", b"5", [], {}, math.nan, math.inf, -1, -0.5, 1e16, 10**400, object(), 1j],
    "cursor": [
        *OTHER_TYPES,
        *SURROGATES,
        "",
        "x",
        "sessions",
        "runs-1",
        "sessions--1",
        "sessions-0x1",
        "checkpoints-zz",
    ],
}
BAD["cursor"] += ["sessions-" + "f" * 14, "checkpoints-" + "f" * 40, "sessions-1 ", "SESSIONS-1", "sessions-١", "\x00"]
BAD["limit"] = [*BAD["whole"], 0, 1_001, 10**9]
BAD["object"] = [
    *(each for each in OTHER_TYPES if each != {} and each != {"a": 1}),
    *({"v": each} for each in BAD_JSON),
    "x",
    {5: 1},
]
BAD["object"] += [{"v": OVER_A_LIMIT}]
BAD["json"] = [*BAD_JSON, OVER_A_LIMIT]
BAD["statuses"] = [
    *(each for each in OTHER_TYPES if not isinstance(each, list | tuple | set | frozenset | dict)),
    "active",
    None,
]
BAD["statuses"] += [[each] for each in BAD["label"]] + [["x"] * 101]
BAD["messages"] = [
    *(each for each in OTHER_TYPES if each != []),
    "text",
    {"role": "user"},
    None,
    [None],
    [[]],
    [{}],
    ["x"],
    [("role", "x")],
]
BAD["messages"] += [[{"role": each}] for each in (None, 1, [], True, b"user")]
BAD["messages"] += [[{"role": "user", "content": each}] for each in [*BAD_JSON, OVER_A_LIMIT]] + [
    [{"role": "user", 1: 2}]
]
BAD["version"] = [each for each in BAD["whole"] if each is not None]

STATE_FIELDS: dict[str, list[Any]] = {
    **dict.fromkeys(("agent_type", "status"), BAD["label"]),
    **dict.fromkeys(("step_count", "resume_count", "version"), BAD["whole"]),
    **dict.fromkeys(("error", "abort_reason"), BAD["text"]),
    **dict.fromkeys(("output", "suspension_context", "pending_client_tool_calls", "tracing_context"), BAD["json"]),
    **dict.fromkeys(("parent_session_id", "root_session_id"), [each for each in BAD["id"] if each is not None]),
    "stream_id": [each for each in BAD["id"] if each],
    "suspended_step_id": BAD["text"],
    "expires_at": BAD["version"],
    "aborted": BAD["flag"],
    "custom_state": [*BAD["object"], None],
    "messages": [each for each in BAD["messages"] if not isinstance(each, range)],
    "extra": [*BAD["object"], {"status": 1}, {"stepCount": 1}, {"storedHistory": 1}, None],
}
STORED_HISTORIES: list[Any] = [
    *(
        [0],
        [0, 0, 0],
        [0, 0, 0, 0, 0],
        "0000",
        [-1, 0, 1, 0],
        [0, -1, 1, 0],
        [2, 1, 1, 0],
        [0, 2**53, 1, 0],
        [0, 10**30, 1, 0],
    ),
    *([0, 0, -1, 0], [0, 0, 2**60, 0], [0.0, 0, 0, 0], [True, 1, 1, 1], [0, 1, None, 0], {"first": 0}, 7, True),
]


def bad_state(choice: random.Random) -> Any:
    """A state as an object or a mapping, one thing of which is wrong."""
    good: dict[str, Any] = {"session_id": "s", "agent_type": "x", "version": 1, "storedHistory": [0, 0, 0, 0]}
    kind = choice.randrange(10)
    if kind == 0:
        return choice.choice([each for each in [*OTHER_TYPES, "s"] if each is not None])
    if kind == 1:
        return {**good, "storedHistory": choice.choice(STORED_HISTORIES)}
    if kind == 2:
        return choice.choice(
            [
                {**good, "session_id": choice.choice(BAD["id"])},
                {"session_id": "s"},
                {**good, "sessionId": "s"},
                {**good, 5: 1},
            ]
        )
    name = choice.choice(list(STATE_FIELDS))
    value = choice.choice(STATE_FIELDS[name])
    if kind < 6:
        return {**good, name: value}
    state = AgentState.from_dict(good)
    setattr(state, name, value)
    return state


def bad_change(choice: random.Random) -> Any:
    """A staged change, one thing of which is wrong."""
    good: dict[str, Any] = {"toolCallId": "t", "patches": [{"op": "remove", "path": "/a"}]}
    operations = [
        *OTHER_TYPES,
        {"op": 5},
        {"path": "/a"},
        *({"op": "add", "path": "/a", "value": each} for each in BAD_JSON),
    ]
    return choice.choice(
        [
            choice.choice([*OTHER_TYPES, "t", None]),
            {"patches": []},
            {**good, "toolCallId": choice.choice(BAD["id"])},
            {**good, "tool_call_id": "t"},
            {**good, "unknown": 1},
            {**good, "timestamp": choice.choice(BAD["version"])},
            {**good, "patches": choice.choice([each for each in [*OTHER_TYPES, "x", None] if each != []])},
            {**good, "patches": [choice.choice(operations)]},
            {**good, "mergeChanges": choice.choice(BAD["object"])},
            {**good, "mergeChanges": {"values": {}, "arrayReplacements": choice.choice([5, "x", [1], [None], ["\ud800"], {"a": 1}])}},
        ]
    )  # fmt: skip


def bad_merge(choice: random.Random) -> Any:
    """Changes to merge that are none."""
    replacements = choice.choice([5, "x", [1], [None], ["\ud800"], [b"x"], None])
    return choice.choice(
        [
            choice.choice([*BAD["object"], None]),
            {"values": {}, "arrayReplacements": replacements},
            {"values": 5, "arrayReplacements": []},
        ]
    )


def bad_refs(choice: random.Random) -> Any:
    """References, one of which is wrong."""
    good: dict[str, Any] = {"subSessionId": "c", "agentType": "x"}
    wrong: dict[str, list[Any]] = {
        "subSessionId": BAD["id"],
        "agentType": BAD["label"],
        "status": BAD["label"],
        "location": ["moon", "", None, 5, "LOCAL", [], b"local", {}],
        "startedAt": BAD["version"],
        "completedAt": BAD["version"],
        "output": BAD["json"],
        "error": [*BAD["text"], "x" * 50_001],
        "parentToolCallId": [*BAD["text"], "x" * 2_001],
        "unknown": [1],
    }
    name = choice.choice(list(wrong))
    refs = [good, {**good, name: choice.choice(wrong[name])}]
    return choice.choice([refs, refs, refs, choice.choice([*OTHER_TYPES, "x", None, [], [{}], good])])


MAKERS = {"state": bad_state, "change": bad_change, "merge": bad_merge, "refs": bad_refs}
WRITE = {"fencing_token": "token", "commit_id": "optional id"}
GOOD_STATE: dict[str, Any] = {"session_id": "s", "agent_type": "x", "version": 1, "storedHistory": [0, 0, 0, 0]}
CHECKPOINT = "cpv1-s-s0-t5-000001"
# Each call: its good arguments, and of which kind they are.
CALLS: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    ("create_session", {"session_id": "new", "agent_type": "x"}, {"session_id": "id", "agent_type": "label", "initial_state": "optional object", "parent_session_id": "optional id", "exist_ok": "flag", **WRITE}),
    ("save_state", {"session_id": "s", "state": GOOD_STATE}, {"session_id": "id", "state": "state", "expected_version": "version", **WRITE}),
    ("save", {"state": GOOD_STATE}, {"state": "state", "expected_version": "version", **WRITE}),
    ("update_state", {"session_id": "s", "change": lambda state: None}, {"session_id": "id", "attempts": "limit", **WRITE}),
    ("load_state", {"session_id": "s"}, {"session_id": "id", "required": "flag", "messages": "messages wanted"}),
    ("exists", {"session_id": "s"}, {"session_id": "id"}),
    ("session_exists", {"session_id": "s"}, {"session_id": "id"}),
    ("update_status", {"session_id": "s", "status": "x"}, {"session_id": "id", "status": "label", **WRITE}),
    ("compare_and_set_status", {"session_id": "s", "expected": ["x"], "new": "y"}, {"session_id": "id", "expected": "statuses", "new": "label", **WRITE}),
    ("increment_resume_count", {"session_id": "s"}, {"session_id": "id", **WRITE}),
    ("increment_step_count", {"session_id": "s"}, {"session_id": "id", **WRITE}),
    ("list_sessions", {}, {"prefix": "optional label", "agent_type": "optional label", "status": "optional label", "parent_session_id": "optional id", "limit": "limit", "cursor": "cursor"}),
    ("reset_fence", {"session_id": "s"}, {"session_id": "id"}),
    ("append_messages", {"session": "s", "messages": [{"role": "user"}]}, {"session": "id", "messages": "messages or none", **WRITE}),
    ("truncate_messages", {"session_id": "s", "count": 1}, {"session_id": "id", "count": "whole", "drop_checkpoints": "flag", **WRITE}),
    ("replace_messages", {"session_id": "s", "messages": [], "expected_version": 1}, {"session_id": "id", "messages": "messages", "expected_version": "whole", "drop_checkpoints": "flag", **WRITE}),
    ("merge_custom_state", {"session_id": "s", "changes": {}}, {"session_id": "id", "changes": "merge", **WRITE}),
    ("get_messages", {"session_id": "s"}, {"session_id": "id", "offset": "whole", "limit": "limit", "include_thinking": "flag"}),
    ("save_checkpoint", {"session_id": "s"}, {"session_id": "id", "state": "state", "run_id": "optional id", "stream_sequence": "version", **WRITE}),
    ("get_latest_checkpoint", {"session_id": "s"}, {"session_id": "id"}),
    ("get_checkpoint", {"session_id": "s", "checkpoint_id": "c"}, {"session_id": "id", "checkpoint_id": "text"}),
    ("list_checkpoints", {"session_id": "s"}, {"session_id": "id", "limit": "limit", "cursor": "cursor", "include_state": "flag"}),
    ("prune_checkpoints", {"session_id": "s", "keep_last": 1}, {"session_id": "id", "keep_last": "limit of prune", "older_than": "span", "older_than_ms": "span", **WRITE}),
    ("stage_changes", {"session_id": "s", "step_id": "t", "change": {"toolCallId": "c"}}, {"session_id": "id", "step_id": "id", "change": "change", **WRITE}),
    ("get_staged_changes", {"session_id": "s"}, {"session_id": "id", "step_id": "optional id"}),
    ("promote_staging", {"session_id": "s", "step_id": "t"}, {"session_id": "id", "step_id": "id", **WRITE}),
    ("discard_staging", {"session_id": "s", "step_id": "t"}, {"session_id": "id", "step_id": "id", **WRITE}),
    ("save_state_and_promote_staging", {"session_id": "s", "state": GOOD_STATE, "step_id": "t"}, {"session_id": "id", "state": "state", "step_id": "id", "checkpoint": "flag", "run_id": "optional id", "stream_sequence": "version", "expected_version": "version", **WRITE}),
    ("start_run", {"session_id": "s", "run_id": "r"}, {"session_id": "id", "run_id": "id", "expect_statuses": "optional statuses", "expect_current_run_id": "optional id", "status": "label", "step_count": "whole", "start_sequence": "version", **WRITE}),
    ("update_run", {"session_id": "s", "run_id": "r0"}, {"session_id": "id", "run_id": "id", "status": "optional label", "step_count": "version", "completed_at": "version", "error": "text", **WRITE}),
    ("get_current_run", {"session_id": "s"}, {"session_id": "id"}),
    ("list_runs", {"session_id": "s"}, {"session_id": "id", "limit": "limit", "before_turn": "version"}),
    ("add_sub_session_refs", {"session_id": "s", "refs": [{"subSessionId": "c", "agentType": "x"}]}, {"session_id": "id", "refs": "refs", **WRITE}),
    ("update_sub_session_ref", {"session_id": "s", "sub_session_id": "c0"}, {"session_id": "id", "sub_session_id": "id", "status": "optional label", "completed_at": "version", "output": "json", "error": "text", **WRITE}),
    ("get_sub_session_refs", {"session_id": "s"}, {"session_id": "id"}),
    ("get_session_tree", {"session_id": "s"}, {"session_id": "id"}),
    ("delete_session", {"session_id": "none"}, {"session_id": "id", "delete_usage": "flag", **WRITE}),
    ("restore_checkpoint", {"session_id": "s", "checkpoint_id": CHECKPOINT}, {"session_id": "id", "checkpoint_id": "text", **WRITE}),
    ("fork_session", {"session_id": "s", "checkpoint_id": CHECKPOINT, "new_session_id": "f"}, {"session_id": "id", "checkpoint_id": "text", "new_session_id": "id", **WRITE}),
    ("cleanup_expired_sessions", {}, {"now": "version", "limit": "limit", "delete_usage": "flag"}),
]  # fmt: skip
# Decided in Python from what was read: nothing but reads may have been sent.
READ_FIRST = {("merge_custom_state", "changes"), ("save_state_and_promote_staging", "state")}


def bad_value(kind: str, choice: random.Random) -> Any:
    """A value that is none of its kind."""
    if kind in MAKERS:
        return MAKERS[kind](choice)
    if kind.startswith("optional "):
        several = BAD[kind.removeprefix("optional ")]
        return choice.choice([each for each in several if each is not None and not isinstance(each, str)] + SURROGATES)
    match kind:
        case "messages wanted":
            return choice.choice([each for each in [*BAD["whole"], "some", "ALL", 2**24 + 1] if each != "all"])
        case "messages or none":
            return choice.choice([*BAD["messages"], []])
        case "limit of prune":
            return choice.choice([each for each in BAD["version"] if each != 1_001] + [0])
        case _:
            return choice.choice(BAD[kind])


@pytest.fixture
async def database() -> Watched:
    database = Watched()
    await run_migration(database)
    store = D1StateStore(database, now_ms=lambda: 5)
    await store.create_session("s", agent_type="x")
    assert (await store.save_checkpoint("s")).id == CHECKPOINT
    await store.start_run("s", "r0")
    await store.add_sub_session_refs("s", [{"subSessionId": "c0", "agentType": "x"}])
    return database


@pytest.mark.parametrize(("name", "good", "_"), CALLS, ids=lambda value: value if isinstance(value, str) else "")
async def test_the_good_inputs_are_good(database: Watched, name: str, good: dict[str, Any], _: dict[str, str]) -> None:
    """ST-5: what the bad inputs are made from is taken, so that each is refused for the one thing that is wrong in it."""
    await getattr(D1StateStore(database, limits=LIMITS), name)(**good)
    assert database.sent


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_bad_inputs_are_refused(database: Watched, seed: int) -> None:
    """ST-4, ST-5, ST-11, ST-12, ST-18, ST-28, ST-36: TypeError, ValueError or StateSizeExceededError; nothing sent, nothing changed."""
    choice, store, before = random.Random(seed), D1StateStore(database, limits=LIMITS), await database.changes()
    for _ in range(CASES // SEEDS):
        name, good, kinds = choice.choice(CALLS)
        argument = choice.choice(list(kinds))
        arguments = {**good, argument: bad_value(kinds[argument], choice)}
        database.sent.clear()
        try:
            await getattr(store, name)(**arguments)
        except (TypeError, ValueError, InvalidArgumentError, StateSizeExceededError):
            pass
        except Exception as error:
            raise AssertionError((name, argument, repr(arguments[argument])[:200])) from error
        else:
            pytest.fail(f"{name} took {argument}={arguments[argument]!r:.200}")
        reads = (name, argument) in READ_FIRST and set(database.sent) <= {"SELECT"}
        assert not database.sent or reads, (name, argument, repr(arguments[argument])[:200])
    assert await database.changes() == before


@pytest.mark.parametrize(
    "wrong", ["", "s9999999999999999-t5-000001", "s0-t9999999999999999-000001", "s0-t5-00000g", "s0-t٥-000001"]
)
async def test_checkpoint_ids_that_no_store_gave(database: Watched, wrong: str) -> None:
    """ST-31, ST-32: they name no checkpoint, and nobody is asked."""
    store, checkpoint_id = D1StateStore(database), f"cpv1-s-{wrong}"
    database.sent.clear()
    assert await store.get_checkpoint("s", checkpoint_id) is None
    for call in (store.restore_checkpoint("s", checkpoint_id), store.fork_session("s", checkpoint_id, "f")):
        with pytest.raises(CheckpointNotFoundError):
            await call
    assert not database.sent
