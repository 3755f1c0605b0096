"""A state on its way into the database. Its content is fixed before the call first waits.

Other tasks may change the caller's state while the database answers. A save stores the content that the state had when the call began,
and afterwards notes at the state that exactly this content is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from agents_store_cloudflare.contract.state.records import AgentState, StoredHistory
from agents_store_cloudflare.database import SqlValue, Statement
from agents_store_cloudflare.state import codec, message_sql
from agents_store_cloudflare.state.blocks import Block, blocks_of
from agents_store_cloudflare.state.guard import Commit
from agents_store_cloudflare.state.history import fingerprint_of, history_of, new_messages
from agents_store_cloudflare.state.options import StoreLimits
from agents_store_cloudflare.state.requests import Part

__all__ = ["Outgoing"]

_CUSTOM_STATE = 3
"""The index of `custom_state` in `columns`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One save of one state.

    Attributes:
        state: the caller's object, which may change meanwhile. Only `bring_up_to_date` writes to it.
        operation: the name of the call.
        version: the version that the state was loaded with.
        columns: the parameters of `session_sql.UPSERT_STATE` from ?9 on.
        blocks: the new messages.
        added: how many new messages there are.
        history: which messages the database had before.
        fingerprint: the checksum of all messages of the state, the new ones included.
        limits: the limits of the store.
    """

    state: AgentState
    operation: str
    version: int
    columns: tuple[SqlValue, ...]
    blocks: tuple[Block, ...]
    added: int
    history: StoredHistory
    fingerprint: int
    limits: StoreLimits

    @classmethod
    def of(cls, state: AgentState, limits: StoreLimits, operation: str) -> Outgoing:
        """Fix the content of a save: copy what it will store.

        Raises:
            StaleStateError: stored messages were changed or removed in the state.
            TypeError: a field has a wrong type.
            InvalidArgumentError: a field breaks a rule.
            StateSizeExceededError: the state or a message is over a limit.
        """
        codec.check_state(state)
        history = history_of(state)
        tail = new_messages(state)
        return cls(
            state=state,
            operation=operation,
            version=state.version,
            columns=codec.columns_of(state, limits.max_state_bytes, operation),
            blocks=tuple(blocks_of(tail, history.count, limits.max_message_bytes, state.session_id, operation)),
            added=len(tail),
            history=history,
            fingerprint=fingerprint_of(tail, history.fingerprint),
            limits=limits,
        )

    @property
    def session_id(self) -> str:
        """The id of the session."""
        return self.state.session_id

    @property
    def custom_state(self) -> str:
        """The custom state as JSON text."""
        return cast("str", self.columns[_CUSTOM_STATE])

    def with_custom_state(self, text: str) -> Outgoing:
        """Return the same save with another custom state.

        Args:
            text: the JSON text of the custom state.

        Raises:
            StateSizeExceededError: the state is over its limit.
        """
        columns = (*self.columns[:_CUSTOM_STATE], text, *self.columns[_CUSTOM_STATE + 1 :])
        codec.check_size(columns, self.limits.max_state_bytes, self.session_id, self.operation)
        return replace(self, columns=columns)

    def parts(self) -> Sequence[Part]:
        """Return the content of the save for the digest of its request. It is the same before and after the save."""
        return [*self.columns, self.history.first, self.history.count + self.added, self.fingerprint]

    def block_statements(self) -> list[Statement]:
        """Return the statements that store the new messages."""
        return [
            Statement(message_sql.INSERT_BLOCK, (self.session_id, block.first_sequence, block.count, block.body))
            for block in self.blocks
        ]

    def bring_up_to_date(self, commit: Commit) -> None:
        """Note at the caller's state which content is stored now. A state that was saved or loaded again meanwhile is left alone."""
        state = self.state
        if commit.past or commit.version <= state.version:
            return
        count = self.history.count + self.added
        state.stored_history = StoredHistory(
            first=self.history.first, count=count, epoch=commit.history_epoch, fingerprint=self.fingerprint
        )
        state.version = commit.version
        state.updated_at = commit.at_ms
        if commit.version == 1:
            state.created_at = commit.at_ms
