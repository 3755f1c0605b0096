"""The error that ends a command."""

from __future__ import annotations

__all__ = ["BAD_ARGUMENTS", "FAILED", "CommandError"]

FAILED = 1
BAD_ARGUMENTS = 2


class CommandError(Exception):
    """The command cannot go on. The message is one line that says what to do.

    Attributes:
        status: the exit status of the program.
    """

    def __init__(self, message: str, *, status: int = FAILED) -> None:
        super().__init__(message)
        self.status = status
