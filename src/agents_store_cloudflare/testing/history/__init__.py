"""Did a lock, and the fence behind it, keep their word? Record what callers saw, then check it.

A history is a file of JSON Lines, one operation a line; `operations.py` describes it, `Recorder` writes it. On the command line::

    python -m agents_store_cloudflare.testing.history FILE.jsonl

prints what is wrong, line by line, and ends with status 1; a history without violations ends with status 0.
"""

from agents_store_cloudflare.testing.history.checker import check_history
from agents_store_cloudflare.testing.history.operations import Operation, read_history
from agents_store_cloudflare.testing.history.recorder import Recorder
from agents_store_cloudflare.testing.history.violation import Violation

__all__ = ["Operation", "Recorder", "Violation", "check_history", "read_history"]
