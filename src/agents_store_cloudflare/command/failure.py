"""What ends a command."""

from __future__ import annotations

__all__ = ["BAD_ARGUMENTS", "FAILED", "CommandError"]

FAILED = 1
BAD_ARGUMENTS = 2


class CommandError(Exception):
    """The command cannot go on; the message is one line that says what to do.

    Attributes:
        status: what the program exits with.
    """

    def __init__(self, message: str, *, status: int = FAILED) -> None:
        super().__init__(message)
        self.status = status
