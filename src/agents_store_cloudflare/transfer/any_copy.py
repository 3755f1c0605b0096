"""Copies of both kinds: of a session, or of budgets. A file may hold both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.transfer.budgets import check_budgets, import_budgets
from agents_store_cloudflare.transfer.importing import check_import, import_session

__all__ = ["check_copy", "import_copy"]


async def import_copy(
    target: object,
    copy: Mapping[str, Any],
    *,
    streams: DurableObjectStreamManager | None = None,
    replace: bool = False,
    rename: Mapping[str, str] | None = None,
) -> None:
    """Store a copy of a file with `import_session` or `import_budgets`. `rename` does not change the scopes of budgets."""
    if "root" in copy:
        await import_budgets(target, copy, replace=replace)
    else:
        await import_session(target, copy, streams=streams, replace=replace, rename=rename)


async def check_copy(
    target: object, copy: Mapping[str, Any], *, replace: bool = False, rename: Mapping[str, str] | None = None
) -> None:
    """Raise the errors that `import_copy` raises before it writes. Nothing is written."""
    if "root" in copy:
        await check_budgets(target, copy, replace=replace)
    else:
        await check_import(target, copy, replace=replace, rename=rename)
