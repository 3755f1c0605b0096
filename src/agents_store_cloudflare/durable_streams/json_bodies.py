"""Reads the messages of a request's JSON body. It holds only a small part of the body as Python objects.

A body `[1,1,1,…]` takes over a hundred times its size as a list of values and their texts. So a long array is read element by
element. The number of messages in a body and the number of values in a message have limits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_values import MAX_DEPTH, JsonValue, encode_json, parse_json
from agents_store_cloudflare.durable_streams.refusals import Refusal

__all__ = ["MAX_MESSAGES", "MAX_MESSAGE_BYTES", "MAX_VALUES", "json_messages"]

SMALL_BYTES: Final = 16 * 1024
"""A body up to this size is parsed as a whole, which is fastest."""

MAX_VALUES: Final = 100_000
"""The most values in one message. The check of a message may need up to 200 bytes of memory for each value."""

MAX_MESSAGES: Final = 100_000
"""The most messages of one body."""

MAX_MESSAGE_BYTES: Final = 1_950_000
"""The most bytes of a message in a body.

The log refuses a compact message of over 1,900,000 bytes. In the body it may have a few spaces more.
"""

WINDOW_BYTES: Final = 64 * 1024
"""The bytes of a long array that are decoded at a time. A longer message needs a larger part."""

LONGEST_TOKEN: Final = 16
"""A word or an escape that is cut begins at most this many characters before a window's end."""

_SPACE: Final = re.compile(rb"[ \t\n\r]*")
_STRING: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_NOT_BRACKETS: Final = re.compile(r"[^][{}]+")


def json_messages(body: bytes) -> Iterator[str]:
    """Yield the messages of a body: its value, or each element if the value is an array.

    Raises:
        InvalidArgumentError: the body is not strict JSON, or nests too deep.
        Refusal: 413, the body has too many messages, or a message is too large or has too many values.
    """
    start = _after_space(body, 0)
    if len(body) > SMALL_BYTES and body[start : start + 1] == b"[":
        for count, text in enumerate(_elements(body, start + 1), 1):
            if count > MAX_MESSAGES:
                raise _too_large(f"the body has over {MAX_MESSAGES:,} messages")
            yield text
        return
    _check_values(body.decode("latin-1"))
    value = _parsed(body, "the body")
    for each in value if isinstance(value, list) else [value]:
        yield encode_json(each, name="a message")


def _elements(body: bytes, at: int) -> Iterator[str]:
    """Yield the compact text of each element of the array whose first element may begin at `at`."""
    at = _after_space(body, at)
    if body[at : at + 1] == b"]":
        _check_end(body, at + 1)
        return
    while True:
        window = _Window(body, at)
        for begin, end, value in window.elements():
            yield encode_json(window.exact(begin, end, value), name="a message")
            after = _after_space(body, end)
            if body[after : after + 1] == b"]":
                _check_end(body, after + 1)
                return
            if body[after : after + 1] != b",":
                raise _no_json()
            at = _after_space(body, after + 1)


class _Window:
    """A part of a body that begins with an element. Each byte becomes one character, so positions in both are the same."""

    def __init__(self, body: bytes, start: int) -> None:
        self._body = body
        self._start = start

    def elements(self) -> Iterator[tuple[int, int, Any]]:
        """Yield begin, end and value of each complete element of the window, at least of one."""
        size_bytes = WINDOW_BYTES
        while True:
            text = self._body[self._start : self._start + size_bytes].decode("latin-1")
            is_rest = self._start + size_bytes >= len(self._body)
            found = self._scanned(text, is_rest=is_rest)
            first = next(found, None)
            if first is not None:
                yield first
                yield from found
                return
            if is_rest:
                raise _no_json()
            if size_bytes > MAX_MESSAGE_BYTES:
                raise _too_large(f"a message has over {MAX_MESSAGE_BYTES:,} bytes")
            size_bytes *= 4

    def exact(self, begin: int, end: int, value: JsonValue) -> JsonValue:
        """Return the value of an element, decoded as UTF-8 if it is not ASCII."""
        text = self._body[begin:end]
        return value if text.isascii() else _parsed(text, "a message")

    def _scanned(self, text: str, *, is_rest: bool) -> Iterator[tuple[int, int, Any]]:
        _check_values(text)
        at = 0
        while at < len(text):
            try:
                value, end = _scan(text, at)
            except StopIteration as stopped:
                self._check_cut(text, stopped.value, is_rest=is_rest)
                return
            except json.JSONDecodeError as error:
                is_open = error.msg.startswith("Unterminated")
                self._check_cut(text, len(text) if is_open else error.pos, is_rest=is_rest)
                return
            except ValueError:
                raise _no_json() from None
            if end == len(text) and not is_rest:
                return  # a number may go on in the next window
            yield self._start + at, self._start + end, value
            at = _next_element(text, end)

    def _check_cut(self, text: str, at: int, *, is_rest: bool) -> None:
        """Check that the scanner stopped only because the window ends there."""
        if is_rest or at < len(text) - LONGEST_TOKEN:
            raise _no_json()


_NEXT: Final = re.compile(r"[ \t\n\r]*,[ \t\n\r]*")


def _next_element(text: str, end: int) -> int:
    """Return the beginning of the element after the one that ends at `end`, or the end of the text if none follows."""
    found = _NEXT.match(text, end)
    return len(text) if found is None else found.end()


def _check_values(text: str) -> None:
    """Check that a text has not too many values, and does not nest so deep that the scanner fails.

    Raises:
        InvalidArgumentError, Refusal.
    """
    if text.count("[") + text.count("{") > MAX_DEPTH and _nests_too_deep(text):
        raise InvalidArgumentError(f"the body nests deeper than {MAX_DEPTH} levels")
    # One of these characters stands before each value except the first.
    if _count(text) > MAX_VALUES and _count(_STRING.sub("", text)) > MAX_VALUES:
        raise _too_large(f"a message has over {MAX_VALUES:,} values")


def _count(text: str) -> int:
    return sum(map(text.count, ",:[{"))


def _nests_too_deep(text: str) -> bool:
    """Return whether a text nests more than `MAX_DEPTH` brackets. The end of the text may be missing."""
    brackets = _NOT_BRACKETS.sub("", _STRING.sub("", text))
    for _ in range(MAX_DEPTH):
        fewer = brackets.replace("[]", "").replace("{}", "")
        if fewer == brackets:
            return brackets.count("[") + brackets.count("{") > MAX_DEPTH
        brackets = fewer
    return bool(brackets)


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(constant)


def _make_scan() -> Callable[[str, int], tuple[Any, int]]:
    """Return the function behind `JSONDecoder.raw_decode`. Its error has the position at which a value breaks off."""
    decoder: Any = json.JSONDecoder(parse_constant=_refuse_constant)
    scan: Callable[[str, int], tuple[Any, int]] = decoder.scan_once
    return scan


_scan: Final = _make_scan()


def _parsed(text: bytes, name: str) -> JsonValue:
    try:
        return parse_json(text, name=name)
    except RecursionError:
        raise InvalidArgumentError(f"{name} nests too deep") from None


def _after_space(body: bytes, at: int) -> int:
    found = _SPACE.match(body, at)
    return at if found is None else found.end()


def _check_end(body: bytes, at: int) -> None:
    if _after_space(body, at) != len(body):
        raise _no_json()


def _no_json() -> InvalidArgumentError:
    return InvalidArgumentError("the body is not valid JSON")


def _too_large(what: str) -> Refusal:
    return Refusal(413, "body_too_large", f"{what}; send the body in parts")
