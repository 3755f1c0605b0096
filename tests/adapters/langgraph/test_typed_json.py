"""Typed JSON: every value comes back as its own type, or is refused by name; nothing becomes None."""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import ipaddress
import math
import pathlib
import re
import uuid
import zoneinfo
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings, strategies as st
from langchain_core.agents import AgentAction, AgentActionMessageLog, AgentFinish, AgentStep
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.store.base import Item
from langgraph.types import Command, Interrupt, Overwrite, Send
from pydantic import BaseModel, SecretStr

from agents_store_cloudflare.adapters.langgraph import D1Saver, ForeignValueError, TypedJsonSerializer
from agents_store_cloudflare.testing import SqliteDatabase
from tests.adapters.langgraph.graphs import texts, turn
from tests.lengths import length


class Color(enum.Enum):
    RED = "red"
    BOTH = (1, 2)


class Point(NamedTuple):
    x: int
    y: Any


@dataclasses.dataclass
class Box:
    inside: Any
    later: int = dataclasses.field(default=0, init=False)


class Model(BaseModel):
    name: str
    more: Any = None


class Outer:
    class Inner(BaseModel):
        number: int


OWN = TypedJsonSerializer(allow=[Color, Point, Box, Model, Outer.Inner, SecretStr])
NOW = dt.datetime.fromisoformat("2026-11-26T16:04:24.123456")
VALUES: list[Any] = [
    *(None, True, 0, -1, 2**70, 1.5, -0.0, 1e308, math.inf, -math.inf, "", "ё🎉\t\n\x00", "\ud800", 3 + 4j),
    *(b"", b"\x00\xff", bytearray(b"xy"), [], [[]], (), (1, (2, [3])), set[int](), {1, "a"}, frozenset({(1, 2)})),
    *({}, {"a": {"b": [1, (2,)]}}, {1: 2, None: 3, (1, 2): 4}, {"$": 1}, {"$": ["tuple", [1]], "x": {"$": 2}}),
    *(collections.deque([1, 2], 3), collections.deque[int](), range(1, 9, 2), fractions.Fraction(1, 3)),
    *(NOW, NOW.replace(tzinfo=dt.UTC), NOW.replace(tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"), fold=1), NOW.date()),
    *(NOW.replace(tzinfo=dt.timezone(dt.timedelta(minutes=-90))), NOW.time(), dt.time(1, 2, tzinfo=dt.UTC)),
    *(
        dt.timedelta(1, 2, 3),
        dt.UTC,
        dt.timezone(dt.timedelta(hours=2), "own"),
        zoneinfo.ZoneInfo("UTC"),
        uuid.UUID(int=7),
    ),
    *(decimal.Decimal("1.20"), decimal.Decimal("Infinity")),
    *(re.compile("a.b", re.IGNORECASE), re.compile(b"a"), pathlib.Path("/a/b"), pathlib.PureWindowsPath("c:\\x")),
    *(ipaddress.ip_address("1.2.3.4"), ipaddress.ip_interface("1.2.3.4/8"), ipaddress.ip_network("2001:db8::/32")),
    *(HumanMessage("hi"), HumanMessage([{"type": "text", "text": "x"}], id="1", name="ada"), SystemMessage("s")),
    AIMessage("x", tool_calls=[{"name": "t", "args": {"a": 1}, "id": "c"}], response_metadata={"model": "m"}),
    AIMessage("", additional_kwargs={"tool_calls": [{"id": "c", "function": {"name": "t", "arguments": "{}"}}]}),
    AIMessage("u", usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}),
    *(ToolMessage("r", tool_call_id="c", artifact={"a": (1,)}, status="error"), RemoveMessage(id="x")),
    *(ChatMessage(content="c", role="r"), AIMessageChunk(content="chunk"), Document("page", metadata={"n": 1})),
    *(
        Send("node", {"a": (1,)}),
        Command(resume={"x": 1}, goto=[Send("n", 1)]),
        Interrupt("why", id="i"),
        Overwrite([1]),
    ),
    Item(value={"a": 1}, key="k", namespace=("a", "b"), created_at=NOW, updated_at=NOW),
    AgentAction("tool", {"a": [1]}, "log"),
    AgentActionMessageLog(tool="t", tool_input="x", log="", message_log=[AIMessage("m")]),
    *(AgentStep(action=AgentAction("t", "x", ""), observation=(1, "seen")), AgentFinish({"answer": (1,)}, "log")),
    *(Color.RED, Color.BOTH, Point(1, (2,)), Box(Box(1)), Model(name="m", more=[Model(name="n"), (1,)])),
    *(Outer.Inner(number=1), SecretStr("hush")),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values(value: Any) -> None:
    """LG-9: Values come back equal and with the same type, from one line of UTF-8 text."""
    text = OWN.dump(value)
    again = OWN.load(text)
    assert type(again) is type(value)
    assert again == value
    assert not set(text) & set("\t\n")
    assert OWN.loads_typed(OWN.dumps_typed([value])) == [value]


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.text(st.characters(categories=["Cs"]), max_size=3),
    st.binary(max_size=40),
    st.datetimes(timezones=st.one_of(st.none(), st.timezones())),
    st.times(),
    st.uuids(),
    st.decimals(allow_nan=False),
    st.ip_addresses(),
)
HASHABLE = st.one_of(st.text(), st.integers(), st.none(), st.booleans(), st.tuples(st.text(), st.integers()))


def _message(text: str, extra: Any) -> HumanMessage:
    return HumanMessage(text, artifact=extra)


TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=8),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(st.just("$"), HASHABLE), inner, max_size=8),
        st.sets(HASHABLE, max_size=5),
        st.builds(Box, inner),
        st.builds(Point, st.integers(0, 9), inner),
        st.builds(_message, st.text(), inner),
    ),
    max_leaves=30,
)


@settings(max_examples=length(400, 5_000), deadline=None)
@given(TREES)
def test_fuzzed(value: Any) -> None:
    """LG-9: Generated values come back equal and with the same type."""
    again = OWN.load(OWN.dump(value))
    assert again == value
    assert _kinds(again) == _kinds(value)


def _kinds(value: Any) -> Any:
    """Return the types of a value and of all values in it."""
    name = type(value).__name__
    if name == "dict":
        return name, [(_kinds(key), _kinds(value[key])) for key in value]
    if name == "set":
        return name, sorted(repr(_kinds(item)) for item in value)
    if name in {"list", "tuple", "Point"}:
        return name, [_kinds(item) for item in value]
    if isinstance(value, Box):
        return name, _kinds([value.inside, value.later])
    return name, _kinds(vars(value)) if isinstance(value, HumanMessage) else None


def test_not_a_number() -> None:
    """LG-9: NaN comes back as NaN, which `==` cannot show."""
    assert math.isnan(OWN.load(OWN.dump(math.nan)))


def test_kinds_made_from_plain_ones() -> None:
    """LG-9: Dicts, lists, texts and numbers of subclasses come back plain. An exception comes back as its text."""

    class Text(str):
        __slots__ = ()

    given_value: list[Any] = [
        collections.OrderedDict(a=1),
        collections.defaultdict(int, b=2),
        Text("t"),
        ValueError("no"),
    ]
    assert OWN.load(OWN.dump(given_value)) == [{"a": 1}, {"b": 2}, "t", "ValueError('no')"]


def _deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(300):
        value = [value]
    return value


def _circular() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def _local() -> Any:
    class Local(BaseModel):
        number: int

    return Local(number=1)


REFUSED: dict[str, tuple[Any, str]] = {
    "an object": (object(), "builtins.object"),
    "a function": (len, "builtin_function"),
    "deep": (_deep(), "190 levels"),
    "circular": (_circular(), "contains itself"),
    "an int of too many digits": (10**5_000, "digits"),
    "a class that is not allowed": ([Model(name="m")], "Model is not allowed"),
    "an enum that is not allowed": (Color.RED, "Color is not allowed"),
    "a dataclass that is not allowed": ({"x": Box(1)}, "Box is not allowed"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    """LG-9: A value that could not come back is refused by name when it is written."""
    value, words = REFUSED[name]
    with pytest.raises(ForeignValueError, match=words):
        TypedJsonSerializer().dump(value)


def test_a_class_inside_a_function() -> None:
    """LG-9: A class inside a function is refused even if everything is allowed, because nobody could rebuild it."""
    with pytest.raises(ForeignValueError, match="inside a function"):
        TypedJsonSerializer(allow=True).dump(_local())


STORED: dict[str, tuple[str, str]] = {
    "a class that is not allowed": ('{"$":["model",["os","system"],{}]}', "os.system is not allowed"),
    "an unknown tag": ('{"$":["new",1]}', "tag 'new'"),
    "no tag": ('{"$":5}', "cannot be rebuilt"),
    "more keys": ('{"$":["tuple",[]],"x":1}', "and other keys"),
    "no JSON": ("{", "cannot be rebuilt"),
    "parts that do not fit": ('{"$":["message","human.HumanMessage",{}]}', "HumanMessage cannot be rebuilt"),
    "bad bytes": ('{"$":["bytes","x"]}', "cannot be rebuilt"),
}


@pytest.mark.parametrize("name", STORED)
def test_stored_texts_that_are_none(name: str) -> None:
    """LG-9: A text that `dump` did not make is an error, never another value."""
    text, words = STORED[name]
    with pytest.raises(ForeignValueError, match=words):
        TypedJsonSerializer().load(text)


def test_classes_that_are_gone() -> None:
    """LG-9: The error names a missing class. When the class exists again, the value is readable."""
    allowed = [("tests.nowhere", "Gone"), ("datetime", "Gone"), ("math", "pi")]
    serde = TypedJsonSerializer(allow=allowed)
    for module, name in allowed:
        with pytest.raises(ForeignValueError, match=f"{module}.{name}"):
            serde.load(f'{{"$":["model",["{module}","{name}"],{{}}]}}')


def test_a_model_whose_rules_have_changed() -> None:
    """LG-9: A stored model comes back as it was stored, even if the class has new rules."""
    text = OWN.dump(Model(name="m")).replace('"m"', "5")
    again = OWN.load(text)
    assert isinstance(again, Model)
    assert again.name == 5  # type: ignore[comparison-overlap]


def test_another_serializers_bytes() -> None:
    """LG-9: Bytes of another serializer are refused by their kind."""
    with pytest.raises(ForeignValueError, match="msgpack"):
        OWN.loads_typed(JsonPlusSerializer().dumps_typed({"a": 1}))


def test_more_classes() -> None:
    """LG-9: LangGraph's allow-lists give a wider serializer, and the first serializer stays unchanged."""
    narrow = TypedJsonSerializer()
    wide = narrow.with_allowlist({(Model.__module__, "Model")})
    assert wide.load(wide.dump(Model(name="m"))) == Model(name="m")
    with pytest.raises(ForeignValueError):
        narrow.dump(Model(name="m"))
    assert TypedJsonSerializer(allow=True).with_allowlist(set()).dump(Color.RED)


class Rot:
    """A cipher for tests."""

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        return "rot", bytes(byte ^ 0x55 for byte in plaintext)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        assert ciphername == "rot"
        return bytes(byte ^ 0x55 for byte in ciphertext)


@pytest.mark.parametrize(
    "serde",
    [JsonPlusSerializer(), JsonPlusSerializer(pickle_fallback=True), EncryptedSerializer(Rot(), TypedJsonSerializer())],
    ids=["JsonPlus", "pickle", "encrypted"],
)
async def test_any_other_serializer(database: SqliteDatabase, serde: Any) -> None:
    """LG-12: A saver accepts any serializer. Lists still grow by new elements, and another serializer's values are refused by name."""
    for text in ("one", "two"):
        await turn(D1Saver(database, serde=serde), "t", text)
    assert await texts(D1Saver(database, serde=serde), "t") == [
        "one",
        "answer 1",
        "review 2",
        "two",
        "answer 4",
        "review 5",
    ]
    with pytest.raises(ForeignValueError):
        await texts(D1Saver(database), "t")


async def test_an_allow_list_for_a_saver(database: SqliteDatabase) -> None:
    """LG-9, LG-12: LangGraph derives savers that allow more classes. They share the known checkpoints and the fence."""
    saver = D1Saver(database)
    wide = saver.with_allowlist({(Model.__module__, "Model")})
    assert wide is not saver
    await turn(wide, "t", "hello")
    assert len(await texts(saver, "t")) == 3
    other = D1Saver(database, serde=JsonPlusSerializer(allowed_msgpack_modules=None))
    assert other.with_allowlist({("a", "B")}).serde is not other.serde
