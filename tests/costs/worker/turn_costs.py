"""What turns cost, as one block, over D1 and in homes, and the sweep."""

from cost_ledger import Ledger, messages

from agents_store_cloudflare import AgentState, CloudflareStore

__all__ = ["turn_costs"]


async def turn_costs(ledger: Ledger) -> None:
    """Turns of a new session and of one with a history; sweeps; the clean-up that takes streams and usage too."""
    await _turns(ledger, ledger.store, "turn")
    await _turns(ledger, ledger.homes, "home-turn", "in a home: ")
    await _sweeps(ledger)
    await ledger.session("turn-expired")
    await ledger.states.update_state("turn-expired", _expire)
    with ledger.line("store.cleanup_expired_sessions", "one expired, 20 messages"):
        await ledger.store.cleanup_expired_sessions()


async def _turns(ledger: Ledger, store: CloudflareStore, name: str, place: str = "") -> None:
    with ledger.line("store.turn", f"{place}a new session: 10 chunks, 2 messages, a tokens entry, a checkpoint"):
        await _turn(store, f"{name}-new")
    with ledger.line("store.turn", f"{place}the next turn of that session, the same"):
        await _turn(store, f"{name}-new")
    silent = AgentState(session_id=f"{name}-silent", agent_type="cost", custom_state={"topic": "rivers"})
    silent.messages += messages(20)
    await store.state_store.save(silent)
    first = ", the first turn of the home" if place else ""
    with ledger.line("store.turn", f"{place}20 messages stored; no stream, no usage, no checkpoint, 2 messages{first}"):
        await _silent_turn(store, silent.session_id)
    if place:
        with ledger.line("store.turn", f"{place}the next turn of that session, again without all three"):
            await _silent_turn(store, silent.session_id)


async def _silent_turn(store: CloudflareStore, session_id: str) -> None:
    block = store.turn(session_id, agent_type="cost", messages=messages(1), stream=False, checkpoint=False)
    async with block as turn:
        turn.add(*messages(1))


async def _turn(store: CloudflareStore, session_id: str) -> None:
    async with store.turn(session_id, agent_type="cost", messages=messages(1)) as turn:
        for number in range(10):
            await turn.write({"type": "text", "text": f"word {number}"})
        turn.add(*messages(1))
        turn.record_tokens(model="m", prompt=10, completion=10)


async def _sweeps(ledger: Ledger) -> None:
    with ledger.line("store.sweep_turns", "settles what the turns above have told already"):
        await ledger.store.sweep_turns()
    with ledger.line("store.sweep_turns", "nothing to do"):
        await ledger.store.sweep_turns()


def _expire(state: AgentState) -> None:
    state.expires_at = 1
