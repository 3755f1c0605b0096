"""The acts on a checkpoint: restore it, fork from it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Final

from agents_store_cloudflare.console.acts.act import (
    Act,
    Entry,
    Plan,
    Receipt,
    holding,
    new_commit_id,
    overview,
    who_is_kept_out,
)
from agents_store_cloudflare.console.asking import Asked
from agents_store_cloudflare.console.checkpoint_states import state_at
from agents_store_cloudflare.console.session_page import summary_of

__all__ = ["FORK", "RESTORE"]


async def _plan_restore(asked: Asked) -> Plan:
    session, checkpoint = await summary_of(asked), asked.needed("checkpoint")
    then = await state_at(asked.sources, session.session_id, checkpoint)
    kept = then.stored_history.count if then.stored_history else 0
    return Plan(
        title=f"Restore {session.session_id}",
        says=(
            f"The session goes back to checkpoint {checkpoint}: step {then.step_count:,}, status {then.status}, {kept:,} messages.",
            (
                f"{max(0, session.message_count - kept):,} later messages and every newer checkpoint are gone for good. Fork first to keep "
                "them."
            ),
            who_is_kept_out(asked),
        ),
        fixed={
            "id": session.session_id,
            "checkpoint": checkpoint,
            "version": str(session.version),
            "commit": new_commit_id(),
        },
        button="Restore",
        back=asked.link("checkpoints", id=session.session_id),
    )


async def _restore(asked: Asked, given: Mapping[str, str]) -> Receipt:
    async with holding(asked, given["id"]) as token:
        state = await asked.sources.states.restore_checkpoint(
            given["id"],
            given["checkpoint"],
            expected_version=int(given["version"]),
            commit_id=given["commit"],
            **token,
        )
    return Receipt(
        title="Restored",
        facts=(
            ("Session", state.session_id),
            ("Checkpoint", given["checkpoint"]),
            ("Messages", f"{len(state.messages):,}"),
            ("Version", f"{state.version:,}"),
        ),
        data={"sessionId": state.session_id, "version": state.version, "messageCount": len(state.messages)},
        back=overview(asked, given["id"]),
    )


async def _plan_fork(asked: Asked) -> Plan:
    session, checkpoint = await summary_of(asked), asked.needed("checkpoint")
    then = await state_at(asked.sources, session.session_id, checkpoint)
    suggested = f"{session.session_id[:100]}-fork-{secrets.token_hex(3)}"
    return Plan(
        title=f"Fork {session.session_id}",
        says=(
            (
                f"A new session begins as {session.session_id} was at checkpoint {checkpoint} (step {then.step_count:,}). The two share "
                "nothing; runs and usage are not copied."
            ),
        ),
        fixed={"id": session.session_id, "checkpoint": checkpoint, "commit": new_commit_id()},
        entries=(Entry(name="new_id", label="Id of the new session", value=suggested),),
        button="Fork",
        back=asked.link("checkpoints", id=session.session_id),
    )


async def _fork(asked: Asked, given: Mapping[str, str]) -> Receipt:
    state = await asked.sources.states.fork_session(
        given["id"], given["checkpoint"], given.get("new_id", ""), commit_id=given["commit"]
    )
    return Receipt(
        title="Forked",
        facts=(("New session", state.session_id), ("Messages", f"{len(state.messages):,}")),
        data={"sessionId": state.session_id, "messageCount": len(state.messages)},
        back=overview(asked, state.session_id),
    )


RESTORE: Final = Act(plan=_plan_restore, perform=_restore)
FORK: Final = Act(plan=_plan_fork, perform=_fork, written=frozenset({"new_id"}))
