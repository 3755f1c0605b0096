"""`D1UsageStore`: entries, totals and budgets in D1. One call is one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict, Unpack

from agents_store_cloudflare.contract.arguments import (
    UNSET,
    FencingToken,
    called_by_its_name,
    check_fencing_token,
    check_id,
    options_of,
)
from agents_store_cloudflare.contract.json_values import JsonValue
from agents_store_cloudflare.contract.usage.records import (
    TokenCounts,
    UsageEntry,
    UsageSource,
)
from agents_store_cloudflare.contract.usage.store import UsageStore
from agents_store_cloudflare.database import Row, SqlError, Statement
from agents_store_cloudflare.usage import sql
from agents_store_cloudflare.usage.batches import UsageBatches, fault_of
from agents_store_cloudflare.usage.entries import entry_of
from agents_store_cloudflare.usage.options import UsageOptions, UsageSettings
from agents_store_cloudflare.usage.prices import as_price_book, price_entry
from agents_store_cloudflare.usage.reading import Reading
from agents_store_cloudflare.usage.recording import Recording, completed, request_digest
from agents_store_cloudflare.usage.table_names import check_table_name
from agents_store_cloudflare.usage.tables import creations

__all__ = ["D1UsageStore"]

AGENT = UsageSource(type="agent", name="agent")


class EntryFields(TypedDict, total=False):
    """The fields that every `record_…` call takes in addition to its own fields. `AGENT` is the default source."""

    id: str
    step_count: int
    timestamp: int
    source: UsageSource
    run_id: str
    agent: str
    cost_micros: int
    price_version: str
    corrects: str


class TokenFields(EntryFields, total=False):
    """The fields that `record_tokens` takes in addition to its own."""

    provider: str
    request_model: str
    response_model: str
    time_to_first_token_ms: int
    duration_ms: int


@called_by_its_name
class D1UsageStore(Reading, UsageStore):
    """`UsageStore` on D1.

    Args:
        database: a D1 binding or session, raw or as the Workers SDK wraps it, or a `Database`.
        options: all options at once.
        settings: single options as keyword arguments; see `UsageOptions`.
    """

    def __init__(
        self, database: object, *, options: UsageOptions | None = None, **settings: Unpack[UsageSettings]
    ) -> None:
        given = options_of(options, settings, UsageOptions)
        self._table = check_table_name(given.table_name)
        self._prices = None if given.price_book is None else as_price_book(given.price_book)
        super().__init__(UsageBatches(database, self._table, given.logger, given.now_ms))

    async def ensure_table(self) -> None:
        """Make the table of a custom name with its indexes and totals, if they do not exist.

        Entries of a table without totals are counted.

        Cost: 1 D1 batch (10 rows read).
        """
        await self._batches.run(*map(self._batches.statement, creations()))

    async def record_entry(
        self,
        entry: UsageEntry | Mapping[str, object],
        *,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> UsageEntry:
        [stored] = await self.record_entries([entry], fencing_token=fencing_token, commit_id=commit_id)
        return stored

    async def record_entries(
        self,
        entries: Sequence[UsageEntry | Mapping[str, object]],
        *,
        fencing_token: FencingToken = UNSET,
        commit_id: str | None = None,
    ) -> list[UsageEntry]:
        token = check_fencing_token(fencing_token)
        given = list(entries)
        own = completed(given, self._batches.now_ms, commit_id=commit_id)
        commit = None if commit_id is None else (check_id(commit_id, "commit_id"), request_digest(given, own))
        priced = own if self._prices is None else [price_entry(entry, self._prices) for entry in own]
        if not priced:
            return []
        recording = Recording.of(priced)
        try:
            if await self._record_new(recording, token, commit):
                return priced
            rows = await self._record_rest(recording, token, commit)
        except SqlError as error:
            raise fault_of(error, token, commit_id) from None
        earlier = {entry.id: entry for entry in map(entry_of, rows)}
        return [earlier.get(entry.id, entry) for entry in priced]

    async def _record_new(self, recording: Recording, token: int | None, commit: tuple[str, str] | None) -> bool:
        """Record entries if none of them is stored. If one is stored, change nothing and return False."""
        statement, now_ms = self._batches.statement, self._batches.now_ms()
        guards = [statement(sql.NEW_GUARD, recording.ids), *self._fences(recording, recording.by_session, token)]
        statements = recording.statements(now_ms, self._table, all_new=True)
        if commit is not None:
            guards.insert(0, statement(sql.COMMIT_GUARD, *commit))
            statements.append(statement(sql.REMEMBER_COMMIT, *commit, now_ms))
        try:
            await self._batches.run(*guards, *statements)
        except SqlError as error:
            if (error.guard or {}).get("fault") in ("stored", "repeated"):
                return False
            raise
        return True

    async def _record_rest(self, recording: Recording, token: int | None, commit: tuple[str, str] | None) -> list[Row]:
        """Record the entries that are not stored yet, and return the rows of the stored entries.

        A request whose commit id is known was recorded as a whole. It records nothing, even if its entries were deleted since.
        """
        statement, now_ms = self._batches.statement, self._batches.now_ms()
        stored = statement(sql.SELECT_STORED, recording.ids)
        guards = self._fences(recording, recording.entries, token)
        statements = recording.statements(now_ms, self._table)
        if commit is not None:
            guards = [statement(sql.COMMIT_GUARD, *commit), statement(sql.REPEAT_GUARD, recording.entries), *guards]
            statements.append(statement(sql.REMEMBER_COMMIT, *commit, now_ms))
        try:
            return (await self._batches.run(*guards, stored, *statements))[len(guards)]
        except SqlError as error:
            if (error.guard or {}).get("fault") != "repeated":
                raise
        fences = [] if token is None else [statement(sql.RAISE_FENCES, recording.sessions(), token)]
        return (await self._batches.run(stored, *fences))[0]

    def _fences(self, recording: Recording, entries: str, token: int | None) -> list[Statement]:
        if token is None:
            return []
        statement = self._batches.statement
        return [statement(sql.FENCE_GUARD, entries, token), statement(sql.RAISE_FENCES, recording.sessions(), token)]

    async def record_tokens(
        self, session_id: str, *, model: str, tokens: TokenCounts | Mapping[str, int], **fields: Unpack[TokenFields]
    ) -> UsageEntry:
        """Record the tokens of one model call.

        Args:
            session_id: the session.
            model: the model that is billed.
            tokens: the counts. `prompt` includes the cached tokens, `completion` includes the reasoning tokens.
            fields: other fields of the `UsageEntry`.

        Returns:
            The stored entry.

        Cost: 1 D1 batch (4 rows read, 7 written).
        """
        return await self._record(session_id, fields, kind="tokens", model=model, tokens=tokens)

    async def record_tool(
        self,
        session_id: str,
        *,
        tool_name: str,
        duration_ms: int,
        success: bool,
        error: str | None = None,
        **fields: Unpack[EntryFields],
    ) -> UsageEntry:
        """Record one tool call.

        Args:
            session_id: the session.
            tool_name: the tool.
            duration_ms: how long it took (milliseconds).
            success: whether it succeeded.
            error: what went wrong.
            fields: other fields of the `UsageEntry`.

        Returns:
            The stored entry.

        Cost: 1 D1 batch (4 rows read, 7 written).
        """
        return await self._record(
            session_id, fields, kind="tool", tool_name=tool_name, duration_ms=duration_ms, success=success, error=error
        )

    async def record_subagent(
        self,
        session_id: str,
        *,
        agent_type: str,
        sub_session_id: str,
        duration_ms: int,
        success: bool,
        **fields: Unpack[EntryFields],
    ) -> UsageEntry:
        """Record one run of a sub-agent.

        With `include_sub_agents`, the rollup of the session also counts the entries of the sub-agent's session.

        Args:
            session_id: the session.
            agent_type: the kind of the sub-agent.
            sub_session_id: the session of the sub-agent.
            duration_ms: how long it took (milliseconds).
            success: whether it succeeded.
            fields: other fields of the `UsageEntry`.

        Returns:
            The stored entry.

        Cost: 1 D1 batch (5 rows read, 8 written).
        """
        return await self._record(
            session_id,
            fields,
            kind="subagent",
            agent_type=agent_type,
            sub_session_id=sub_session_id,
            duration_ms=duration_ms,
            success=success,
        )

    async def record_custom(
        self, session_id: str, *, name: str, value: float, data: JsonValue = None, **fields: Unpack[EntryFields]
    ) -> UsageEntry:
        """Record a number under a name of your own.

        Args:
            session_id: the session.
            name: the name. The rollup has the sum of its values.
            value: the number, within ±1e300.
            data: any JSON to keep with it.
            fields: other fields of the `UsageEntry`.

        Returns:
            The stored entry.

        Cost: 1 D1 batch (4 rows read, 7 written).
        """
        return await self._record(session_id, fields, kind="custom", name=name, value=value, data=data)

    async def _record(self, session_id: str, fields: EntryFields, **body: object) -> UsageEntry:
        return await self.record_entry({"session_id": session_id, "source": AGENT, **fields, **body})
