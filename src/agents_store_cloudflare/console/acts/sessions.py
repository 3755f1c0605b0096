"""The acts on a whole session: export it, delete it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from agents_store_cloudflare.console.acts.act import (
    Act,
    ChangedError,
    Plan,
    Receipt,
    holding,
    new_commit_id,
    objects_of,
    overview,
    who_is_kept_out,
)
from agents_store_cloudflare.console.asking import Asked
from agents_store_cloudflare.console.deletion import deletion_plan, deletion_receipt
from agents_store_cloudflare.console.listing import read_summary
from agents_store_cloudflare.console.session_page import summary_of
from agents_store_cloudflare.transfer import export_session

__all__ = ["DELETE", "EXPORT"]


async def _plan_export(asked: Asked) -> Plan:
    session = await summary_of(asked)
    return Plan(
        title=f"Export {session.session_id}",
        says=(
            (
                "The session is downloaded as one JSON file: state, messages, checkpoints, staged changes, runs, references and usage. "
                "`agents-store import` takes it, and so does `import_session` in a Worker, also for homes."
            ),
            "It holds the whole conversation. Nobody may write to the session meanwhile, or the file may mix two moments.",
        ),
        fixed={"id": session.session_id},
        button="Download",
        back=overview(asked, session.session_id),
    )


async def _export(asked: Asked, given: Mapping[str, str]) -> Receipt:
    copy = await export_session(asked.sources.of_copies, given["id"])
    return Receipt(
        title="Exported",
        facts=(),
        data={"sessionId": given["id"]},
        file=("session.json", json.dumps(copy, ensure_ascii=False)),
        back=overview(asked, given["id"]),
    )


async def _plan_delete(asked: Asked) -> Plan:
    session = await summary_of(asked)
    goes = await deletion_plan(asked.sources, session.session_id)
    return Plan(
        title=f"Delete {session.session_id}",
        says=(*goes, "It cannot be undone: export it first to keep a copy.", who_is_kept_out(asked)),
        fixed={
            "id": session.session_id,
            "made": str(session.created_at),
            "version": str(session.version),
            "commit": new_commit_id(),
        },
        button="Delete for good",
        back=overview(asked, session.session_id),
    )


async def _delete(asked: Asked, given: Mapping[str, str]) -> Receipt:
    objects, session_id = objects_of(asked), given["id"]
    went = await deletion_receipt(asked.sources, session_id)
    async with holding(asked, session_id) as token:
        session = await read_summary(asked.sources, session_id)
        if session is not None and str(session.created_at) != given["made"]:
            raise ChangedError("the session was deleted and made again since this page was shown; look again")
        deleted = await objects.store.delete_session(
            session_id, expected_version=int(given["version"]), commit_id=given["commit"], **token
        )
    facts = went.facts() if deleted else ()
    return Receipt(
        title="Deleted" if deleted else "There was nothing to delete",
        facts=facts,
        data={"sessionId": session_id, "deleted": deleted, "went": went.to_dict() if deleted else None},
        back=asked.link(""),
    )


EXPORT: Final = Act(plan=_plan_export, perform=_export)
DELETE: Final = Act(plan=_plan_delete, perform=_delete, needs_objects=True)
