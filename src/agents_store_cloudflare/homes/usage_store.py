"""`HomeUsageStore`: the usage store for sessions in homes. A call about one session first makes its home send its usage to D1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, LiteralString

from agents_store_cloudflare.contract.arguments import UNSET, FencingToken, check_id
from agents_store_cloudflare.contract.usage.records import UsageEntry, UsageRollup
from agents_store_cloudflare.homes.database import ObjectHomes
from agents_store_cloudflare.usage import D1UsageStore, UsageOptions, sql

__all__ = ["HomeUsageStore"]

_CHILDREN: Final[LiteralString] = "JOIN __agents_states AS child ON child.parent_session_id = tree.session_id"


class HomeUsageStore(D1UsageStore):
    """The usage in D1 of sessions in homes. `get_totals` and `find_session_ids` see a save within `directory_delay`."""

    _tree_sql: LiteralString = sql.SELECT_TREE.replace(
        _CHILDREN, "JOIN __agents_directory AS child ON child.parent_session_id = tree.session_id"
    )

    def __init__(self, database: object, homes: ObjectHomes, options: UsageOptions | None) -> None:
        super().__init__(database, options=options)
        self._homes = homes

    async def get_entries(
        self,
        session_id: str,
        *,
        kinds: Sequence[str] | None = None,
        step_range: tuple[int, int] | Mapping[str, int] | None = None,
        run_id: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[UsageEntry]:
        await self._drain(session_id)
        return await super().get_entries(
            session_id, kinds=kinds, step_range=step_range, run_id=run_id, limit=limit, offset=offset
        )

    async def get_rollup(
        self, session_id: str, *, include_sub_agents: bool = False, run_id: str | None = None
    ) -> UsageRollup:
        if run_id is None:
            await self._drain(session_id, tree=include_sub_agents)
        return await super().get_rollup(session_id, include_sub_agents=include_sub_agents, run_id=run_id)

    async def get_tree_rollups(self, session_id: str) -> list[UsageRollup]:
        await self._drain(session_id, tree=True)
        return await super().get_tree_rollups(session_id)

    async def exists(self, session_id: str) -> bool:
        await self._drain(session_id)
        return await super().exists(session_id)

    async def get_entry_count(self, session_id: str) -> int:
        await self._drain(session_id)
        return await super().get_entry_count(session_id)

    async def delete(
        self, session_id: str, *, fencing_token: FencingToken = UNSET, commit_id: str | None = None
    ) -> int:
        """Delete the usage of a session, also the entries that still wait in its home's outbox."""
        await self._drain(session_id)
        return await super().delete(session_id, fencing_token=fencing_token, commit_id=commit_id)

    async def _drain(self, session_id: str, *, tree: bool = False) -> None:
        """Have the session's home send its waiting usage to D1.

        Raises:
            UsageError: it could not.
        """
        await self._homes.drain(check_id(session_id, "session_id"), tree=tree)
