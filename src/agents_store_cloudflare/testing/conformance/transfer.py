"""The conformance tests of export and import. Subclass `TransferConformance`, and give it a `store` and a `source`.

The source is what the calls of `transfer` get: the store's database, or the store itself, which sessions in homes need.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from agents_store_cloudflare.contract.errors import (
    InvalidArgumentError,
    SessionExistsError,
    StaleFencingTokenError,
    StaleStateError,
    StreamFailedError,
    StreamTruncatedError,
)
from agents_store_cloudflare.contract.state.records import AgentState, StagedChange, SubSessionRef
from agents_store_cloudflare.store import CloudflareStore
from agents_store_cloudflare.testing.conformance.families import Families
from agents_store_cloudflare.testing.conformance.transfer_moments import TransferMomentConformance
from agents_store_cloudflare.transfer import (
    check_copy,
    copies_of,
    export_budgets,
    export_remains,
    export_session,
    import_budgets,
    import_copy,
    import_session,
    lines_of,
    list_remains,
)

__all__ = ["TransferConformance"]


class TransferConformance(TransferMomentConformance, Families):
    """The contract of `export_session` and `import_session`."""

    async def test_a_session_comes_back(self, store: CloudflareStore, source: Any, unique: str) -> None:
        """TR-1: A session that is deleted and imported is equal by every read, except for its version, and can go on."""
        await _fill(store, unique)
        before = await _reads(store, unique)
        copy = json.loads(json.dumps(await export_session(source, unique)))
        await store.state_store.delete_session(unique, delete_usage=True)
        assert await store.usage_store.get_entries(unique) == []
        await import_session(source, copy)
        after = await _reads(store, unique)
        assert after == before
        first = await store.state_store.append_messages(unique, [{"role": "user", "content": "more"}], commit_id="one")
        again = await store.state_store.append_messages(unique, [{"role": "user", "content": "more"}], commit_id="one")
        assert again == first
        await store.state_store.promote_staging(unique, "step")
        await store.state_store.delete_session(unique, delete_usage=True)

    async def test_usage_counts_once(self, store: CloudflareStore, source: Any, unique: str) -> None:
        """TR-2: Entries that are stored already count once, and the totals of days stay the same."""
        await _fill(store, unique)
        days = await _days(store, f"m-{unique}")
        copy = await export_session(source, unique)
        await store.state_store.delete_session(unique)
        await import_session(source, copy)
        await import_session(source, copy, replace=True)
        assert await _days(store, f"m-{unique}") == days
        assert (await store.usage_store.get_rollup(unique)).entry_count == 3
        await store.usage_store.delete(unique)
        assert await _days(store, f"m-{unique}") == []

    async def test_an_existing_session(self, store: CloudflareStore, source: Any, unique: str) -> None:
        """TR-3: An existing session is refused. With `replace` it equals the copy, and states loaded before are stale."""
        await _fill(store, unique)
        copy = await export_session(source, unique)
        with pytest.raises(SessionExistsError):
            await import_session(source, copy)
        loaded = await store.state_store.load_state(unique, required=True)
        await store.state_store.append_messages(unique, [{"role": "user"}], fencing_token=9)
        await store.usage_store.record_tool(unique, tool_name="late", duration_ms=1, success=True)
        later = await store.state_store.load_state(unique, required=True)
        await import_session(source, copy, replace=True)
        for stale in (loaded, later):
            with pytest.raises(StaleStateError):
                await store.state_store.save_state(unique, stale)
        state = await store.state_store.load_state(unique, required=True)
        assert (len(state.messages), state.version > later.version) == (len(loaded.messages), True)
        assert (await store.usage_store.get_rollup(unique)).tool_stats.by_tool == {"search": 1}
        with pytest.raises(Exception, match="9"):
            await store.state_store.append_messages(unique, [{"role": "user"}], fencing_token=8)

    async def test_what_is_refused(self, store: CloudflareStore, source: Any, unique: str) -> None:
        """TR-4: A newer format, a newer schema, an incomplete copy and a text without UTF-8 are refused, and nothing is written."""
        await _fill(store, unique)
        copy = await export_session(source, unique)
        await store.state_store.delete_session(unique, delete_usage=True)
        rows = copy["stored"]
        changes: list[dict[str, Any]] = [
            {"format": 2},
            {"schema": 10_000},
            {"sessionId": "another"},
            {"messages": copy["messages"][1:]},
            {"stored": {**rows, "__agents_runs": None}},
            {"stored": {**rows, "__agents_states": []}},
            {"stored": {**rows, "__agents_runs": [{**rows["__agents_runs"][0], "column": 1}]}},
            {"stored": {**rows, "__agents_usage": [{**rows["__agents_usage"][0], "session_id": "another"}]}},
            {"stored": {**rows, "__agents_states": [{**rows["__agents_states"][0], "output": '"\ud800"'}]}},
            {"messages": [{**copy["messages"][0], "\udfff": 1}, *copy["messages"][1:]]},
        ]
        for change in changes:
            with pytest.raises(InvalidArgumentError):
                await import_session(source, {**copy, **change})
        assert not await store.state_store.exists(unique)
        assert await store.usage_store.get_entries(unique) == []

    async def test_the_lines_of_a_file(self, store: CloudflareStore, source: Any, unique: str) -> None:
        """TR-5: A copy comes back from the lines of a file. A changed, missing or doubled line is named."""
        await _fill(store, unique)
        await _write(store, unique, 1, 2)
        copy = await export_session(source, unique, streams=store.stream_manager)
        lines = list(lines_of([copy], now_ms=1))
        [(line, read)] = list(copies_of(lines))
        assert (line, json.dumps(read)) == (2, json.dumps(copy))
        for bad, named in (
            (['{"type": "export", "format": 2}'], "line 1"),
            (["{}"], "line 1"),
            ([*lines[:3], "{", *lines[4:]], "line 4"),
            ([*lines[:3], lines[2], *lines[3:]], "line 4"),
            ([*lines[:4], *lines[5:]], "line"),
            ([*lines[:-3], lines[-3].replace(":", ": ", 1), *lines[-2:]], f"lines 2 to {len(lines) - 2}"),
            (lines[:-2], f"line {len(lines) - 2}: the file ends within"),
            (lines[:-1], f"line {len(lines) - 1}: the file ends without its last line"),
            ([lines[0], lines[-1]], "line 2: the export had 1 .* the file has 0"),
            ([*lines[:-1], *lines[1:]], f"line {len(lines)}: .* stands in line 2 already"),
            ([*lines, *lines[1:]], f"line {len(lines) + 1}: it comes after the last line"),
            (['{"type": "export", "format": true, "schema": 1}', *lines[1:]], "line 1"),
            ([lines[0], '{"type": []}', *lines[2:]], "line 2"),
            ([*lines[:2], f'{{"type": {{}}, "sessionId": {json.dumps(unique)}}}', *lines[3:]], "line 3"),
            ([*lines[:2], f'{{"type": "row", "sessionId": {json.dumps(unique)}, "table": [], "row": {{}}}}'], "line 3"),
            ([], "line 1"),
        ):
            with pytest.raises(InvalidArgumentError, match=named):
                list(copies_of(bad))

    @pytest.mark.parametrize("outcome", ["open", "paused", "ended", "failed"])
    async def test_a_stream_comes_back(self, store: CloudflareStore, source: Any, unique: str, outcome: str) -> None:
        """TR-7: The chunks with their numbers, the floor and the outcome come back. A reader from any position sees the same."""
        manager = store.stream_manager
        await store.state_store.create_session(unique, agent_type="x")
        await _write(store, unique, *range(1, 8))
        await manager.truncate_stream(unique, 3)
        await _close(store, unique, outcome)
        before = [await _read(store, unique, position) for position in range(2, 8)]
        info = await manager.get_info(unique)
        copy = json.loads(json.dumps(await export_session(source, unique, streams=manager)))
        await store.delete_session(unique)
        await import_session(source, copy, streams=manager)
        assert [await _read(store, unique, position) for position in range(2, 8)] == before
        assert await manager.get_info(unique) == info
        with pytest.raises(StreamTruncatedError):
            await manager.create_resumable_reader(unique, 1)
        if outcome == "open":
            await _write(store, unique, 8)
            assert await _read(store, unique, 7) == [8]
        await store.delete_session(unique)

    async def test_an_existing_stream(self, store: CloudflareStore, source: Any, unique: str) -> None:
        """TR-8: An existing stream is refused.

        When it is replaced, it equals the copy, listeners hear of it, and no number is used twice.
        """
        manager = store.stream_manager
        await store.state_store.create_session(unique, agent_type="x")
        await _write(store, unique, 1, 2, 3)
        copy = await export_session(source, unique, streams=manager)
        await _write(store, unique, 4, 5, fencing_token=7)
        await store.state_store.delete_session(unique)
        with pytest.raises(InvalidArgumentError, match="exists"):
            await import_session(source, copy, streams=manager)
        assert not await store.state_store.exists(unique)
        with pytest.raises(InvalidArgumentError, match="streams="):
            await import_session(source, copy)
        async with manager.create_resumable_reader(unique, 4) as reader:
            assert (await anext(reader))["n"] == 5
            await import_session(source, copy, streams=manager, replace=True)
            with pytest.raises(StreamTruncatedError):
                await anext(reader)
        assert await _read(store, unique, 0) == [1, 2, 3]
        for position in (4, 5):
            with pytest.raises(StreamTruncatedError):
                await manager.create_resumable_reader(unique, position)
        with pytest.raises(StaleFencingTokenError):
            await _write(store, unique, 6, fencing_token=6)
        await _write(store, unique, 6, fencing_token=7)
        assert await _read(store, unique, 3) == [6]
        info = await manager.get_info(unique)
        assert info is not None
        assert (info.last_sequence, info.count) == (6, 4)
        await import_session(source, copy, streams=manager, replace=True)
        assert await _read(store, unique, 0) == [1, 2, 3]
        await store.delete_session(unique)

    async def test_a_repeated_import(self, store: CloudflareStore, source: Any, unique: str) -> None:
        """TR-6, TR-8: An import that died after its stream was stored completes when it is called again. A different stream stays."""
        manager = store.stream_manager
        await store.state_store.create_session(unique, agent_type="x")
        await _write(store, unique, 1, 2, 3)
        copy = await export_session(source, unique, streams=manager)
        await store.delete_session(unique)
        await import_session(source, copy, streams=manager)
        await store.state_store.delete_session(unique)
        await import_session(source, copy, streams=manager)
        assert await _read(store, unique, 0) == [1, 2, 3]
        await store.state_store.delete_session(unique)
        await _write(store, unique, 4)
        with pytest.raises(InvalidArgumentError, match="exists"):
            await import_session(source, copy, streams=manager)
        await store.delete_session(unique)

    async def test_a_closing_chunk_comes_once(
        self, store: CloudflareStore, source: Any, unique: str, member: Callable[[str, str], str]
    ) -> None:
        """TR-9: An imported session with an unpublished closing chunk does not publish it a second time."""
        manager, unique = store.stream_manager, member(unique, "1")
        async with store.turn(unique, agent_type="x") as turn:
            await turn.write({"type": "text", "n": 1})
        copy = await export_session(source, unique, streams=manager)
        assert copy["stored"]["__agents_states"][0]["owed_closings"] != "[]"
        await store.delete_session(unique)
        await import_session(source, copy, streams=manager)
        async with store.turn(unique, agent_type="x") as turn:
            await turn.write({"type": "text", "n": 2})
        assert [chunk["type"] for chunk in await _chunks(store, unique)] == ["text", "turn-end", "text", "turn-end"]
        await store.delete_session(unique)

    async def test_other_ids(
        self, store: CloudflareStore, source: Any, unique: str, member: Callable[[str, str], str]
    ) -> None:
        """TR-10: A session can be imported under another id with its stream, and all ids that name it are changed."""
        states, manager = store.state_store, store.stream_manager
        await _fill(store, unique, child=member(unique, "1"))
        root = f"{unique}-root"
        child, moved_child = member(unique, "1"), member(root, "1")
        await states.create_session(child, agent_type="x", parent_session_id=unique)
        async with store.turn(child, agent_type="x") as turn:
            await turn.write({"type": "text", "n": 1})
        before = await _reads(store, unique)
        copies = [await export_session(source, each, streams=manager) for each in (unique, child)]
        await store.delete_session(unique)
        rename = {unique: root, child: moved_child}
        for copy in copies:
            await import_session(source, copy, streams=manager, rename=rename)
        assert not await states.exists(unique)
        wanted = before.replace(unique, root).replace(f"m-{root}", f"m-{unique}")
        assert await _reads(store, root, model=f"m-{unique}") == wanted
        moved = await states.load_state(moved_child, required=True)
        assert (moved.parent_session_id, moved.root_session_id, moved.stream_id) == (root, root, moved_child)
        async with store.turn(moved_child, agent_type="x") as turn:
            await turn.write({"type": "text", "n": 2})
        assert [chunk["type"] for chunk in await _chunks(store, moved_child)] == ["text", "turn-end"] * 2
        for wrong in ({unique: "__x"}, {unique: "x" * 513}, {unique: "x", child: "x"}):
            with pytest.raises(InvalidArgumentError):
                await check_copy(source, copies[0], rename=wrong)
        with pytest.raises(SessionExistsError):
            await check_copy(source, copies[0], rename={unique: root})
        await store.delete_session(root)

    async def test_an_open_turn_under_another_id(self, store: CloudflareStore, source: Any, unique: str) -> None:
        """TR-10: The reservation of an open turn stays with the original. A sweep of the copy settles nothing of it."""
        await store.usage_store.set_budget(unique, 100, "tokens")
        async with store.turn(unique, agent_type="a", budget=(unique, 60)) as turn:
            turn.record_tokens(model="m", prompt=7)
            await turn.commit()
            await import_session(source, await export_session(source, unique), rename={unique: f"{unique}-2"})
            await store.sweep_turns(1000)
            [run] = await store.state_store.list_runs(f"{unique}-2")
            assert run.status == "interrupted"
            turn.record_tokens(model="m", prompt=20)
        budget = await store.usage_store.get_budget(unique)
        assert budget is not None
        assert (budget.reserved, budget.settled) == (0, 27)

    async def test_budgets_come_back(self, store: CloudflareStore, source: Any, unique: str) -> None:
        """TR-11: A tree of budgets comes back with its spent and reserved amounts, and the triggers go on counting."""
        usage, inner = store.usage_store, f"{unique}/in"
        await usage.set_budget(unique, 100, "tokens")
        await usage.set_budget(inner, 60, "tokens", parent=unique)
        first = await usage.reserve(inner, 20, ttl=3600)
        second = await usage.reserve(unique, 30, ttl=3600)
        assert first is not None
        assert second is not None
        settled = await usage.settle(first, 25)
        before = [await usage.get_budget(scope) for scope in (unique, inner)]
        copy = json.loads(json.dumps(await export_budgets(source, inner)))
        with pytest.raises(InvalidArgumentError, match="already"):
            await import_budgets(source, copy)
        await usage.set_budget(unique, 7, "tokens")
        assert await usage.release(second)
        for _ in range(2):
            await import_budgets(source, copy, replace=True)
            assert [await usage.get_budget(scope) for scope in (unique, inner)] == before
        assert await usage.settle(first, 25) == settled
        assert await usage.release(second)
        assert await usage.reserve(inner, 36) is None
        third = await usage.reserve(inner, 35)
        assert third is not None
        await usage.settle(third, 35)
        [outer, own] = [await usage.get_budget(scope) for scope in (unique, inner)]
        assert outer is not None
        assert own is not None
        assert [(each.reserved, each.settled) for each in (outer, own)] == [(0, 60), (0, 60)]
        rows = copy["stored"]
        changes: list[dict[str, Any]] = [
            {"root": inner},
            {"stored": {**rows, "__agents_budgets": rows["__agents_budgets"][1:]}},
            {"stored": {}},
            {"format": 2},
        ]
        for change in changes:
            with pytest.raises(InvalidArgumentError):
                await import_budgets(source, {**copy, **change}, replace=True)

    async def test_what_deleted_sessions_leave(self, store: CloudflareStore, source: Any, unique: str) -> None:
        """TR-12: Usage, kept totals and the fence of an id without a session come back, and count once."""
        states, usage = store.state_store, store.usage_store
        await _fill(store, unique)
        await usage.delete_old_entries(1, keep_totals=True)
        await usage.record_tool(unique, tool_name="search", duration_ms=12, success=True)
        await states.append_messages(unique, [{"role": "user"}], fencing_token=9)
        await states.delete_session(unique)
        before = [(await usage.get_rollup(unique)).to_dict(), await _days(store, f"m-{unique}")]
        assert unique in [each async for each in list_remains(source)]
        copy = await export_remains(source, unique)
        [(_, read)] = list(copies_of(lines_of([copy], now_ms=1)))
        await import_copy(source, read)
        assert [(await usage.get_rollup(unique)).to_dict(), await _days(store, f"m-{unique}")] == before
        await usage.delete(unique)
        await states.reset_fence(unique)
        assert await _days(store, f"m-{unique}") == []
        for _ in range(2):
            await import_copy(source, read)
            assert [(await usage.get_rollup(unique)).to_dict(), await _days(store, f"m-{unique}")] == before
        with pytest.raises(StaleFencingTokenError):
            await states.create_session(unique, agent_type="x", fencing_token=8)
        await usage.delete(unique)

    async def test_streams_that_are_refused(self, store: CloudflareStore, source: Any, unique: str) -> None:
        """TR-4: An incomplete stream is refused, and nothing is written."""
        manager = store.stream_manager
        await store.state_store.create_session(unique, agent_type="x")
        await _write(store, unique, 1, 2, 3)
        copy = await export_session(source, unique, streams=manager)
        await store.delete_session(unique)
        [stream] = copy["streams"]
        [block] = stream["blocks"]
        for change in (
            {"head": stream["head"].replace('"schemaVersion":', '"schemaVersion":10')},
            {"head": "{}"},
            {"streamId": "__x"},
            {"blocks": [[*block[:6], "no json\n{}\n{}"]]},
            {"blocks": [block, block]},
            {"blocks": [[block[0], 2, *block[2:]]]},
            {"blocks": [[9, *block[1:]]]},
        ):
            with pytest.raises(InvalidArgumentError):
                await import_session(source, {**copy, "streams": [{**stream, **change}]}, streams=manager)
        assert not await store.state_store.exists(unique)
        assert await manager.get_info(unique) is None


async def _write(store: CloudflareStore, stream_id: str, *numbers: int, fencing_token: int | None = None) -> None:
    named: Any = {} if fencing_token is None else {"fencing_token": fencing_token}
    async with store.stream_manager.create_writer(stream_id, "agent", "x", **named) as writer:
        for number in numbers:
            await writer.write({"type": "text", "n": number})


async def _read(store: CloudflareStore, stream_id: str, position: int) -> list[Any]:
    """Return the numbers of the chunks after a position. For a failed stream the outcome is last."""
    found: list[Any] = []
    info = await store.stream_manager.get_info(stream_id)
    assert info is not None
    held = info.count - max(position - info.first_sequence + 1, 0)
    try:
        async with store.stream_manager.create_resumable_reader(stream_id, position) as reader:
            while len(found) < held or reader.status in ("ended", "failed"):
                found.append((await anext(reader))["n"])
    except StopAsyncIteration:
        found.append("end")
    except StreamFailedError as error:
        found.append(str(error))
    return found


async def _chunks(store: CloudflareStore, stream_id: str) -> list[Any]:
    async with store.stream_manager.create_reader(stream_id, follow=False) as reader:
        return [chunk async for chunk in reader]


async def _close(store: CloudflareStore, stream_id: str, outcome: str) -> None:
    manager = store.stream_manager
    if outcome == "paused":
        await manager.pause_stream(stream_id)
    elif outcome == "ended":
        await manager.end_stream(stream_id, {"answer": [42, 1.0, "é\n"]})
    elif outcome == "failed":
        await manager.fail_stream(stream_id, "boom")


async def _fill(store: CloudflareStore, session_id: str, *, child: str = "child") -> None:
    """Make a session with every kind of data."""
    states, usage = store.state_store, store.usage_store
    parent = AgentState(
        session_id=session_id,
        agent_type="planner",
        custom_state={"big": 10**40, "whole": 1.0, "text": "é\0😀\x7f\n", "": None},
        messages=[{"role": "user", "content": f"message {number}"} for number in range(5)],
        extra={"unknown": [1, 1.0]},
    )
    await states.save_state(session_id, parent)
    await states.save_checkpoint(session_id, run_id="r1", stream_sequence=5)
    await states.append_messages(session_id, [{"role": "assistant", "content": "x" * 1_000}])
    await states.save_checkpoint(session_id)
    await states.start_run(session_id, "r1")
    await states.update_run(session_id, "r1", status="failed", error="boom")
    await states.start_run(session_id, "r2")
    await states.add_sub_session_refs(session_id, [SubSessionRef(sub_session_id=child, agent_type="x")])
    for call in ("a", "b"):
        await states.stage_changes(session_id, "step", StagedChange(tool_call_id=call, merge_changes={"list": [call]}))
    tokens = {"prompt": 1000, "completion": 20, "cached": 400}
    await usage.record_tokens(
        session_id, model=f"m-{session_id}", tokens=tokens, cost_micros=1_234_567, timestamp=10**12
    )
    await usage.record_tool(session_id, tool_name="search", duration_ms=12, success=True, timestamp=10**12 + 1)
    await usage.record_subagent(
        session_id, agent_type="x", sub_session_id=child, duration_ms=5, success=True, timestamp=10**12 + 2
    )


async def _reads(store: CloudflareStore, session_id: str, *, model: str | None = None) -> str:
    """Return the results of every read of the session as one text."""
    states, usage = store.state_store, store.usage_store
    state = await states.load_state(session_id, required=True)
    checkpoints = await states.list_checkpoints(session_id)
    return json.dumps(
        {
            "state": {**state.to_dict(), "version": None},
            "checkpoints": [checkpoint.to_dict() for checkpoint in checkpoints.items],
            "runs": [run.to_dict() for run in await states.list_runs(session_id)],
            "references": [each.to_dict() for each in await states.get_sub_session_refs(session_id)],
            "staged": [change.to_dict() for change in await states.get_staged_changes(session_id, "step")],
            "usage": [entry.to_dict() for entry in await usage.get_entries(session_id)],
            "rollup": (await usage.get_rollup(session_id, include_sub_agents=True)).to_dict(),
            "days": await _days(store, model or f"m-{session_id}"),
        }
    )


async def _days(store: CloudflareStore, model: str) -> list[Any]:
    """Return the totals of days for a model that only one session uses."""
    return [total.to_dict() for total in await store.usage_store.get_totals("day", model=model)]
