"""The stand-in of `ormsgpack` gives the bytes of the real module, under the options of LangGraph's own serializer."""

import dataclasses
import datetime as dt
import decimal
import enum
import ipaddress
import pathlib
import re
import subprocess
import sys
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, NamedTuple

import ormsgpack
import pytest
from hypothesis import given, settings, strategies as st
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.serde import jsonplus
from langgraph.types import Command, Interrupt, Send
from pydantic import BaseModel, SecretStr

from agents_store_cloudflare.adapters.langgraph import ormsgpack_place, ormsgpack_stand_in
from tests.lengths import length

OPTION: int = vars(jsonplus)["_option"]
DEFAULT: Callable[[Any], Any] = vars(jsonplus)["_msgpack_default"]


class Color(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Word(enum.StrEnum):
    YES = "yes"


class Text(str):
    __slots__ = ()


class Point(NamedTuple):
    x: int
    y: Any


@dataclasses.dataclass
class Box:
    inside: Any


class Model(BaseModel):
    name: str
    more: Any = None


VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 127, 128, 255, 256, -32, -33, -128, -129, 2**16, 2**32, 2**63, 2**64 - 1, -(2**63)),
    *(0.0, -0.0, 1.5, 1e308, float("inf"), float("-inf")),
    *("", "a", "x" * 31, "x" * 32, "x" * 255, "x" * 256, "x" * 70_000, "ё🎉", "a\ud800b", Text("text")),
    *(b"", b"x", b"x" * 300, b"x" * 70_000, bytearray(b"xy"), memoryview(b"abc")),
    *([], [1, [2, [3]]], list(range(20)), list(range(70_000)), (), (1, "a"), ((1,), [2])),
    *(
        {},
        {"a": 1},
        {str(n): n for n in range(20)},
        {1: 2},
        {None: 1},
        {True: 1},
        {1.5: 1},
        {b"x": 1},
        {(1, (2, "a")): 1},
    ),
    *(
        {Color.RED: 1},
        {Level.HIGH: 1},
        {Word.YES: 1},
        OrderedDict(a=1),
        {dt.date(2026, 1, 2): 1},
        {uuid.UUID(int=5): 1},
    ),
    *({dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC): 1}, {dt.time(1, 2, 3): 1}),
    *({1, 2}, frozenset({1}), deque([1, 2]), Color.RED, Level.HIGH, Word.YES, Point(1, (2,)), Box(Box(1))),
    *(
        dt.datetime.fromisoformat("2026-01-02T03:04:05"),
        dt.datetime.now(dt.UTC),
        dt.date(2026, 1, 2),
        dt.time(1, 2),
        dt.timedelta(1, 2, 3),
    ),
    *(uuid.UUID(int=7), decimal.Decimal("1.20"), pathlib.Path("/a/b"), re.compile("a.b", re.IGNORECASE)),
    *(ipaddress.ip_address("1.2.3.4"), ipaddress.ip_network("2001:db8::/32"), SecretStr("hush"), ValueError("no")),
    *(
        Send("node", {"a": (1,)}),
        Command(resume={"x": 1}),
        Interrupt("why", id="i"),
        Model(name="m", more=[Model(name="n")]),
    ),
    *(HumanMessage("hi", id="1"), AIMessage("x", tool_calls=[{"name": "t", "args": {"a": 1}, "id": "c"}])),
    ToolMessage("r", tool_call_id="c", artifact={"a": (1,)}),
]
REFUSED: dict[str, Any] = {
    "too large": 2**64,
    "too small": -(2**63) - 1,
    "object": object(),
    "lone surrogate as key": {"\ud800": 1},
    "object as key": {object(): 1},
    "function": len,
}


def _packed(module: Any, value: Any) -> Any:
    """Return the bytes that LangGraph's serializer would store with this module, or TypeError."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonplus, "ormsgpack", module)
        try:
            return module.packb(value, default=DEFAULT, option=OPTION)
        except TypeError:
            return TypeError


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_the_same_bytes(value: Any) -> None:
    """LG-14: Both modules give the same bytes and read back the same value."""
    packed = _packed(ormsgpack, value)
    assert packed is not TypeError
    assert _packed(ormsgpack_stand_in, value) == packed
    hook: Any = vars(jsonplus)["_msgpack_ext_hook"]
    option = ormsgpack.OPT_NON_STR_KEYS
    theirs = ormsgpack.unpackb(packed, ext_hook=hook, option=option)
    ours = ormsgpack_stand_in.unpackb(packed, ext_hook=hook, option=option)
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED)
def test_the_same_refusals(value: Any) -> None:
    """LG-14: Both modules refuse the same values with the same error."""
    assert _packed(ormsgpack, value) is _packed(ormsgpack_stand_in, value) is TypeError


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(max_size=40),
    st.dates(),
    st.datetimes(timezones=st.one_of(st.none(), st.just(dt.UTC))),
    st.uuids(),
    st.sampled_from([*Color, *Level, *Word]),
    st.decimals(allow_nan=False),
)
KEYS = st.one_of(
    st.text(), st.integers(-(2**63), 2**64 - 1), st.none(), st.booleans(), st.tuples(st.text(), st.integers(0, 9))
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=20),
        st.tuples(inner, inner),
        st.dictionaries(KEYS, inner, max_size=20),
        st.builds(Box, inner),
        st.builds(Point, st.integers(0, 9), inner),
    ),
    max_leaves=30,
)


@settings(max_examples=length(400, 5_000), deadline=None)
@given(TREES)
def test_fuzzed(value: Any) -> None:
    """LG-14: Both modules give the same bytes for generated values."""
    packed = _packed(ormsgpack, value)
    assert _packed(ormsgpack_stand_in, value) == packed
    if packed is not TypeError:
        option = ormsgpack.OPT_NON_STR_KEYS
        ours = ormsgpack_stand_in.unpackb(packed, option=option, ext_hook=lambda code, data: (code, data))
        assert repr(ours) == repr(ormsgpack.unpackb(packed, option=option, ext_hook=lambda code, data: (code, data)))


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x92\x01", b"\xa5ab"])
def test_bytes_that_are_none(data: bytes) -> None:
    """LG-14: Bytes that are no msgpack are a ValueError, as in the real module."""
    for module in (ormsgpack, ormsgpack_stand_in):
        with pytest.raises(ValueError):  # noqa: PT011 - their words differ
            module.unpackb(data)


def test_the_options_of_the_real_module() -> None:
    """LG-14: The numbers of the options are the same, and a missing option is refused by name."""
    names = [name for name in ormsgpack_stand_in.__all__ if name.startswith("OPT")]
    assert names
    for name in names:
        assert getattr(ormsgpack_stand_in, name) == getattr(ormsgpack, name)
    with pytest.raises(NotImplementedError, match="option"):
        ormsgpack_stand_in.packb({}, option=OPTION | ormsgpack.OPT_SORT_KEYS)


def test_an_installed_module_stays() -> None:
    """LG-14: The stand-in replaces a missing module, never an installed one."""
    ormsgpack_place.fill_in_ormsgpack()
    assert sys.modules["ormsgpack"] is ormsgpack


WITHOUT = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "ormsgpack" else find(name, *more)
import agents_store_cloudflare.adapters.langgraph
import ormsgpack
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langchain_core.messages import HumanMessage
serde = JsonPlusSerializer()
print(ormsgpack.__name__.rsplit(".", 1)[1], serde.loads_typed(serde.dumps_typed(HumanMessage("hi"))).content)
"""


def test_where_it_is_missing() -> None:
    """LG-14: LangGraph's own serializer works on the stand-in."""
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["ormsgpack_stand_in", "hi"]
