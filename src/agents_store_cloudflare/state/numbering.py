"""The integer keys of messages and checkpoints.

Each session owns one range of keys. It begins at the session's number times the length of a range.
"""

from __future__ import annotations

from typing import LiteralString

__all__ = ["FIRST_KEY", "KEYS_PER_SESSION", "LAST_KEY", "MAX_MESSAGES", "first_key", "last_key"]

KEYS_PER_SESSION: LiteralString = "16777216"
"""The length of a session's range of keys, as SQL: 2^24. Messages are numbered from 0, and a block has the key of its first message.
Checkpoints are numbered from 1."""

MAX_MESSAGES = int(KEYS_PER_SESSION)
"""How many messages a session can hold. It can have one checkpoint less."""


def first_key(session_no: LiteralString) -> LiteralString:
    """Return the SQL of the first key of the session whose number is the SQL expression `session_no`."""
    return f"{session_no} * {KEYS_PER_SESSION}"


def last_key(session_no: LiteralString) -> LiteralString:
    """Return the SQL of the last key of the session whose number is the SQL expression `session_no`."""
    return f"{first_key(session_no)} + {KEYS_PER_SESSION} - 1"


FIRST_KEY: LiteralString = first_key("s.session_no")
"""The SQL of the first key of the session of the state row `s`. The key of message n, or of checkpoint n, is this plus n."""

LAST_KEY: LiteralString = last_key("s.session_no")
"""The SQL of the last key of the session of the state row `s`."""
