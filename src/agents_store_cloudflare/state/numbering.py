"""The integer keys of messages and checkpoints: each session owns one range of them, which begins at its number times its length."""

from __future__ import annotations

from typing import LiteralString

__all__ = ["FIRST_KEY", "KEYS_PER_SESSION", "LAST_KEY", "MAX_MESSAGES", "first_key", "last_key"]

KEYS_PER_SESSION: LiteralString = "16777216"
"""How many keys a session has, as SQL: 2^24. A block's key is that of its first message; a checkpoint's number begins at 1."""

MAX_MESSAGES = int(KEYS_PER_SESSION)
"""How many messages one session can hold. Checkpoints: one less."""


def first_key(session_no: LiteralString) -> LiteralString:
    """Return the SQL of the first key of the session whose number is the SQL expression `session_no`."""
    return f"{session_no} * {KEYS_PER_SESSION}"


def last_key(session_no: LiteralString) -> LiteralString:
    """Return the SQL of the last key of the session whose number is the SQL expression `session_no`."""
    return f"{first_key(session_no)} + {KEYS_PER_SESSION} - 1"


FIRST_KEY: LiteralString = first_key("s.session_no")
"""The SQL of the first key of the session of the state row `s`. Plus n it is the key of message n, or of checkpoint n."""

LAST_KEY: LiteralString = last_key("s.session_no")
"""The SQL of the last key of the session of the state row `s`."""
