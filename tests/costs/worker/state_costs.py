"""Sessions, their messages, their checkpoints."""

from cost_ledger import Ledger, messages

from agents_store_cloudflare import AgentState

__all__ = ["state_costs"]


async def state_costs(ledger: Ledger) -> None:
    """Each call on a session of its own."""
    for part in (_saves, _creations, _loads, _small_changes, _messages, _checkpoints, _lists, _deletions):
        await part(ledger)


async def _saves(ledger: Ledger) -> None:
    states = ledger.states
    for count in (0, 2, 20, 200):
        state = AgentState(session_id=f"new-{count}", agent_type="cost", messages=messages(count))
        with ledger.line("state_store.save", f"a new session with {count} messages"):
            await states.save(state)
    state = await ledger.session("save-1")
    with ledger.line("state_store.save", "nothing new, 20 messages stored"):
        await states.save(state)
    for count in (1, 20):
        state.messages += messages(count)
        with ledger.line("state_store.save", f"new messages: {count}; 20 or 21 are stored"):
            await states.save(state)
    state = await ledger.session("save-2", 200)
    state.messages += messages(1)
    with ledger.line("state_store.save", "1 new message, 200 stored, 20 at a time"):
        await states.save(state)
    state.messages += messages(1)
    with ledger.line("state_store.save_state", "1 new message, 201 stored"):
        await states.save_state("save-2", state)
    state.messages += messages(1)
    with ledger.line("state_store.save_state", "the same, the first with a fencing token"):
        await states.save_state("save-2", state, fencing_token=1)
    state.messages += messages(1)
    with ledger.line("state_store.save_state", "the same, the next with that token"):
        await states.save_state("save-2", state, fencing_token=1)
    state.messages += messages(1)
    with ledger.line("state_store.save_state", "the same, with a higher token"):
        await states.save_state("save-2", state, fencing_token=2)


async def _creations(ledger: Ledger) -> None:
    states = ledger.states
    with ledger.line("state_store.create_session"):
        await states.create_session("created", agent_type="cost")
    with ledger.line("state_store.create_session", "exist_ok, and it exists"):
        await states.create_session("created", agent_type="cost", exist_ok=True)
    with ledger.line("state_store.create_session", "a child"):
        await states.create_session("created-child", agent_type="cost", parent_session_id="created")


async def _loads(ledger: Ledger) -> None:
    states = ledger.states
    await ledger.session("load-20")
    await ledger.session("load-200", 200)
    await ledger.session("load-singly", 200, at_a_time=1)
    for name, data in (
        ("load-none", "missing"),
        ("load-20", "20 messages"),
        ("load-200", "200 messages saved 20 at a time"),
        ("load-singly", "200 messages saved one by one"),
    ):
        with ledger.line("state_store.load_state", data):
            await states.load_state(name)
    with ledger.line("state_store.load_state", 'messages="none" of 200'):
        await states.load_state("load-200", messages="none")
    with ledger.line("state_store.load_state", "messages=10 of 200"):
        await states.load_state("load-200", messages=10)
    with ledger.line("state_store.update_state", "20 messages, 1 more"):
        await states.update_state("load-20", lambda state: state.messages.extend(messages(1)))
    with ledger.line("state_store.exists"):
        await states.exists("load-20")
    with ledger.line("state_store.session_exists"):
        await states.session_exists("load-20")


async def _small_changes(ledger: Ledger) -> None:
    states = ledger.states
    await ledger.session("small")
    with ledger.line("state_store.update_status"):
        await states.update_status("small", "running")
    with ledger.line("state_store.compare_and_set_status", "it matches"):
        await states.compare_and_set_status("small", {"running"}, "paused")
    with ledger.line("state_store.compare_and_set_status", "it does not match"):
        await states.compare_and_set_status("small", {"running"}, "paused")
    with ledger.line("state_store.increment_resume_count"):
        await states.increment_resume_count("small")
    with ledger.line("state_store.increment_step_count"):
        await states.increment_step_count("small")
    with ledger.line("state_store.merge_custom_state"):
        await states.merge_custom_state("small", {"topic": "lakes"})
    await states.update_status("small", "active", fencing_token=5)
    with ledger.line("state_store.reset_fence"):
        await states.reset_fence("small")


async def _messages(ledger: Ledger) -> None:
    states = ledger.states
    await ledger.session("pages", 200)
    await ledger.session("appended", 20)
    with ledger.line("state_store.get_messages", "the first 50 of 200"):
        await states.get_messages("pages", limit=50)
    with ledger.line("state_store.get_messages", "the last 10 of 200"):
        await states.get_messages("pages", offset=190, limit=10)
    with ledger.line("state_store.get_messages", "a missing session"):
        await states.get_messages("no-pages")
    for count in (1, 20):
        with ledger.line("state_store.append_messages", f"{count} to a session with 20 or 21"):
            await states.append_messages("appended", messages(count))
    for data in ("create makes the session", "create, and there is one"):
        with ledger.line("state_store.append_messages", f"1 message, {data}"):
            await states.append_messages("made", messages(1), create="x")
    for count in (1, 20):
        with ledger.line("state_store.pop_messages", f"the last {count} of about 40"):
            await states.pop_messages("appended", count)
    with ledger.line("state_store.truncate_messages", "the last 50 of 200"):
        await states.truncate_messages("pages", 150)
    loaded = await states.load_state("pages", required=True, messages="none")
    with ledger.line("state_store.replace_messages", "150 by 20"):
        await states.replace_messages("pages", messages(20), expected_version=loaded.version)


async def _checkpoints(ledger: Ledger) -> None:
    states = ledger.states
    state = await ledger.session("checkpoints")
    with ledger.line("state_store.save_checkpoint", "as it is stored, 20 messages"):
        first = await states.save_checkpoint("checkpoints")
    for _ in range(4):
        state = await states.load_state("checkpoints", required=True)
        state.messages += messages(2)
        await states.save_checkpoint("checkpoints", state)
    state.messages += messages(2)
    with ledger.line("state_store.save_checkpoint", "with a state and 2 new messages"):
        await states.save_checkpoint("checkpoints", state)
    with ledger.line("state_store.get_latest_checkpoint", "30 messages"):
        await states.get_latest_checkpoint("checkpoints")
    with ledger.line("state_store.get_checkpoint", "20 messages"):
        await states.get_checkpoint("checkpoints", first.id)
    with ledger.line("state_store.list_checkpoints", "6 with their states"):
        page = await states.list_checkpoints("checkpoints")
    with ledger.line("state_store.list_checkpoints", "6 without"):
        await states.list_checkpoints("checkpoints", include_state=False)
    with ledger.line("state_store.fork_session", "a checkpoint of 20 messages"):
        await states.fork_session("checkpoints", first.id, "forked")
    with ledger.line("state_store.prune_checkpoints", "2 of 6"):
        await states.prune_checkpoints("checkpoints", keep_last=4)
    with ledger.line("state_store.restore_checkpoint", "drops 4 messages and 2 checkpoints"):
        await states.restore_checkpoint("checkpoints", page.items[2].id)


async def _lists(ledger: Ledger) -> None:
    states = ledger.states
    for number in range(10):
        await states.create_session(f"listed-{number}", agent_type="cost", parent_session_id="created")
    with ledger.line("state_store.list_sessions", "the newest 10"):
        await states.list_sessions(limit=10)
    with ledger.line("state_store.list_sessions", "10 of a prefix"):
        await states.list_sessions(prefix="listed-")
    with ledger.line("state_store.list_sessions", "11 of a parent"):
        await states.list_sessions(parent_session_id="created")
    with ledger.line("state_store.get_session_tree", "a session with 11 children"):
        await states.get_session_tree("created")


async def _deletions(ledger: Ledger) -> None:
    states = ledger.states
    with ledger.line("state_store.delete_session", "missing"):
        await states.delete_session("no-session")
    await ledger.session("deleted-20")
    with ledger.line("state_store.delete_session", "20 messages"):
        await states.delete_session("deleted-20")
    await ledger.session("deleted-200", 200, at_a_time=1)
    with ledger.line("state_store.delete_session", "200 messages saved one by one"):
        await states.delete_session("deleted-200")
    with ledger.line("state_store.delete_session", "11 children without messages"):
        await states.delete_session("created")
    state = AgentState(session_id="expired", agent_type="cost", messages=messages(20), expires_at=1)
    await states.save(state)
    with ledger.line("state_store.cleanup_expired_sessions", "1 has expired, of 20 messages"):
        await states.cleanup_expired_sessions()
    with ledger.line("state_store.cleanup_expired_sessions", "none has expired"):
        await states.cleanup_expired_sessions()
