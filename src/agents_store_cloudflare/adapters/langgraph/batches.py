"""Sends the batches of a saver. Each batch checks the fencing token first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agents_store_cloudflare.adapters.langgraph.errors import StaleHeadError
from agents_store_cloudflare.adapters.langgraph.known import Thread
from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.contract.arguments import FencingToken, check_fencing_token
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.homes import home_of
from agents_store_cloudflare.database import Homes, OneDatabase, Row, Statement
from agents_store_cloudflare.state.fencing import Faults, fenced_batch
from agents_store_cloudflare.state.guard import Facts

__all__ = ["GraphBatches", "LinesMovedError", "Seen", "StoredAlreadyError"]


class Seen(NamedTuple):
    """The checkpoints that a head check compares.

    Attributes:
        head: the id of the newest checkpoint that a saver saw, "" for none.
        accepted: the ids of this checkpoint and of the checkpoints that the saver has put itself, as JSON.
    """

    head: str
    accepted: str


class StoredAlreadyError(Exception):
    """The checkpoint is stored already, because the reply to an earlier attempt was lost. Callers do not get this error."""


class LinesMovedError(Exception):
    """Others have added to the logs, or lines are gone, so the checkpoint needs another layout. Callers do not get this error."""


class GraphBatches:
    """Sends batches for the tables of graphs.

    Args:
        database: a D1 binding, a `Database` or `Homes`.
        fencing_token: the lock of the thread, or its token.
    """

    def __init__(self, database: object, fencing_token: FencingToken) -> None:
        self.homes: Homes = database if isinstance(database, Homes) else OneDatabase(as_database(database))
        self.token: int | None = check_fencing_token(fencing_token)

    async def read(self, operation: str, thread_id: str, statements: Sequence[Statement]) -> list[list[Row]]:
        """Send statements that only read."""
        return await fenced_batch(self.homes, operation, thread_id, statements)

    async def write(
        self, operation: str, thread: Thread, statements: Sequence[Statement], *, seen: Seen | None = None
    ) -> list[list[Row]]:
        """Send statements behind the fence. A second run of them must change nothing.

        Raises:
            StaleFencingTokenError, StaleHeadError: somebody else has written.
        """
        faults: Faults = {
            "head": lambda facts: _stale(thread, seen, facts),
            "done": lambda _: StoredAlreadyError(),
            "lines": lambda _: LinesMovedError(),
            "parted": lambda _: InvalidArgumentError(
                f"thread {thread[0]!r} and the one it was copied from have both gone on: copy into a new thread"
            ),
        }
        return await fenced_batch(self.homes, operation, thread[0], statements, token=self.token, faults=faults)

    async def unfenced(self, operation: str, key: str, statements: Sequence[Statement]) -> list[list[Row]]:
        """Send statements that have their own fence. A second run of them must change nothing."""
        return await fenced_batch(self.homes, operation, key, statements)

    def share_a_database(self, thread_id: str, other_id: str) -> bool:
        """Return whether both threads are in the same database."""
        return isinstance(self.homes, OneDatabase) or home_of(thread_id) == home_of(other_id)

    def only_home(self, operation: str) -> str:
        """Return the place for a call about several threads.

        Raises:
            InvalidArgumentError: the threads are in several databases.
        """
        if not isinstance(self.homes, OneDatabase):
            raise InvalidArgumentError(
                f"{operation} concerns several threads, which are in several homes: name the thread"
            )
        return "*"


def _stale(thread: Thread, seen: Seen | None, facts: Facts) -> Exception:
    expected, actual = seen.head if seen else "", str(facts.get("head") or "")
    return StaleHeadError(thread[0], checkpoint_ns=thread[1], expected_head=expected, actual_head=actual)
