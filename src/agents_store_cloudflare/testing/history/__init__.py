"""Checks whether a lock and its fence kept their promises. Record the results that callers saw, then check them.

A history is a file of JSON Lines, one operation on each line. `operations.py` describes it, `Recorder` writes it. On the command
line::

    python -m agents_store_cloudflare.testing.history FILE.jsonl

prints each violation on a line, and ends with status 1. Without violations its status is 0.
"""

from agents_store_cloudflare.testing.history.checker import check_history
from agents_store_cloudflare.testing.history.operations import Operation, read_history
from agents_store_cloudflare.testing.history.recorder import Recorder
from agents_store_cloudflare.testing.history.violation import Violation

__all__ = ["Operation", "Recorder", "Violation", "check_history", "read_history"]
