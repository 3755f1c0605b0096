"""What an agent's steps do: staging, runs, references."""

from cost_ledger import Ledger

__all__ = ["step_costs"]


async def step_costs(ledger: Ledger) -> None:
    """Each group on a session of its own."""
    for part in (_staging, _runs, _references):
        await part(ledger)


async def _stage(ledger: Ledger, name: str, step: str, count: int) -> None:
    for number in range(count):
        await ledger.states.stage_changes(
            name, step, {"tool_call_id": f"call-{number}", "merge_changes": {f"found-{number}": [number]}}
        )


async def _staging(ledger: Ledger) -> None:
    states = ledger.states
    state = await ledger.session("staged")
    change = {"tool_call_id": "call-0", "merge_changes": {"found": 1}}
    with ledger.line("state_store.stage_changes", "the first of a step"):
        await states.stage_changes("staged", "step-1", change)
    with ledger.line("state_store.stage_changes", "the same again"):
        await states.stage_changes("staged", "step-1", change)
    with ledger.line("state_store.discard_staging", "1 change"):
        await states.discard_staging("staged", "step-1")
    await _stage(ledger, "staged", "step-2", 5)
    with ledger.line("state_store.get_staged_changes", "5 changes"):
        await states.get_staged_changes("staged", "step-2")
    with ledger.line("state_store.promote_staging", "5 changes"):
        await states.promote_staging("staged", "step-2")
    with ledger.line("state_store.promote_staging", "nothing staged"):
        await states.promote_staging("staged", "step-2")
    await _stage(ledger, "staged", "step-3", 5)
    state = await states.load_state("staged", required=True)
    state.messages.append({"role": "assistant", "content": "done"})
    with ledger.line("state_store.save_state_and_promote_staging", "5 changes, 1 new message, a checkpoint"):
        await states.save_state_and_promote_staging("staged", state, step_id="step-3")


async def _runs(ledger: Ledger) -> None:
    states = ledger.states
    await ledger.session("runs")
    with ledger.line("state_store.start_run"):
        await states.start_run("runs", "run-1")
    with ledger.line("state_store.update_run", "it ends"):
        await states.update_run("runs", "run-1", status="completed")
    for number in range(2, 11):
        await states.start_run("runs", f"run-{number}")
    with ledger.line("state_store.get_current_run", "10 runs"):
        await states.get_current_run("runs")
    with ledger.line("state_store.list_runs", "10 runs"):
        await states.list_runs("runs")


async def _references(ledger: Ledger) -> None:
    states = ledger.states
    await ledger.session("referring")
    refs = [{"sub_session_id": f"sub-{number}", "agent_type": "cost"} for number in range(5)]
    with ledger.line("state_store.add_sub_session_refs", "5"):
        await states.add_sub_session_refs("referring", refs)
    with ledger.line("state_store.update_sub_session_ref"):
        await states.update_sub_session_ref("referring", "sub-0", status="completed")
    with ledger.line("state_store.get_sub_session_refs", "5"):
        await states.get_sub_session_refs("referring")
