"""User JSON: what goes in comes out, and nothing else goes in."""

import dataclasses
import enum
import json
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_values import MAX_DEPTH, decode_json, encode_each, encode_json, parse_json


def _short(value: object) -> str:
    return "long integer" if isinstance(value, int) else ascii(value)


texts = st.text(st.characters(codec="utf-8"))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=30,
)


@given(st.lists(values | st.sampled_from(["\x1e", ["a", "\x1e", "b"], ["\x1e", "\x1e"], {"k": ["", "\x1e", 1]}])))
def test_values_encoded_together(several: list[object]) -> None:
    """Values that are encoded together give the same texts as alone, also if one contains the separator."""
    assert encode_each(several, name="value") == [encode_json(value, name="value") for value in several]


@given(values)
def test_values_come_back_exactly(value: object) -> None:
    """Every JSON value survives, types and key order included, and its text holds no raw newline."""
    text = encode_json(value, name="value")
    assert "\n" not in text
    assert repr(decode_json(text)) == repr(value)
    assert repr(parse_json(text.encode(), name="value")) == repr(value)


@given(st.integers(1, 400), st.sampled_from(["list", "dict"]))
def test_depth_is_the_limit(depth: int, kind: str) -> None:
    """200 levels pass in both directions and 201 do not, whatever the containers are."""
    value: object = [] if kind == "list" else {}
    for _ in range(depth - 1):
        value = [value] if kind == "list" else {"k": value}
    if depth <= MAX_DEPTH:
        assert parse_json(encode_json(value, name="value"), name="value") == value
        return
    with pytest.raises(InvalidArgumentError, match="nests deeper"):
        encode_json(value, name="value")
    with pytest.raises(InvalidArgumentError, match="nests deeper"):
        parse_json(json.dumps(value), name="value")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "\udfff", {"\ud800": 1}, 10**5_000], ids=_short)
def test_values_json_cannot_carry(value: object) -> None:
    """NaN, infinities, lone surrogates and huge integers are a ValueError that names the value."""
    with pytest.raises(ValueError, match="the thing"):
        encode_json([value], name="the thing")


@pytest.mark.parametrize("value", [(1,), {1: 2}, {None: 1}, b"x", {1, 2}, Ellipsis, [b"x"], {"k": (1,)}], ids=repr)
def test_types_json_does_not_have(value: object) -> None:
    """Other types are a TypeError that names the value."""
    with pytest.raises(TypeError, match="the thing"):
        encode_json(value, name="the thing")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "nul",
        "NaN",
        "[Infinity]",
        '{"a":1,}',
        "'x'",
        b"\xff",
        "\ufeff{}",
        "[" * 100_000,
        "]" * 300,
        "1" * 5_000,
    ],
    ids=lambda text: repr(text[:12]),
)
def test_text_from_outside_is_refused(text: str | bytes) -> None:
    """A text that is not strict JSON raises the package's error, however deep or long it is."""
    with pytest.raises(InvalidArgumentError, match="the body"):
        parse_json(text, name="the body")


def test_brackets_inside_strings_do_not_count() -> None:
    """A text full of brackets is not deep."""
    text = json.dumps(["[{" * 500 + '"\\', "]" * 9])
    assert parse_json(text, name="value") == json.loads(text)


@dataclasses.dataclass
class _Plan:
    step: int = 1


class _Colour(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (
            {"plan": [{}, {"due": datetime(2026, 1, 1, tzinfo=UTC)}]},
            r"state\.plan\[1\]\.due is of type datetime.*value\.isoformat",
        ),
        ((1, 2), r"^state is of type tuple.*list\(value\)"),
        ({"a b": b"x"}, r"state\['a b'\] is of type bytes.*b64encode"),
        ({"plan": _Plan()}, r"state\.plan is of type _Plan.*dataclasses\.asdict"),
        ({"colour": _Colour.RED}, r"state\.colour is of type _Colour.*value\.value"),
        ({"x" * 500: object()}, r"^state\['x{39}…\] is of type object"),
        ({"plan": [{1: "x"}]}, r"^state\.plan\[0\] has a key that is not text.*str\(key\)"),
        ({"deep": [0.5, float("nan")]}, r"state\.deep\[1\] holds a number"),
        ({"deep": ["\ud800"]}, r"state\.deep\[0\] holds a lone surrogate"),
        ({"\ud800": 1}, r"its key '\\ud800'\) holds a lone surrogate"),
    ],
)
def test_a_refusal_names_the_place_and_the_remedy(value: object, told: str) -> None:
    """The error names the place of the bad value and its replacement."""
    with pytest.raises((TypeError, ValueError), match=told):
        encode_json(value, name="state")


def test_a_container_that_holds_itself_is_refused() -> None:
    """A cycle is refused for its depth, also with a bad value inside it."""
    cycle: list[object] = []
    cycle.append(cycle)
    with pytest.raises(ValueError, match="nests deeper"):
        encode_json(cycle, name="state")
    cycle.append(object())
    with pytest.raises(TypeError, match=r"state\[1\] is of type object"):
        encode_json(cycle, name="state")
