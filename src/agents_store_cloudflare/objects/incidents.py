"""Writes one log line for an error that is not the package's own. The line has an id, and the caller gets this id.

The Workers runtime makes an event of every line that is printed. A traceback of thirty lines becomes thirty events between those of
other requests. So the record is one line: the error, and the calls that led to it, the innermost first.
"""

from __future__ import annotations

import logging
import secrets
import traceback
from collections.abc import Iterator
from typing import Final

__all__ = ["log_incident"]

MAX_CALLS: Final = 20
"""The most calls that the line names for one error of a chain."""


def log_incident(error: Exception, logger: logging.Logger) -> str:
    """Write one record with the error's cause, and return its id."""
    incident = secrets.token_hex(6)
    logger.error("internal error %s: %s", incident, "; caused by ".join(map(_told, _chain(error))))
    return incident


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _told(error: BaseException) -> str:
    text = " ".join(str(error).split())
    frames = traceback.extract_tb(error.__traceback__)[-MAX_CALLS:]
    calls = " < ".join(f"{_file(frame.filename)}:{frame.lineno} {frame.name}" for frame in reversed(frames))
    return f"{type(error).__name__}: {text}" + (f" at {calls}" if calls else "")


def _file(path: str) -> str:
    """Return the last two parts of a path: enough to find the module."""
    return "/".join(path.replace("\\", "/").rsplit("/", 2)[-2:])
