"""Rows that another program has damaged: each costs itself, and no read takes it for a good one."""

from typing import LiteralString

import pytest

from agents_store_cloudflare import AgentState, D1StateError, D1StateStore, StaleStateError, run_migration
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.testing import SqliteDatabase

DAMAGES: dict[str, LiteralString] = {
    "custom state": "UPDATE __agents_states SET custom_state = '{broken' WHERE session_id = 'bad'",
    "output": "UPDATE __agents_states SET output = 'no JSON' WHERE session_id = 'bad'",
    "details": "UPDATE __agents_states SET details = '[1, 2]' WHERE session_id = 'bad'",
    "an unknown detail": """UPDATE __agents_states SET details = '{"surprise": 1}' WHERE session_id = 'bad'""",
    "depth": "UPDATE __agents_states SET custom_state = replace(hex(zeroblob(30000)), '0', '[') WHERE session_id = 'bad'",
}


@pytest.mark.parametrize("name", DAMAGES)
async def test_a_bad_row_costs_itself_not_the_list(name: str) -> None:
    """ST-28: A list names a damaged session and continues. It returns no state that could be saved over the damage."""
    database = SqliteDatabase()
    await run_migration(database)
    store = D1StateStore(database)
    for session_id in ("before", "bad", "after"):
        await store.save(AgentState(session_id=session_id, agent_type="t", custom_state={"of": session_id}))
    await database.batch([Statement(DAMAGES[name])])
    page = await store.list_sessions()
    assert [state.session_id for state in page] == ["after", "bad", "before"]
    good, bad, _ = page
    assert good.custom_state == {"of": "after"}
    assert (bad.version, bad.agent_type, bad.extra["storedVersion"]) == (0, "t", 1)
    assert bad.extra["unreadable"]
    with pytest.raises(StaleStateError):
        await store.save(bad)
    assert [state.session_id for state in await store.list_sessions(prefix="b")] == ["bad", "before"]
    with pytest.raises(D1StateError, match="row of session 'bad' cannot be read"):
        await store.load_state("bad")
    database.close()
