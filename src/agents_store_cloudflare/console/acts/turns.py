"""The act on a dead turn: mark it interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agents_store_cloudflare.console.acts.act import (
    Act,
    Plan,
    Receipt,
    objects_of,
    overview,
)
from agents_store_cloudflare.console.asking import Asked
from agents_store_cloudflare.console.session_page import summary_of
from agents_store_cloudflare.contract.errors import InvalidArgumentError, LockNotAcquiredError
from agents_store_cloudflare.turns.sweeping import sweep_session

__all__ = ["SWEEP"]


async def _plan_sweep(asked: Asked) -> Plan:
    session = await summary_of(asked)
    return Plan(
        title=f"Mark the dead turn of {session.session_id} interrupted",
        says=(
            "The session's lock is taken, without waiting. Where somebody holds it, the turn is alive and nothing happens.",
            (
                "A turn that is still open ends as interrupted, its reservation is settled, and the chunk that closes it is sent to the "
                "readers. What the turn has committed stays."
            ),
        ),
        fixed={"id": session.session_id},
        button="Mark it interrupted",
        back=overview(asked, session.session_id),
    )


async def _sweep(asked: Asked, given: Mapping[str, str]) -> Receipt:
    objects, session_id = objects_of(asked), given["id"]
    if objects.locks is None:
        raise InvalidArgumentError("this store has no locks, so nobody can tell a dead turn from a running one")
    session = await summary_of(asked)
    told = await sweep_session(
        session_id, asked.sources.states, objects.streams, objects.locks, asked.sources.states.now_ms
    )
    if told is None:
        raise LockNotAcquiredError(session_id)
    turn = None if session.open_turn is None else str(session.open_turn.get("turnId"))
    facts = (
        ("Session", session_id),
        ("Turn marked interrupted", turn or "none was open"),
        ("Closing chunks in their streams", str(told)),
    )
    return Receipt(
        title="Swept",
        facts=facts,
        data={"sessionId": session_id, "interrupted": turn, "told": told},
        back=overview(asked, session_id),
    )


SWEEP: Final = Act(plan=_plan_sweep, perform=_sweep, needs_objects=True)
