"""The base of every error, and the errors that belong to no role.

An error with facts of its own is a dataclass: its fields are the arguments of its constructor, and `_describe` makes its message of them.
"""

from __future__ import annotations

import inspect
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from agents_store_cloudflare.contract.json_types import JsonValue

__all__ = [
    "ERRORS_BY_CODE",
    "AgentsStoreError",
    "BindingError",
    "InvalidArgumentError",
    "MigrationError",
    "MissingFencingTokenError",
    "StaleFencingTokenError",
]

ERRORS_BY_CODE: dict[str, type[AgentsStoreError]] = {}
"""Every error class by its code. A class of your own is added when it is made."""


class AgentsStoreError(Exception):
    """The base of every error that this package raises on purpose.

    Attributes:
        code: a stable name for programs, also the `code` of a JSON error.
        http_status: the status that a Worker should answer with when it lets the error through.
        message: the text for people: ids and sizes, never content.
        outcome_unknown: True when a reply may have been lost, so that the write may or may not be stored. Repeat it with the
            same commit id, entry id or writer; all of them are safe to repeat.
    """

    code: ClassVar[str] = "agents_store_error"
    http_status: ClassVar[int] = 500
    message: str
    outcome_unknown: bool = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        ERRORS_BY_CODE[cls.code] = cls

    def __init__(self, message: str, *, outcome_unknown: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.outcome_unknown = outcome_unknown

    def __post_init__(self) -> None:
        # The constructor of a dataclass ends here. It has stored the facts, and calls no other constructor.
        self.message = self._describe()
        super().__init__(self.message)

    def _describe(self) -> str:
        """Return the message, made of the facts. Each error with facts of its own has its own text."""
        return self.message

    @classmethod
    def fact_names(cls) -> tuple[str, ...]:
        """Return the names of the constructor's arguments; each is an attribute of the error."""
        return tuple(inspect.signature(cls).parameters)

    def facts(self) -> dict[str, JsonValue]:
        """Return the keyword arguments that build an equal error."""
        return {name: getattr(self, name) for name in self.fact_names()}

    def __reduce__(self) -> tuple[object, ...]:
        """Let copies and pickles have every attribute: by default Python calls the constructor with the message alone."""
        return _blank, (type(self), self.args), dict(self.__dict__)

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the JSON body that a Worker answers with: `{"error": {"code", "message"}}`."""
        return {"error": {"code": self.code, "message": self.message}}


ERRORS_BY_CODE[AgentsStoreError.code] = AgentsStoreError


def _blank(kind: type[AgentsStoreError], arguments: tuple[object, ...]) -> AgentsStoreError:
    return kind.__new__(kind, *arguments)


class InvalidArgumentError(AgentsStoreError, ValueError):
    """An argument breaks a documented rule; nothing was sent."""

    code = "invalid_argument"
    http_status = 400


class MissingFencingTokenError(InvalidArgumentError):
    """A write was given None as its fencing token: the lock behind it was not acquired. Nothing was sent."""

    code = "missing_fencing_token"


class BindingError(AgentsStoreError, TypeError):
    """A binding is missing, exchanged with another, or leads to a class that is not as the package needs it.

    The message names the binding, the class and the section of wrangler.toml to change.
    """

    code = "binding"


class MigrationError(AgentsStoreError):
    """The database does not have the schema that this code needs, or could not be brought to it; nothing was written."""

    code = "migration_error"


@dataclass(eq=False, repr=False)
class StaleFencingTokenError(AgentsStoreError):
    """A higher fencing token has been seen for this id: the caller lost its lock and must stop. Nothing was written.

    Attributes:
        resource: the id of the session or stream.
        expected: the lowest token that is still accepted.
        actual: the caller's token.
    """

    code = "stale_fencing_token"
    http_status = 409

    resource: str
    _: KW_ONLY
    expected: int
    actual: int

    def _describe(self) -> str:
        return (
            f"fencing token {self.actual} for {self.resource!r} is stale, {self.expected} has been seen; "
            "the lock was taken over: stop writing"
        )
