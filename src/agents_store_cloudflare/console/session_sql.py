"""The SQL of a session's pages."""

from __future__ import annotations

from typing import LiteralString

__all__ = ["LIST_STAGED"]

# ?1 session id, ?2 most rows -> (step id, tool call id, timestamp, change), step by step, in the order of promotion. Primary keys.
LIST_STAGED: LiteralString = """
    SELECT g.step_id, g.tool_call_id, g.timestamp, g.change
    FROM __agents_states AS s
    JOIN __agents_staged_changes AS g ON g.session_no = s.session_no
    WHERE s.session_id = ?1
    ORDER BY g.step_id, g.timestamp, g.position
    LIMIT ?2
"""
