"""The acts of an operator. Each act explains its effect, has it once, and reports it."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from agents_store_cloudflare.console.asking import Asked
from agents_store_cloudflare.console.checkpoint_states import state_at
from agents_store_cloudflare.console.deletion import deletion_plan, deletion_receipt
from agents_store_cloudflare.console.session_page import summary_of
from agents_store_cloudflare.console.sources import Objects
from agents_store_cloudflare.contract.errors import InvalidArgumentError, LockNotAcquiredError, StreamError
from agents_store_cloudflare.contract.json_values import JsonObject
from agents_store_cloudflare.contract.usage.budgets import Budget
from agents_store_cloudflare.transfer import export_session
from agents_store_cloudflare.turns.sweeping import sweep_session

__all__ = ["ACTS", "Act", "Entry", "Plan", "Receipt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A field of the form that the operator may fill in."""

    name: str
    label: str
    value: str = ""
    kind: str = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The content of a confirmation.

    Attributes:
        says: paragraphs about the effect of the act.
        fixed: the values that the form fixes. The form's token covers them, so a changed value makes the token invalid.
        entries: the fields that the operator may fill in.
        back: the page to go back to.
    """

    title: str
    says: tuple[str, ...]
    fixed: Mapping[str, str]
    button: str
    back: str
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The report of an act.

    Attributes:
        facts: names and texts, for people.
        data: the same facts for programs.
        file: a file to download: its name and its content.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    back: str
    data: JsonObject = field(default_factory=dict[str, Any])
    file: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One act.

    Attributes:
        written: the fields that the operator fills in. The form's token fixes all other values.
        needs_objects: True for an act that needs Durable Objects. It is not offered over a database alone.
    """

    plan: Callable[[Asked], Awaitable[Plan]]
    perform: Callable[[Asked, Mapping[str, str]], Awaitable[Receipt]]
    written: frozenset[str] = frozenset()
    needs_objects: bool = False


def _commit() -> str:
    return secrets.token_hex(16)


def _objects(asked: Asked) -> Objects:
    if asked.sources.objects is None:
        raise StreamError("this act needs the Worker's Durable Objects; there is a database alone")
    return asked.sources.objects


def _overview(asked: Asked, session_id: str) -> str:
    return asked.link("session", id=session_id)


@asynccontextmanager
async def _holding(asked: Asked, session_id: str) -> AsyncGenerator[dict[str, Any]]:
    """Hold the session's lock during a change. The value of the block is the keyword arguments with the fencing token.

    Raises:
        LockNotAcquiredError: somebody holds the session.
    """
    objects = asked.sources.objects
    if objects is None or objects.locks is None:
        yield {}
        return
    async with objects.locks.lock(session_id) as lock:
        yield {"fencing_token": lock}


def _alone(asked: Asked) -> str:
    objects = asked.sources.objects
    if objects is not None and objects.locks is not None:
        return "The session's lock is held meanwhile. Where somebody else holds it, nothing happens."
    return "No lock can be taken from here: make sure that no agent is working on the session."


async def _plan_end(asked: Asked) -> Plan:
    session = await summary_of(asked)
    return Plan(
        title=f"End the stream of {session.session_id}",
        says=(
            f"Stream {session.stream_id} takes no more chunks, and its readers are told that it has ended with this status.",
            "A turn that is writing to it fails at its next write.",
        ),
        fixed={"id": session.session_id, "stream": session.stream_id, "commit": _commit()},
        entries=(Entry(name="status", label="Status that readers get", value="completed"),),
        button="End the stream",
        back=asked.link("stream", id=session.session_id),
    )


async def _end(asked: Asked, given: Mapping[str, str]) -> Receipt:
    status = given.get("status") or "completed"
    await _objects(asked).streams.end_stream(given["stream"], status=status, commit_id=given["commit"])
    return Receipt(
        title="The stream has ended",
        facts=(("Stream", given["stream"]), ("Status", status)),
        data={"stream": given["stream"], "status": status},
        back=asked.link("stream", id=given["id"]),
    )


async def _plan_fail(asked: Asked) -> Plan:
    session = await summary_of(asked)
    return Plan(
        title=f"Fail the stream of {session.session_id}",
        says=(
            f"Stream {session.stream_id} takes no more chunks, and its readers get this error after the last chunk.",
            "A turn that is writing to it fails at its next write.",
        ),
        fixed={"id": session.session_id, "stream": session.stream_id, "commit": _commit()},
        entries=(Entry(name="error", label="Error that readers get", value="ended by an operator"),),
        button="Fail the stream",
        back=asked.link("stream", id=session.session_id),
    )


async def _fail(asked: Asked, given: Mapping[str, str]) -> Receipt:
    error = given.get("error") or "ended by an operator"
    await _objects(asked).streams.fail_stream(given["stream"], error, commit_id=given["commit"])
    return Receipt(
        title="The stream has failed",
        facts=(("Stream", given["stream"]), ("Error", error)),
        data={"stream": given["stream"], "error": error},
        back=asked.link("stream", id=given["id"]),
    )


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
        back=_overview(asked, session.session_id),
    )


async def _sweep(asked: Asked, given: Mapping[str, str]) -> Receipt:
    objects, session_id = _objects(asked), given["id"]
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
        back=_overview(asked, session_id),
    )


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
            _alone(asked),
        ),
        fixed={
            "id": session.session_id,
            "checkpoint": checkpoint,
            "version": str(session.version),
            "commit": _commit(),
        },
        button="Restore",
        back=asked.link("checkpoints", id=session.session_id),
    )


async def _restore(asked: Asked, given: Mapping[str, str]) -> Receipt:
    async with _holding(asked, given["id"]) as token:
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
        back=_overview(asked, given["id"]),
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
        fixed={"id": session.session_id, "checkpoint": checkpoint, "commit": _commit()},
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
        back=_overview(asked, state.session_id),
    )


async def _plan_export(asked: Asked) -> Plan:
    if asked.sources.database_of is not None:
        raise InvalidArgumentError("a session that lives in a home cannot be exported yet")
    session = await summary_of(asked)
    return Plan(
        title=f"Export {session.session_id}",
        says=(
            (
                "The session is downloaded as one JSON file: state, messages, checkpoints, staged changes, runs, references and usage. "
                "`agents-store import` takes it."
            ),
            "It holds all that was said. Nobody may write to the session meanwhile, or the file may mix two moments.",
        ),
        fixed={"id": session.session_id},
        button="Download",
        back=_overview(asked, session.session_id),
    )


async def _export(asked: Asked, given: Mapping[str, str]) -> Receipt:
    copy = await export_session(asked.sources.database, given["id"])
    return Receipt(
        title="Exported",
        facts=(),
        data={"sessionId": given["id"]},
        file=("session.json", json.dumps(copy, ensure_ascii=False)),
        back=_overview(asked, given["id"]),
    )


async def _plan_delete(asked: Asked) -> Plan:
    session = await summary_of(asked)
    goes = await deletion_plan(asked.sources, session.session_id)
    return Plan(
        title=f"Delete {session.session_id}",
        says=(*goes, "It cannot be undone: export it first to keep a copy.", _alone(asked)),
        fixed={"id": session.session_id, "version": str(session.version), "commit": _commit()},
        button="Delete for good",
        back=_overview(asked, session.session_id),
    )


async def _delete(asked: Asked, given: Mapping[str, str]) -> Receipt:
    objects, session_id = _objects(asked), given["id"]
    went = await deletion_receipt(asked.sources, session_id)
    async with _holding(asked, session_id) as token:
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


async def _budget(asked: Asked) -> Budget:
    scope = asked.needed("scope")
    budget = await asked.sources.usage.get_budget(scope)
    if budget is None:
        raise InvalidArgumentError(f"scope {scope!r} has no budget")
    return budget


async def _plan_budget(asked: Asked) -> Plan:
    budget = await _budget(asked)
    within = "" if budget.parent is None else f" It stands within {budget.parent}, whose cap holds too."
    return Plan(
        title=f"Raise the budget of {budget.scope}",
        says=(
            f"The cap is {budget.cap:,} {budget.unit}; {budget.settled:,} are spent and {budget.reserved:,} reserved.{within}",
            "What was reserved and spent stays as it is.",
        ),
        fixed={"scope": budget.scope, "cap": str(budget.cap)},
        entries=(Entry(name="new_cap", label=f"New cap, in {budget.unit}", value=str(budget.cap), kind="number"),),
        button="Raise the cap",
        back=asked.link("budgets"),
    )


async def _raise_budget(asked: Asked, given: Mapping[str, str]) -> Receipt:
    budget, text = await _budget(asked), given.get("new_cap", "")
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise InvalidArgumentError("the new cap must be a whole number")
    cap = int(text)
    if cap != budget.cap:  # otherwise this is a repetition, and its work is done
        if str(budget.cap) != given["cap"]:
            raise InvalidArgumentError(f"the cap is {budget.cap:,} by now; look again before you change it")
        if cap < budget.cap:
            raise InvalidArgumentError(f"the new cap is below {budget.cap:,}; set_budget lowers one")
        budget = await asked.sources.usage.set_budget(budget.scope, cap, budget.unit, parent=budget.parent)
    return Receipt(
        title="The cap is raised",
        facts=(("Scope", budget.scope), ("Cap", f"{budget.cap:,} {budget.unit}"), ("Left", f"{budget.remaining:,}")),
        data=budget.to_dict(),
        back=asked.link("budgets"),
    )


ACTS: Final[Mapping[str, Act]] = {
    "end-stream": Act(plan=_plan_end, perform=_end, written=frozenset({"status"}), needs_objects=True),
    "fail-stream": Act(plan=_plan_fail, perform=_fail, written=frozenset({"error"}), needs_objects=True),
    "sweep": Act(plan=_plan_sweep, perform=_sweep, needs_objects=True),
    "restore": Act(plan=_plan_restore, perform=_restore),
    "fork": Act(plan=_plan_fork, perform=_fork, written=frozenset({"new_id"})),
    "export": Act(plan=_plan_export, perform=_export),
    "delete": Act(plan=_plan_delete, perform=_delete, needs_objects=True),
    "raise-budget": Act(plan=_plan_budget, perform=_raise_budget, written=frozenset({"new_cap"})),
}
"""The acts by their names in URLs."""
