"""`D1ConversationStore`: pydantic-ai's conversations in D1."""

from __future__ import annotations

import copy
import hashlib
import secrets
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from operator import is_
from typing import Any

from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import (
    ConversationConflict,
    ConversationEntry,
    ConversationRecord,
    ConversationStore,
)
from pydantic_ai.messages import ModelMessage
from pydantic_ai.run import AgentRunResult

from agents_store_cloudflare.adapters.model_messages import json_text
from agents_store_cloudflare.adapters.pydantic_ai import conversation_sql
from agents_store_cloudflare.adapters.pydantic_ai.accounting import usage_of
from agents_store_cloudflare.adapters.pydantic_ai.rows import (
    entries_of,
    entry_statements,
    record_body,
    record_of,
    updated_at_us,
)
from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.contract.arguments import (
    UNSET,
    FencingToken,
    check_fencing_token,
    check_id,
    check_whole_number,
)
from agents_store_cloudflare.contract.errors import D1StateError, InvalidArgumentError
from agents_store_cloudflare.database import Database, Homes, OneDatabase, Row, Statement
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state.fencing import Faults, fenced_batch
from agents_store_cloudflare.usage import UsageOptions, usage_statements

__all__ = ["D1ConversationStore"]

MOST = 1_000_000
"""The most entries of a history, and the most records of a list, when the caller gives no limit."""

MOST_PLACES = 10_000
"""The number of entries whose homes are remembered. The oldest is forgotten first."""


class D1ConversationStore(ConversationStore):
    """pydantic-ai's `ConversationStore` on D1, or on sqlite in tests. One primitive is one batch, which is one transaction.

    `load`, `save`, `branch`, `fork`, `list_conversations` and `delete` are pydantic-ai's own methods. A message is stored once, as
    one row. A message above 1.5 MB has one row for each part. `run_migration` or `setup()` makes the tables.

    Args:
        database: a D1 binding (`env.AGENT_DB`), a `Database` (`testing.SqliteDatabase`), or
            `store.session_homes` for sessions in homes.
        fencing_token: the lock of the conversation, or its token. Every write compares it, in its own transaction, with the highest
            token that the state store or any adapter has seen for the conversation's id.
        usage: record the tokens of each new response as usage of the session with the conversation's id, in the transaction of the write.
            None records nothing.

    Example:
        >>> conversations = D1ConversationStore(env.AGENT_DB, fencing_token=lock)
        >>> conversation = await conversations.load(lock.key) or Conversation(conversation_id=lock.key)
        >>> result = await agent.run(question, conversation=conversation)
        >>> await conversations.save(result)

    Every write may raise `ConversationConflict` (somebody else has written), `StaleFencingTokenError` (a newer holder of the lock
    has written), `ForeignValueError` (JSON cannot hold the value) and `D1StateError` (the database failed). Then nothing was
    written.
    """

    def __init__(
        self, database: object, *, fencing_token: FencingToken = UNSET, usage: UsageOptions | None = None
    ) -> None:
        self._database = database
        self._homes: Homes = database if isinstance(database, Homes) else OneDatabase(as_database(database))
        self._token = check_fencing_token(fencing_token)
        if usage is not None and not isinstance(self._homes, OneDatabase):
            raise InvalidArgumentError(
                "usage= works only if the usage is in the same database; with homes, record it with the usage store"
            )
        self._usage = usage
        self._places: dict[str, str] = {}
        self._fixed: _Fixed | None = None

    async def setup(self) -> None:
        """Make the tables, as `run_migration` does. You may call it again.

        Raises:
            MigrationError: the database is newer than this code.

        Cost: 1 D1 batch (1 row read).
        """
        await run_migration(self._database)

    async def save(
        self, conversation: Conversation | AgentRunResult[Any], *, scope: str | None = None
    ) -> list[ConversationEntry]:
        """Save a conversation as pydantic-ai does. Only messages that are not stored yet are written.

        Returns:
            The entries that it stored.

        Raises:
            ConversationConflict: the conversation was saved or deleted since it was loaded.
            StaleFencingTokenError: a newer holder of the lock has written. This error is raised even if there is a conflict too.
            ForeignValueError: JSON cannot hold a message.

        Cost: 2 D1 batches (6-19 rows read, 3 written).
        """
        own = conversation.conversation if isinstance(conversation, AgentRunResult) else conversation
        saving = copy.copy(self)
        saving._fixed = _Fixed(own)  # noqa: SLF001 - of its own copy, because saves may run side by side
        async with self._named_by_the_lock(own.conversation_id):
            return await super(D1ConversationStore, saving).save(conversation, scope=scope)

    async def _unsaved_after_history(
        self,
        record: ConversationRecord | None,
        conversation_id: str,
        messages: list[ModelMessage],
        branches: list[str],
        *,
        window: int | None,
    ) -> tuple[str | None, list[ModelMessage], list[str]]:
        fixed = messages if self._fixed is None else self._fixed.messages
        return await super()._unsaved_after_history(record, conversation_id, fixed, branches, window=window)

    async def branch(
        self,
        conversation_id: str,
        *,
        at: int | None = None,
        from_entry: str | None = None,
        expected_revision: str | None,
        scope: str | None = None,
    ) -> Conversation:
        """Continue a conversation from an earlier message, as pydantic-ai does.

        Raises:
            UserError: there is no such conversation or message.
            ConversationConflict: the conversation was saved or deleted since it was loaded.
            StaleFencingTokenError: a newer holder of the lock has written. This error is raised even if there is a conflict too.

        Cost: 3 D1 batches (37 rows read, 1 written).
        """
        async with self._named_by_the_lock(conversation_id):
            try:
                return await super().branch(
                    conversation_id, at=at, from_entry=from_entry, expected_revision=expected_revision, scope=scope
                )
            except LookupError:
                # Entries that a deletion took while their lines were read.
                if await self._revision(conversation_id) == expected_revision:
                    raise
                raise ConversationConflict(conversation_id) from None

    async def fork(
        self,
        conversation_id: str,
        *,
        at: int | None = None,
        from_entry: str | None = None,
        new_conversation_id: str | None = None,
        scope: str | None = None,
        source_scope: str | None = None,
    ) -> Conversation:
        """Start a new conversation from a stored one, as pydantic-ai does. Both share the entries.

        Raises:
            UserError: there is no such conversation or message.
            ConversationConflict: `new_conversation_id` is stored already, or the conversation was deleted meanwhile.
            StaleFencingTokenError: a newer holder of the lock has written.

        Cost: 3 D1 batches (13 rows read, 2 written).
        """
        before = await self._revision(conversation_id) if from_entry is not None else None
        try:
            return await super().fork(
                conversation_id,
                at=at,
                from_entry=from_entry,
                new_conversation_id=new_conversation_id,
                scope=scope,
                source_scope=source_scope,
            )
        except LookupError:
            if await self._revision(conversation_id) == before:
                raise
            raise ConversationConflict(conversation_id) from None

    async def _revision(self, conversation_id: str) -> str | None:
        record = await self.read_record(conversation_id)
        return None if record is None else record.revision

    async def read_record(self, conversation_id: str) -> ConversationRecord | None:
        """Return the record of a conversation, or None.

        Raises:
            ForeignValueError: another program or a newer version wrote it.

        Cost: 1 D1 batch (1 row read).
        """
        own = check_id(conversation_id, "conversation_id")
        [rows] = await self._rows("read_record", own, Statement(conversation_sql.SELECT_RECORD, (own,)))
        record = record_of(rows[0]) if rows else None
        if record is not None:
            self._remember(own, _named(record))
        return record

    async def read_records(self, *, scope: str | None = None, limit: int | None = None) -> list[ConversationRecord]:
        """Return the records of all conversations or of one scope, the newest first.

        Without a scope it reads every conversation of the database, so it is a call for operators.

        Raises:
            InvalidArgumentError: the conversations live in several homes, so they cannot be listed.
            ForeignValueError: another program or a newer version wrote a record.

        Cost: 1 D1 batch (2 rows read).
        """
        if not isinstance(self._homes, OneDatabase):
            raise InvalidArgumentError("conversations in several homes cannot be listed: name the conversation")
        most = _most(limit)
        statement = (
            Statement(conversation_sql.SELECT_ALL, (most,))
            if scope is None
            else Statement(conversation_sql.SELECT_SCOPE, (scope, most))
        )
        [rows] = await self._rows("read_records", "*", statement)
        return [record_of(row) for row in rows]

    async def write_record(
        self,
        record: ConversationRecord,
        *,
        new_entries: Sequence[ConversationEntry] = (),
        expected_revision: str | None,
    ) -> None:
        """Store a record with its new entries, in one transaction.

        Raises:
            ConversationConflict: another revision is stored than the expected one, or `head_id` or an entry's parent is not stored.
            StaleFencingTokenError: a newer holder of the lock has written.
            ForeignValueError: JSON cannot hold a message.
            InvalidArgumentError: the conversation continues an entry of another conversation without being its fork, or an entry is
                stored already.

        Cost: 1 D1 batch (18 rows read, 1 written).
        """
        own = check_id(record.conversation_id, "conversation_id")
        if self._fixed is not None:
            record, new_entries = self._fixed.in_place_of(record, new_entries)
        needs, new_ids = _needs(record, new_entries)
        named = _named(record)
        write_id = _mark(record.revision) + secrets.token_urlsafe(6)
        statements = [
            Statement(
                conversation_sql.GUARD_WRITE,
                (own, expected_revision, write_id, json_text(needs, "entries"), json_text(new_ids, "entries")),
            ),
            Statement(conversation_sql.UPSERT, (own, *_columns(record, needs, new_entries, write_id))),
            *entry_statements(own, new_entries),
            *self._usage_statements(own, new_entries),
        ]
        faults: Faults = {
            "done": lambda _: _DoneAlreadyError(),
            "conflict": lambda _: ConversationConflict(own),
            "tree": lambda _: InvalidArgumentError(
                f"conversation {own!r} continues an entry of another conversation; use `fork` for that"
            ),
            "entry": lambda _: InvalidArgumentError(f"an entry of conversation {own!r} is stored already under its id"),
        }
        with suppress(_DoneAlreadyError):
            await fenced_batch(self._homes, "write_record", own, statements, token=self._token, faults=faults)
        self._remember(own, named)

    async def delete_record(self, conversation_id: str, *, expected_revision: str) -> None:
        """Delete a conversation, and the entries that no other conversation of its tree uses, in one transaction.

        Raises:
            ConversationConflict: another revision or no revision is stored.
            StaleFencingTokenError: a newer holder of the lock has written.
            D1StateError: a reply was lost, and others have written the conversation at least 16 times meanwhile. Nothing of theirs is
                deleted.

        Cost: 1 D1 batch (44 rows read, 4 written).
        """
        own = check_id(conversation_id, "conversation_id")
        statements = [
            Statement(conversation_sql.GUARD_DELETE, (own, expected_revision, _mark(expected_revision))),
            Statement(conversation_sql.DELETE, (own,)),
        ]
        counted = _Counted(self._homes.of(own))

        def repeated(outcome: Exception) -> Exception:
            """Return the outcome of a repeated deletion that finds what it did not mean. For a first one it is a conflict."""
            return outcome if counted.batches > 1 else ConversationConflict(own)

        faults: Faults = {
            "conflict": lambda _: ConversationConflict(own),
            "new": lambda _: repeated(_DoneAlreadyError()),
            "unknown": lambda _: repeated(
                D1StateError(
                    f"the deletion of conversation {own!r} got no reply, and somebody else has written it meanwhile; "
                    "read it before you delete it again",
                    outcome_unknown=True,
                )
            ),
        }
        with suppress(_DoneAlreadyError):
            _, deleted = await fenced_batch(
                OneDatabase(counted), "delete_record", own, statements, token=self._token, faults=faults
            )
            # After a lost reply the conversation is gone: the earlier attempt or somebody else has deleted it.
            if not deleted and counted.batches == 1:
                raise ConversationConflict(own)

    async def read_entry(self, entry_id: str) -> ConversationEntry:
        """Return one entry.

        Raises:
            KeyError: the entry is not stored.
            ForeignValueError: another program or a newer version wrote it.

        Cost: 1 D1 batch (1 row read).
        """
        own = check_id(entry_id, "entry_id")
        statement = Statement(conversation_sql.SELECT_ENTRY, (own,))
        [rows] = await self._rows("read_entry", self._place(own), statement)
        if not rows:
            raise KeyError(entry_id)
        [entry] = entries_of(rows)
        return entry

    async def read_history(self, head_id: str | None, *, limit: int | None = None) -> list[ConversationEntry]:
        """Return the entries up to `head_id`, the oldest first, or only the last `limit` of them, in one batch.

        Raises:
            KeyError: an entry is not stored.
            ForeignValueError: another program or a newer version wrote an entry.

        Cost: 1 D1 batch (20 rows read).
        """
        most = _most(limit)
        if head_id is None or most == 0:
            return []
        own = check_id(head_id, "head_id")
        statement = Statement(conversation_sql.SELECT_HISTORY, (own, most))
        [rows] = await self._rows("read_history", self._place(own), statement)
        entries = entries_of(rows)
        if not entries:
            raise KeyError(head_id)
        if entries[0].parent_id is not None and len(entries) < most:
            raise KeyError(entries[0].parent_id)
        return entries

    @asynccontextmanager
    async def _named_by_the_lock(self, conversation_id: str) -> AsyncGenerator[None]:
        """Turn a conflict into `StaleFencingTokenError` if a newer holder of the lock caused it.

        pydantic-ai finds a conflict before it writes.
        """
        try:
            yield
        except ConversationConflict:
            if self._token is not None:
                own = check_id(conversation_id, "conversation_id")
                await fenced_batch(self._homes, "save", own, [], token=self._token)
            raise

    async def _rows(self, operation: str, key: str, statement: Statement) -> list[list[Row]]:
        return await fenced_batch(self._homes, operation, key, [statement])

    def _usage_statements(self, conversation_id: str, entries: Sequence[ConversationEntry]) -> list[Statement]:
        if self._usage is None:
            return []
        used = usage_of(conversation_id, entries)
        return usage_statements(conversation_id, used, self._usage.now_ms, self._usage)

    def _remember(self, conversation_id: str, entry_ids: Iterable[str]) -> None:
        """Remember the home of the entries, because pydantic-ai asks for them without the conversation's id."""
        if isinstance(self._homes, OneDatabase):
            return
        for entry_id in entry_ids:
            self._places.pop(entry_id, None)
            self._places[entry_id] = conversation_id
        while len(self._places) > MOST_PLACES:
            del self._places[next(iter(self._places))]

    def _place(self, entry_id: str) -> str:
        if isinstance(self._homes, OneDatabase):
            return "*"
        if entry_id not in self._places:
            raise InvalidArgumentError(
                f"this store does not know the home of entry {entry_id!r}: read the record of its conversation with this store first"
            )
        return self._places[entry_id]


class _Fixed:
    """What a save stores: copies of the conversation's values, made before the first await. The caller may go on changing its own.

    Messages that a store has marked as stored are not copied, because they are neither compared nor written.

    Attributes:
        messages: the messages to compare with the stored ones and to store.
    """

    def __init__(self, conversation: Conversation) -> None:
        self._usage = copy.deepcopy(conversation.usage)
        self._deferred = copy.deepcopy(conversation.deferred_tool_requests)
        own = list(conversation.messages)
        stored = _stored_messages(conversation)
        self.messages: list[ModelMessage] = own[:stored] + copy.deepcopy(own[stored:])
        self._copies = {id(one): (one, other) for one, other in zip(own, self.messages, strict=True)}

    def in_place_of(
        self, record: ConversationRecord, entries: Sequence[ConversationEntry]
    ) -> tuple[ConversationRecord, list[ConversationEntry]]:
        """Return the record and the entries with the copies."""
        own = replace(record, usage=self._usage, deferred_tool_requests=self._deferred)
        return own, [replace(each, message=self._copy_of(each.message)) for each in entries]

    def _copy_of(self, message: ModelMessage) -> ModelMessage:
        _, fixed = self._copies.get(id(message), (message, message))
        return fixed


def _stored_messages(conversation: Conversation) -> int:
    """Return how many messages pydantic-ai has marked as stored, if they are still the same objects; otherwise 0."""
    marked: tuple[object, ...] = vars(conversation).get("_stored_messages", ())
    same = len(marked) <= len(conversation.messages) and all(map(is_, marked, conversation.messages))
    return len(marked) if same and len(marked) == conversation.new_message_index else 0


class _DoneAlreadyError(Exception):
    """The write has happened already, because the reply to an earlier attempt was lost. Callers do not get this error."""


class _Counted:
    """A database that counts the batches that were sent to it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.batches = 0

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        self.batches += 1
        return await self._database.batch(statements)


def _most(limit: int | None) -> int:
    return MOST if limit is None else min(MOST, check_whole_number(limit, "limit", low=0))


def _needs(record: ConversationRecord, new_entries: Sequence[ConversationEntry]) -> tuple[list[str], list[str]]:
    """Return the entries that must be stored already, and the new entries.

    The first of the stored entries is the one that the conversation continues.

    Raises:
        InvalidArgumentError: an id is not valid, or two new entries have the same id.
    """
    new_ids = [check_id(entry.id, "an entry's id") for entry in new_entries]
    if len(set(new_ids)) != len(new_ids):
        raise InvalidArgumentError(f"two new entries of conversation {record.conversation_id!r} have the same id")
    parents = [entry.parent_id for entry in new_entries]
    named = [each for each in (*parents, record.head_id) if each is not None]
    known = set(new_ids)
    return [check_id(each, "an entry's id") for each in dict.fromkeys(named) if each not in known], new_ids


def _named(record: ConversationRecord) -> list[str]:
    return [each for each in (record.head_id, record.forked_at, *record.branches) if each is not None]


def _mark(revision: str) -> str:
    """Return the beginning of the names of writes that stored this revision."""
    return hashlib.blake2b(revision.encode(errors="surrogatepass"), digest_size=4).hexdigest()


def _columns(
    record: ConversationRecord, needs: Sequence[str], new_entries: Sequence[ConversationEntry], write_id: str
) -> tuple[Any, ...]:
    return (
        needs[0] if needs else None,
        record.revision,
        write_id,
        record.head_id,
        json_text(record.branches, "branches"),
        record.scope,
        updated_at_us(record),
        record_body(record),
        _continued(record, new_entries),
    )


def _continued(record: ConversationRecord, new_entries: Sequence[ConversationEntry]) -> str | None:
    """Return the entry before the new entries if these form one line that ends in the head. Then the former head stays reachable."""
    before = [entry.parent_id for entry in new_entries]
    after: list[str | None] = [entry.id for entry in new_entries]
    is_line = bool(new_entries) and before[1:] == after[:-1] and after[-1] == record.head_id
    return before[0] if is_line else None
