"""What every call checks before anything is sent: ids, spans of time, fencing tokens, whole numbers."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar, cast

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
"""A status, an agent type: they change beside a state that may be as large as a row can be."""

MAX_ERROR_BYTES = 50_000
"""The error of a run or of a reference."""

MAX_SAFE_INTEGER = 2**53 - 1
"""The largest integer that survives the JavaScript side: numbers cross as doubles."""

LONGEST_SPAN = 1e15

T = TypeVar("T")

Seconds: TypeAlias = "float | timedelta"


class Unset(Enum):
    """The type of `UNSET`."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET
"""An argument that was left out, where None means something else."""

FencingToken: TypeAlias = "int | Lock | Unset"
"""A fencing token, or the lock that holds it. None is refused: it is the answer of a lock that was not acquired."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def check_id(value: object, name: str) -> str:
    """`value` if it is an id the package takes: 1 to 512 UTF-8 bytes, no control characters, not beginning with `__`.

    Raises:
        TypeError: not text.
        InvalidArgumentError: any other rule, named.
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
    """`value` if it is text that UTF-8 can carry, at least one character of it unless `empty`, at most `max_bytes`.

    Raises:
        TypeError: not text.
        InvalidArgumentError: empty, a lone surrogate, too long.
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
    """The machine's time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def check_whole_number(value: object, name: str, *, low: int = 0, high: int = MAX_SAFE_INTEGER) -> int:
    """`value` if it is an int within low … high (both allowed).

    Raises:
        TypeError: not an int (a bool is none).
        InvalidArgumentError: out of range.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if not low <= value <= high:
        shown = f"{value:,}" if abs(value) < 10**30 else "out of range"
        raise InvalidArgumentError(f"{name} is {shown}; allowed are {low:,} to {high:,}")
    return value


def check_flag(value: object, name: str) -> bool:
    """`value` if it is True or False: a text like "false" would count as true.

    Raises:
        TypeError: anything else.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {type(value).__name__}")
    return value


def options_of(options: T | None, settings: Mapping[str, object], make: Callable[..., T]) -> T:
    """Return the options of a store or manager, which takes them as one object or one by one as keywords.

    Args:
        options: the object, if it was given.
        settings: the keywords that were given.
        make: the class of the options.

    Raises:
        TypeError: both were given.
    """
    if options is None:
        return make(**settings)
    if settings:
        raise TypeError("give options, or the settings one by one, not both")
    return options


def check_fencing_token(token: FencingToken) -> int | None:
    """Return the number of a fencing token, given as a number or as the lock that holds it; None where it was left out.

    Raises:
        MissingFencingTokenError: the caller passed None.
        TypeError: neither a number nor a lock.
        InvalidArgumentError: out of range.
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
    """Whole milliseconds of a span given in seconds (or as a timedelta), or by its `_ms` twin; None where neither is given.

    Raises:
        TypeError: both are given, or the value is no number.
        InvalidArgumentError: negative, not finite, or over `most_seconds`: then it looks like milliseconds.
    """
    if seconds is not None and milliseconds is not None:
        raise TypeError(f"give {name} (seconds) or {name}_ms (milliseconds), not both")
    value = seconds if seconds is not None else milliseconds
    if value is None:
        return None
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(cast("object", value), int | float):
        raise TypeError(f"{name} must be a number of seconds or a timedelta, not {type(value).__name__}")
    if not 0 <= value <= LONGEST_SPAN:
        raise InvalidArgumentError(f"{name} must be a span of zero or more, and not for ever")
    in_seconds = value if seconds is not None else value / 1000
    if most_seconds is not None and in_seconds > most_seconds:
        unit = f"seconds; for milliseconds use {name}_ms" if seconds is not None else "milliseconds"
        raise InvalidArgumentError(f"{name} is {value:,.6g} {unit}; at most {most_seconds:,.0f} seconds are allowed")
    return round(in_seconds * 1000)
