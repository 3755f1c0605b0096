"""Values that no call of the state store takes, by the kind of argument that they are none of."""

import datetime as dt
import decimal
import math
import random
from typing import Any

from agents_store_cloudflare.contract.state.records import AgentState

__all__ = ["MOST_BYTES", "bad_value"]

MOST_BYTES = 20_000
OVER_A_LIMIT = "x" * (MOST_BYTES + 1)


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
    """A dict with values that JSON does not have."""


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
    *(dt.datetime.now(tz=dt.UTC), decimal.Decimal(1), range(3), len, int, 10**5_000, 1j),
]
SURROGATES = ["\ud800", "a\udfffb", "\udc80" * 3]
BAD_JSON: list[Any] = [
    *(math.nan, math.inf, -math.inf, *SURROGATES, {"\ud800": 1}, (1, 2), {1: 2}, {None: 1}, {"a": {2.5: 1}}, b"x", object()),
    *({1}, 10**5_000),
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
    *(each for each in OTHER_TYPES if not isinstance(each, dict)),
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
    ["x"],
    [("role", "x")],
]
BAD["messages"] += [[{"role": "user", "content": each}] for each in [*BAD_JSON, OVER_A_LIMIT]] + [
    [{"role": "user", 1: 2}]
]
BAD["version"] = [each for each in BAD["whole"] if each is not None]

STATE_FIELDS: dict[str, list[Any]] = {
    **dict.fromkeys(("agent_type", "status"), BAD["label"]),
    **dict.fromkeys(("step_count", "resume_count", "version"), BAD["whole"]),
    **dict.fromkeys(("error", "abort_reason"), BAD["text"]),
    **dict.fromkeys(("output", "suspension_context", "pending_client_tool_calls", "tracing_context"), BAD["json"]),
    **{name: [each for each in BAD["id"] if each is not None] for name in ("parent_session_id", "root_session_id")},
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
    """Return a state, as an object or a mapping, with one wrong part."""
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
    """Return a staged change with one wrong part."""
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
    """Return something that is no changes to merge."""
    replacements = choice.choice([5, "x", [1], [None], ["\ud800"], [b"x"], None])
    several: list[Any] = [
        choice.choice([*BAD["object"], None]),
        {"values": {}, "arrayReplacements": replacements},
        {"values": 5, "arrayReplacements": []},
    ]
    return choice.choice(several)


def bad_refs(choice: random.Random) -> Any:
    """Return references with one wrong reference."""
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
    no_refs: list[Any] = [*OTHER_TYPES, "x", None, [], [{}], good]
    return choice.choice([refs, refs, refs, choice.choice(no_refs)])


MAKERS = {"state": bad_state, "change": bad_change, "merge": bad_merge, "refs": bad_refs}


def bad_value(kind: str, choice: random.Random) -> Any:
    """Return a value of a wrong kind."""
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
