"""Bookmarks of the real D1."""

from typing import Any

import pytest

from agents_store_cloudflare import InvalidArgumentError, create_cloudflare_store


async def test_a_bookmark_leads_to_what_was_written(env: Any, database: Any, unique: str) -> None:
    """RB-1: in the real runtime a store has a bookmark after its first call, and a store from it sees what was written."""
    del database  # makes the tables
    store = create_cloudflare_store(db=env.AGENT_DB, streams=env.STREAMS, bookmark="first-unconstrained")
    begun = [store.bookmark]
    assert begun == [None]
    await store.migrate()
    await store.state_store.create_session(unique, agent_type="x")
    await store.state_store.update_state(unique, lambda state: state.custom_state.update(a=1))
    bookmark = store.bookmark
    assert bookmark is not None
    later = create_cloudflare_store(db=env.AGENT_DB, streams=env.STREAMS, bookmark=bookmark)
    state = await later.state_store.load_state(unique, required=True)
    assert state.custom_state == {"a": 1}
    assert later.bookmark is not None
    assert later.bookmark >= bookmark


async def test_a_session_has_no_sessions(env: Any) -> None:
    """RB-1: a session instead of the binding is named."""
    session = getattr(env.AGENT_DB, "_binding", env.AGENT_DB).withSession("first-primary")
    with pytest.raises(InvalidArgumentError, match="the D1 binding itself"):
        create_cloudflare_store(db=session, streams=env.STREAMS, bookmark="first-primary")
