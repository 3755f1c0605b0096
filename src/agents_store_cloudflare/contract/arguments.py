"""Checks of arguments that every call makes before it sends anything: ids, spans of time, fencing tokens, whole numbers."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import Enum
from functools import lru_cache
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast

from agents_store_cloudflare.contract.errors import InvalidArgumentError, MissingFencingTokenError

if TYPE_CHECKING:
    from agents_store_cloudflare.contract.locks import Lock

__all__ = [
    "MAX_ERROR_BYTES",
    "MAX_ID_BYTES",
    "MAX_LABEL_BYTES",
    "MAX_SAFE_INTEGER",
    "UNSET",
    "FencingToken",
    "Seconds",
    "Unset",
    "called_by_its_name",
    "check_fencing_token",
    "check_flag",
    "check_id",
    "check_text",
    "check_whole_number",
    "options_of",
    "span_ms",
    "system_now_ms",
]

MAX_ID_BYTES = 512
MAX_LABEL_BYTES = 2_000
"""The most bytes of a status or an agent type. It stands in one row with a state that may be as large as a row can be."""

MAX_ERROR_BYTES = 50_000
"""The most bytes of the error of a run or a reference."""

MAX_SAFE_INTEGER = 2**53 - 1
"""The largest integer that JavaScript keeps exact: numbers cross as doubles."""

LONGEST_SPAN = 1e15

T = TypeVar("T")

Seconds: TypeAlias = float | timedelta


class Unset(Enum):
    """The type of `UNSET`."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET
"""The default of an argument that may be None: it says that the caller left the argument out."""

if TYPE_CHECKING:
    FencingToken: TypeAlias = int | Lock | Unset
    """A fencing token, or the lock that holds it. None is refused, because `acquire` returns None when it did not get the lock."""
else:
    FencingToken = int | Any | Unset  # the module of locks imports this one

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def check_id(value: object, name: str) -> str:
    """Return `value` if it is an id: 1 to 512 UTF-8 bytes, no control characters, not beginning with `__`.

    Args:
        value: what the caller gave.
        name: the argument's name, for the error.

    Raises:
        TypeError: it is not text.
        InvalidArgumentError: it breaks a rule; the message names the rule.
    """
    text = check_text(value, name, empty=True)
    size_bytes = len(text.encode())
    if not 1 <= size_bytes <= MAX_ID_BYTES:
        raise InvalidArgumentError(f"{name} has {size_bytes:,} bytes, allowed are 1 to {MAX_ID_BYTES}")
    if _CONTROL.search(text):
        raise InvalidArgumentError(f"{name} holds a control character")
    if text.startswith("__"):
        raise InvalidArgumentError(f"{name} begins with '__', which is reserved")
    return text


def check_text(value: object, name: str, *, empty: bool = False, max_bytes: int | None = None) -> str:
    """Return `value` if it is text that UTF-8 can carry.

    Args:
        value: what the caller gave.
        name: the argument's name, for the error.
        empty: allow the empty text.
        max_bytes: the most UTF-8 bytes; None for any number.

    Raises:
        TypeError: it is not text.
        InvalidArgumentError: it is empty, holds a lone surrogate, or is too long.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, not {type(value).__name__}")
    if not value and not empty:
        raise InvalidArgumentError(f"{name} is empty")
    try:
        size_bytes = len(value.encode())
    except UnicodeEncodeError:
        raise InvalidArgumentError(f"{name} holds a lone surrogate") from None
    if max_bytes is not None and size_bytes > max_bytes:
        raise InvalidArgumentError(f"{name} has {size_bytes:,} bytes, allowed are {max_bytes:,}")
    return value


def system_now_ms() -> int:
    """Return the machine's time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def check_whole_number(value: object, name: str, *, low: int = 0, high: int = MAX_SAFE_INTEGER) -> int:
    """Return `value` if it is an int from `low` to `high`, both included.

    Raises:
        TypeError: it is not an int, or it is a bool.
        InvalidArgumentError: it is out of range.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if not low <= value <= high:
        shown = f"{value:,}" if abs(value) < 10**30 else "out of range"
        raise InvalidArgumentError(f"{name} is {shown}; allowed are {low:,} to {high:,}")
    return value


def check_flag(value: object, name: str) -> bool:
    """Return `value` if it is True or False. A text such as "false" would count as true.

    Raises:
        TypeError: it is anything else.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {type(value).__name__}")
    return value


@lru_cache(maxsize=16)
def _defaults(make: Callable[..., object]) -> object:
    """Return the options of a class without settings, checked once. Nothing can change them."""
    return make()


def options_of(options: T | None, settings: Mapping[str, object], make: Callable[..., T]) -> T:
    """Return the options of a store or manager. The caller gives them as one object, or as single keyword arguments.

    Args:
        options: the object, if it was given.
        settings: the keywords that were given.
        make: the class of the options.

    Raises:
        TypeError: both were given.
    """
    if options is None:
        return make(**settings) if settings else cast("T", _defaults(make))
    if settings:
        raise TypeError("give options, or the settings one by one, not both")
    return options


def check_fencing_token(token: FencingToken) -> int | None:
    """Return the number of a fencing token, given as a number or as the lock that holds it; None if it was left out.

    Raises:
        MissingFencingTokenError: the caller passed None.
        TypeError: it is neither a number nor a lock.
        InvalidArgumentError: it is out of range.
    """
    if token is UNSET:
        return None
    if cast("object", token) is None:
        raise MissingFencingTokenError(
            "fencing_token is None: the lock was not acquired. Check the answer of acquire for None, "
            "or leave fencing_token out for a write without a fence"
        )
    number = token if isinstance(token, int) else getattr(token, "fencing_token", token)
    return check_whole_number(number, "fencing_token", low=1)


def span_ms(
    seconds: float | timedelta | None, milliseconds: float | None, name: str, *, most_seconds: float | None = None
) -> int | None:
    """Return the whole milliseconds of a span of time; None if it was not given.

    Args:
        seconds: the span in seconds, or as a timedelta.
        milliseconds: the same span in milliseconds, by the argument `<name>_ms`.
        name: the argument's name, for the error.
        most_seconds: the longest span that makes sense here. A longer one was probably meant in milliseconds.

    Raises:
        TypeError: both were given, or the value is no number.
        InvalidArgumentError: it is negative, not finite, or over `most_seconds`.
    """
    if seconds is not None and milliseconds is not None:
        raise TypeError(f"give {name} (seconds) or {name}_ms (milliseconds), not both")
    value = seconds if seconds is not None else milliseconds
    if value is None:
        return None
    if isinstance(value, timedelta):
        if seconds is None:
            raise TypeError(f"{name}_ms must be a number, not timedelta; give a timedelta as {name}")
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(cast("object", value), int | float):
        raise TypeError(f"{name} must be a number of seconds or a timedelta, not {type(value).__name__}")
    if not 0 <= value <= LONGEST_SPAN:
        raise InvalidArgumentError(f"{name} must be a span of time from zero up; it cannot be infinite")
    in_seconds = value if seconds is not None else value / 1000
    if most_seconds is not None and in_seconds > most_seconds:
        unit = f"seconds; for milliseconds use {name}_ms" if seconds is not None else "milliseconds"
        raise InvalidArgumentError(f"{name} is {value:,.6g} {unit}; at most {most_seconds:,.0f} seconds are allowed")
    return round(in_seconds * 1000)


def called_by_its_name(cls: type[T]) -> type[T]:
    """Let Python's errors about the arguments of calls name this class, not the parts that it inherits the calls from.

    A decorator of classes. A protocol's own calls keep their name, because other classes inherit them too.
    """
    for part in cls.__mro__[1:]:
        if part.__module__.startswith("agents_store_cloudflare.") and not getattr(part, "_is_protocol", False):
            for name, call in vars(part).items():
                if isinstance(call, FunctionType):
                    # Both, since `inspect.getdoc` finds the class of a call by them, and there the docstring of the protocol.
                    call.__qualname__, call.__module__ = f"{cls.__qualname__}.{name}", cls.__module__
    return cls
