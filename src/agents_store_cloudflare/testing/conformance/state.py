"""The conformance tests of a `StateStore`. Subclass `StateConformance`, and give it a `state_store`.

Each test names the clauses of docs/guarantees.md that it proves.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from typing import Any, Literal, cast

import pytest

from agents_store_cloudflare.contract.errors import (
    InvalidArgumentError,
    StaleFencingTokenError,
    StaleStateError,
    StateNotFoundError,
    StateSizeExceededError,
)
from agents_store_cloudflare.contract.state.marks import ANY_VERSION
from agents_store_cloudflare.contract.state.records import AgentState, Message
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing.conformance.families import Families
from agents_store_cloudflare.testing.conformance.fixtures import StateFixtures

__all__ = ["NASTY_VALUES", "StateConformance"]

NASTY_VALUES: list[Any] = [
    2**53 + 1,
    -(10**30),
    1.0,
    -0.0,
    1e308,
    "",
    "a\x00b",
    "line\nline\u2028line\r\n",
    "🎉 ё 漢字 'quoted' \"twice\" \\ /",
    "''; DROP TABLE x; --",
    [],
    {},
    {"": None, "null": None, "z": 1, "a": 2},
    [True, False, None, [[[]]]],
]


def _message(text: str, role: str = "user") -> Message:
    return {"role": role, "content": text}


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def _circular() -> list[Any]:
    """Return a value with two ways from each part back to itself. A check that follows all ways would never end."""
    value: list[Any] = []
    value += [[value, value], {"back": value}]
    return value


class StateConformance(Families, StateFixtures):
    """The contract of `StateStore`, clause by clause."""

    async def test_a_saved_state_comes_back_equal(
        self, state_store: D1StateStore, unique: str, member: Callable[[str, str], str]
    ) -> None:
        """ST-1, ST-2: Every field of a state survives a save and a load. The save sets the state's new version."""
        state = AgentState(
            session_id=member(unique, 'it\'s a "test" – 🎉'),
            agent_type="researcher",
            status="running",
            step_count=3,
            custom_state={"plan": ["a", "b"], "n": 2**70},
            messages=[
                _message("hello"),
                {"role": "assistant", "content": [{"type": "text", "text": "x"}], "metadata": {"own_key": 1}},
            ],
            output={"answer": 42},
            error="none",
            stream_id=f"{unique}-stream",
            parent_session_id=member(unique, "parent"),
            root_session_id=f"{unique}-root",
            aborted=True,
            abort_reason="because",
            resume_count=2,
            suspension_context={"why": "tool"},
            pending_client_tool_calls=[{"id": "c1"}],
            suspended_awaiting_children=["child"],
            suspended_step_id="step-1",
            tracing_context={"traceparent": "00-…"},
            expires_at=1_900_000_000_000,
            extra={"ownField": {"snake_case": 1, "camelCase": 2}},
        )
        assert await state_store.save_state(state.session_id, state) == 1
        assert state.version == 1
        assert await state_store.load_state(state.session_id) == state

    @pytest.mark.parametrize("value", NASTY_VALUES, ids=range(len(NASTY_VALUES)))
    async def test_user_json_is_exact(self, state_store: D1StateStore, unique: str, value: Any) -> None:
        """ST-3: The JSON of messages, custom state and output comes back with its types, digits and order."""
        state = AgentState(session_id=unique, agent_type="x", custom_state={"v": value}, output=[value])
        state.messages.append({"role": "user", "content": value})
        await state_store.save_state(unique, state)
        loaded = await state_store.load_state(unique, required=True)
        assert repr([loaded.custom_state, loaded.output, loaded.messages]) == repr(
            [{"v": value}, [value], [{"role": "user", "content": value}]]
        )

    @pytest.mark.parametrize(
        ("value", "error"),
        [
            (math.nan, InvalidArgumentError),
            (math.inf, InvalidArgumentError),
            ("\ud800", InvalidArgumentError),
            (_nested(201), InvalidArgumentError),
            (_nested(5_000), InvalidArgumentError),
            ((1, 2), TypeError),
            ({1: "x"}, TypeError),
            (_circular(), InvalidArgumentError),
            (b"bytes", TypeError),
            (object(), TypeError),
        ],
        ids=["nan", "inf", "surrogate", "depth-201", "depth-5000", "tuple", "int-key", "circular", "bytes", "object"],
    )
    async def test_what_is_not_json_is_refused(
        self, state_store: D1StateStore, unique: str, value: Any, error: type[Exception]
    ) -> None:
        """ST-4: values that JSON cannot hold are refused before anything is written."""
        with pytest.raises(error, match="custom_state"):
            await state_store.save_state(
                unique, AgentState(session_id=unique, agent_type="x", custom_state={"v": value})
            )
        with pytest.raises(error, match="message 0"):
            await state_store.save_state(
                unique, AgentState(session_id=unique, agent_type="x", messages=[{"role": "user", "content": value}])
            )
        assert not await state_store.exists(unique)

    async def test_depth_200_is_allowed(self, state_store: D1StateStore, unique: str) -> None:
        """ST-3, ST-4: nesting of 200 levels is stored, and comes back."""
        value = _nested(199)
        await state_store.save_state(unique, AgentState(session_id=unique, agent_type="x", custom_state={"v": value}))
        loaded = await state_store.load_state(unique, required=True)
        assert loaded.custom_state == {"v": value}

    @pytest.mark.parametrize("bad", ["", "x" * 513, "é" * 257, "a\nb", "__mine", "\ud800"])
    async def test_bad_ids_are_refused(self, state_store: D1StateStore, bad: str) -> None:
        """ST-5: Every call refuses ids that break the rule."""
        with pytest.raises(InvalidArgumentError, match="session_id"):
            await state_store.load_state(bad)
        with pytest.raises(InvalidArgumentError, match="session_id"):
            await state_store.save_state(bad, AgentState(session_id=bad, agent_type="x"))
        with pytest.raises(InvalidArgumentError, match="session_id"):
            await state_store.update_status(bad, "done")

    async def test_the_longest_id_works(self, state_store: D1StateStore, unique: str) -> None:
        """ST-5: An id may have 512 bytes."""
        session_id = unique + "é" * ((512 - len(unique)) // 2)
        await state_store.save_state(session_id, AgentState(session_id=session_id, agent_type="x"))
        assert await state_store.exists(session_id)

    async def test_missing_sessions(self, state_store: D1StateStore, unique: str) -> None:
        """ST-6: Reads of a missing session return None, False or an empty page. Writes raise StateNotFoundError."""
        assert await state_store.load_state(unique) is None
        assert not await state_store.exists(unique)
        assert not await state_store.session_exists(unique)
        assert await state_store.get_latest_checkpoint(unique) is None
        page = await state_store.get_messages(unique)
        assert (page.messages, page.total, page.has_more) == ([], 0, False)
        for call in (
            state_store.load_state(unique, required=True),
            state_store.update_status(unique, "done"),
            state_store.save_checkpoint(unique),
        ):
            with pytest.raises(StateNotFoundError) as raised:
                await call
            assert raised.value.session_id == unique

    async def test_load_change_save_again_and_again(self, state_store: D1StateStore, unique: str) -> None:
        """ST-2, ST-7: The version rises by one with each save, and only new messages are added, in order."""
        state = AgentState(session_id=unique, agent_type="x")
        for turn in range(5):
            state.messages += [_message(f"q{turn}"), _message(f"a{turn}", "assistant")]
            state.step_count = turn
            assert await state_store.save(state) == turn + 1
        loaded = await state_store.load_state(unique, required=True)
        assert loaded == state
        loaded.messages.append(_message("more"))
        assert await state_store.save(loaded) == 6
        page = await state_store.get_messages(unique, limit=100)
        assert list(page) == loaded.messages
        assert page.total == 11

    async def test_a_stale_save_changes_nothing(self, state_store: D1StateStore, unique: str) -> None:
        """ST-8: Of two callers with the same version one saves. The other gets both versions, and has written nothing."""
        await state_store.save_state(unique, AgentState(session_id=unique, agent_type="x"))
        first = await state_store.load_state(unique, required=True)
        second = await state_store.load_state(unique, required=True)
        first.messages.append(_message("first"))
        second.messages.append(_message("second"))
        await state_store.save(first)
        with pytest.raises(StaleStateError) as raised:
            await state_store.save(second)
        assert (raised.value.reason, raised.value.expected, raised.value.actual) == ("version", 1, 2)
        assert await state_store.load_state(unique) == first

    async def test_a_new_state_does_not_overwrite(self, state_store: D1StateStore, unique: str) -> None:
        """ST-8: A state that was never loaded is refused if the session exists. With ANY_VERSION it is saved."""
        await state_store.save_state(unique, AgentState(session_id=unique, agent_type="x"))
        other = AgentState(session_id=unique, agent_type="y")
        with pytest.raises(StaleStateError):
            await state_store.save_state(unique, other)
        assert await state_store.save_state(unique, other, expected_version=ANY_VERSION) == 2
        loaded = await state_store.load_state(unique, required=True)
        assert loaded.agent_type == "y"

    async def test_histories_that_do_not_meet(self, state_store: D1StateStore, unique: str) -> None:
        """ST-9: A save never removes or rewrites stored messages, whatever version it expects."""
        state = AgentState(session_id=unique, agent_type="x", messages=[_message("1"), _message("2")])
        await state_store.save(state)
        with pytest.raises(StaleStateError) as raised:
            await state_store.save_state(
                unique, AgentState(session_id=unique, agent_type="x"), expected_version=ANY_VERSION
            )
        assert (raised.value.reason, raised.value.expected, raised.value.actual) == ("history", 0, 2)
        del state.messages[0]
        with pytest.raises(StaleStateError):
            await state_store.save(state)
        assert (await state_store.get_messages(unique)).total == 2

    @pytest.mark.parametrize("change", ["insert", "replace", "edit", "remove", "remove and add", "swap"])
    @pytest.mark.parametrize("carried", [False, True], ids=["loaded", "carried as a mapping"])
    async def test_stored_messages_that_were_changed(
        self, state_store: D1StateStore, unique: str, change: str, carried: bool
    ) -> None:
        """ST-9: A state with changed stored messages is refused, and nothing is written."""
        messages = [_message(str(n)) for n in range(4)]
        await state_store.save(AgentState(session_id=unique, agent_type="x", messages=list(messages)))
        state = await state_store.load_state(unique, required=True)
        if carried:
            state = AgentState.from_dict(json.loads(json.dumps(state.to_dict())))
        match change:
            case "insert":
                state.messages.insert(0, _message("system", "system"))
            case "replace":
                state.messages[:3] = [_message("summary"), _message("3"), _message("more")]
            case "edit":
                state.messages[1]["metadata"] = {"edited": True}
            case "remove":
                state.messages.pop()
            case "remove and add":
                del state.messages[0]
                state.messages.append(_message("4"))
            case _:
                state.messages[0], state.messages[1] = state.messages[1], state.messages[0]
        for expected in (None, ANY_VERSION):
            with pytest.raises(StaleStateError) as raised:
                await state_store.save_state(unique, state, expected_version=expected)
            assert raised.value.reason == "edited"
            assert "4 messages are stored" in raised.value.message
            assert ("this state has 3" in raised.value.message) == (change == "remove")
            assert "replace_messages" in raised.value.message
        assert list(await state_store.get_messages(unique)) == messages

    async def test_another_session_of_the_same_id(self, state_store: D1StateStore, unique: str) -> None:
        """ST-8, ST-9, ST-22: A state of a deleted session is not saved over a new session of its id, even if the versions agree."""
        old, new = (
            AgentState(session_id=unique, agent_type="x", custom_state={"owner": name}, messages=[_message(name)])
            for name in ("old", "new")
        )
        await state_store.save(old)
        await state_store.delete_session(unique)
        await state_store.save(new)
        old.messages.append(_message("late"))
        for expected in (None, ANY_VERSION):
            with pytest.raises(StaleStateError) as raised:
                await state_store.save_state(unique, old, expected_version=expected)
            assert raised.value.reason == "history"
        loaded = await state_store.load_state(unique, required=True)
        assert (loaded.custom_state, loaded.messages) == ({"owner": "new"}, [_message("new")])

    async def test_extra_and_fields(self, state_store: D1StateStore, unique: str) -> None:
        """ST-18: Keys of `extra` that are names of fields are refused, and the error names them."""
        for key in ("status", "stepCount", "session_id", "extra", "storedHistory"):
            with pytest.raises(InvalidArgumentError, match=key):
                await state_store.save(AgentState(session_id=unique, agent_type="x", extra={key: 1}))
        with pytest.raises(TypeError, match="AgentState"):
            await state_store.save_state(unique, 5)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError, match="which messages are stored"):
            await state_store.save_state(unique, {"sessionId": unique, "agentType": "x", "version": 3})
        assert not await state_store.exists(unique)

    async def test_twenty_writers_one_winner(self, state_store: D1StateStore, unique: str) -> None:
        """ST-8: Of twenty concurrent saves from one version exactly one succeeds."""
        await state_store.save_state(unique, AgentState(session_id=unique, agent_type="x"))

        async def save(name: str) -> str | None:
            state = await state_store.load_state(unique, required=True)
            state.messages.append(_message(name))
            try:
                await state_store.save_state(unique, state, expected_version=1)
            except StaleStateError:
                return None
            return name

        loaded_before = [await state_store.load_state(unique) for _ in range(2)]
        assert all(loaded_before)
        winners = [name for name in await asyncio.gather(*(save(f"w{n}") for n in range(20))) if name]
        assert len(winners) == 1
        assert [message.get("content") for message in await state_store.get_messages(unique)] == winners

    async def test_a_repeated_commit_gives_the_first_result(self, state_store: D1StateStore, unique: str) -> None:
        """ST-10: A write that is repeated with its commit id is stored once, also after later writes."""
        state = AgentState(session_id=unique, agent_type="x", messages=[_message("once")])
        before = AgentState.from_dict(state.to_dict())
        assert await state_store.save_state(unique, state, commit_id="commit-1") == 1
        assert await state_store.update_status(unique, "running", commit_id="commit-2") == 2
        assert await state_store.save_state(unique, before, commit_id="commit-1") == 1
        assert await state_store.update_status(unique, "running", commit_id="commit-2") == 2
        checkpoint = await state_store.save_checkpoint(unique, commit_id="commit-3")
        assert await state_store.save_checkpoint(unique, commit_id="commit-3") == checkpoint
        loaded = await state_store.load_state(unique, required=True)
        assert (loaded.version, loaded.status, len(loaded.messages)) == (2, "running", 1)

    async def test_a_commit_id_names_one_request(self, state_store: D1StateStore, unique: str) -> None:
        """ST-10: A commit id of another operation or of other arguments is refused, and nothing is written."""
        state = AgentState(session_id=unique, agent_type="x", messages=[_message("1")])
        again = AgentState.from_dict(state.to_dict())
        await state_store.save_state(unique, state, commit_id="one")
        with pytest.raises(InvalidArgumentError, match="save_state"):
            await state_store.update_status(unique, "done", commit_id="one")
        again.messages.append(_message("2"))
        with pytest.raises(InvalidArgumentError, match="other arguments"):
            await state_store.save_state(unique, again, commit_id="one")
        assert await state_store.save_state(unique, state, expected_version=0, commit_id="one") == 1
        assert await state_store.append_messages(unique, [_message("2")], commit_id="two") == 1
        with pytest.raises(InvalidArgumentError, match="other arguments"):
            await state_store.append_messages(unique, [_message("3")], commit_id="two")
        assert [message.get("content") for message in await state_store.get_messages(unique)] == ["1", "2"]

    async def test_lower_tokens_are_refused(self, state_store: D1StateStore, unique: str) -> None:
        """ST-11: When a token was seen, a lower token writes nothing. An equal or higher token writes."""
        state = AgentState(session_id=unique, agent_type="x")
        await state_store.save_state(unique, state, fencing_token=7)
        await state_store.update_status(unique, "running", fencing_token=7)
        for write in (
            state_store.save_state(unique, state, expected_version=ANY_VERSION, fencing_token=6),
            state_store.update_status(unique, "stolen", fencing_token=6),
            state_store.save_checkpoint(unique, fencing_token=6),
        ):
            with pytest.raises(StaleFencingTokenError) as raised:
                await write
            assert (raised.value.expected, raised.value.actual) == (7, 6)
        assert await state_store.update_status(unique, "mine", fencing_token=8) == 3
        assert await state_store.get_latest_checkpoint(unique) is None

    @pytest.mark.parametrize("token", [0, -1, 2**53])
    async def test_tokens_out_of_range(self, state_store: D1StateStore, unique: str, token: int) -> None:
        """ST-11: tokens are 1 to 2^53 - 1."""
        with pytest.raises(InvalidArgumentError, match="fencing_token"):
            await state_store.update_status(unique, "x", fencing_token=token)

    async def test_sizes_are_refused_before_writing(self, state_store: D1StateStore, unique: str) -> None:
        """ST-12: A write over a limit stores nothing, and the error has both sizes."""
        big = "x" * 1_800_001
        for state in (
            AgentState(session_id=unique, agent_type="x", custom_state={"big": big}),
            AgentState(session_id=unique, agent_type="x", messages=[_message(big)]),
        ):
            with pytest.raises(StateSizeExceededError) as raised:
                await state_store.save_state(unique, state)
            assert raised.value.size_bytes > raised.value.limit_bytes == 1_800_000
        assert not await state_store.exists(unique)

    async def test_a_long_tail_is_split(self, state_store: D1StateStore, unique: str) -> None:
        """ST-12: Many new messages, above the limit of one value, are stored in one call."""
        messages = [_message(f"{n}:" + "x" * 700_000) for n in range(5)]
        await state_store.save_state(unique, AgentState(session_id=unique, agent_type="x", messages=messages))
        assert (await state_store.get_messages(unique, offset=2, limit=2)).messages == messages[2:4]

    async def test_pages(self, state_store: D1StateStore, unique: str) -> None:
        """ST-13: Pages of messages have no gaps. They have the total, and say whether more messages follow."""
        state = AgentState(session_id=unique, agent_type="x")
        for size in (1, 7, 2, 13, 1):
            state.messages += [{"role": "user", "n": len(state.messages) + i, "thinking": "t"} for i in range(size)]  # type: ignore[typeddict-unknown-key]
            await state_store.save(state)
        for offset in range(0, 26, 3):
            for limit in (1, 4, 50):
                page = await state_store.get_messages(unique, offset=offset, limit=limit)
                assert page.messages == state.messages[offset : offset + limit]
                assert (page.total, page.has_more) == (24, offset + limit < 24 and offset < 24)
        bare = await state_store.get_messages(unique, limit=1, include_thinking=False)
        assert bare.messages == [{"role": "user", "n": 0}]

    async def test_partial_loads(self, state_store: D1StateStore, unique: str) -> None:
        """ST-14: A state that was loaded without messages, or with the last ones, saves only the added messages."""
        state = AgentState(session_id=unique, agent_type="x", messages=[_message(str(n)) for n in range(10)])
        await state_store.save(state)
        for wanted, expected in (("none", 0), (3, 3), (99, 10), (0, 0)):
            part = await state_store.load_state(unique, messages=cast("Literal['none']", wanted), required=True)
            assert part.messages == (state.messages[-expected:] if expected else [])
        part = await state_store.load_state(unique, messages=2, required=True)
        part.messages.append(_message("10"))
        await state_store.save(part)
        contents = [message.get("content") for message in await state_store.get_messages(unique)]
        assert contents == [str(n) for n in range(11)]

    async def test_checkpoints(self, state_store: D1StateStore, unique: str) -> None:
        """ST-15, ST-16: A checkpoint keeps the session as it was and counts its messages. The latest is the one that was kept last."""
        state = AgentState(session_id=unique, agent_type="x", step_count=1, messages=[_message("1")])
        first = await state_store.save_checkpoint(unique, state, run_id="run", stream_sequence=17)
        assert state.version == 1
        assert (first.message_count, first.step_count, first.run_id, first.stream_sequence) == (1, 1, "run", 17)
        assert first.id.startswith(f"cpv1-{unique}-s1-t")
        kept = AgentState.from_dict(state.to_dict())
        state.messages.append(_message("2"))
        state.custom_state["later"] = True
        await state_store.save(state)
        latest = await state_store.get_latest_checkpoint(unique)
        assert latest is not None
        assert latest.id == first.id
        assert latest.state is not None
        assert (latest.state.messages, latest.state.custom_state) == (kept.messages, {})
        second = await state_store.save_checkpoint(unique)
        assert second.id != first.id
        latest = await state_store.get_latest_checkpoint(unique)
        assert latest is not None
        assert latest.state is not None
        assert (latest.id, latest.state.messages) == (second.id, state.messages)
        assert (await state_store.load_state(unique, required=True)) == state

    async def test_a_checkpoint_before_a_handoff(self, state_store: D1StateStore, unique: str) -> None:
        """ST-15, ST-32: A checkpoint keeps the agent and the stream of its time, even if it shares its custom state."""
        state = AgentState(session_id=unique, agent_type="planner", custom_state={"plan": 1})
        kept = [await state_store.save_checkpoint(unique, state)]
        for agent_type, plan in (("writer", 1), ("writer", 2), ("critic", 2)):
            state.agent_type, state.stream_id, state.custom_state = agent_type, f"{unique}-{agent_type}", {"plan": plan}
            kept.append(await state_store.save_checkpoint(unique, state))
            state.custom_state = {"plan": plan}
            kept.append(await state_store.save_checkpoint(unique, state))
        page = await state_store.list_checkpoints(unique)
        stood = [
            (each.state.agent_type, each.state.stream_id) for each in reversed(page.items) if each.state is not None
        ]
        of_agents = [
            (name, f"{unique}-{name}") for name in ("writer", "writer", "writer", "writer", "critic", "critic")
        ]
        assert stood == [("planner", unique), *of_agents]
        fork = await state_store.fork_session(unique, kept[2].id, f"{unique}-fork")
        assert (fork.agent_type, fork.stream_id) == ("writer", fork.session_id)
        for number, owners in ((4, of_agents[0]), (0, ("planner", unique))):
            restored = await state_store.restore_checkpoint(unique, kept[number].id)
            assert (restored.agent_type, restored.stream_id) == owners
            assert restored == await state_store.load_state(unique)

    async def test_a_checkpoint_with_a_stale_state_keeps_nothing(self, state_store: D1StateStore, unique: str) -> None:
        """ST-16: A save and its checkpoint are one transaction."""
        state = AgentState(session_id=unique, agent_type="x")
        await state_store.save(state)
        await state_store.update_status(unique, "moved on")
        with pytest.raises(StaleStateError):
            await state_store.save_checkpoint(unique, state)
        assert await state_store.get_latest_checkpoint(unique) is None

    async def test_status(self, state_store: D1StateStore, unique: str) -> None:
        """ST-17: Update_status sets any text exactly, and raises the version by one."""
        await state_store.save_state(unique, AgentState(session_id=unique, agent_type="x"))
        assert await state_store.update_status(unique, "Running – 🎉") == 2
        loaded = await state_store.load_state(unique)
        assert loaded is not None
        assert (loaded.status, loaded.version) == ("Running – 🎉", 2)
        with pytest.raises(InvalidArgumentError, match="status"):
            await state_store.update_status(unique, "")

    async def test_a_mapping_is_a_state(self, state_store: D1StateStore, unique: str) -> None:
        """ST-18: A mapping with camelCase or snake_case keys is accepted as a state. Unknown fields are kept."""
        await state_store.save_state(
            unique, {"sessionId": unique, "agent_type": "x", "stepCount": 2, "future": {"kept_as": "it is"}}
        )
        loaded = await state_store.load_state(unique)
        assert loaded is not None
        assert (loaded.step_count, loaded.extra) == (2, {"future": {"kept_as": "it is"}})

    async def test_a_parent_stays(
        self, state_store: D1StateStore, unique: str, member: Callable[[str, str], str]
    ) -> None:
        """ST-19: A save cannot change the parent of a stored session, and the error says so."""
        state = AgentState(session_id=unique, agent_type="x", parent_session_id=member(unique, "parent"))
        await state_store.save(state)
        state.parent_session_id = member(unique, "other")
        with pytest.raises(InvalidArgumentError, match="parent_session_id"):
            await state_store.save(state)

    async def test_delete(self, state_store: D1StateStore, unique: str, member: Callable[[str, str], str]) -> None:
        """ST-22: A deletion removes a session and its descendants with their data, also in a cycle. The fence stays."""
        family = {
            "root": None,
            "child": "root",
            "grandchild": "child",
            "other": None,
            "looped": "loop",
            "loop": "looped",
        }
        for name, parent in family.items():
            state = AgentState(session_id=member(unique, name), agent_type="x", messages=[_message(name)])
            state.parent_session_id = member(unique, parent) if parent else None
            await state_store.save_checkpoint(state.session_id, state, fencing_token=9)
        assert await state_store.delete_session(member(unique, "root"))
        assert not await state_store.delete_session(member(unique, "root"))
        assert await state_store.delete_session(member(unique, "loop"))
        left = [name for name in family if await state_store.exists(member(unique, name))]
        assert left == ["other"]
        fresh = AgentState(session_id=member(unique, "root"), agent_type="x")
        with pytest.raises(StaleFencingTokenError):
            await state_store.save_state(fresh.session_id, fresh, fencing_token=8)
        await state_store.save_state(fresh.session_id, fresh)
        assert (await state_store.get_messages(fresh.session_id)).total == 0
        assert await state_store.get_latest_checkpoint(fresh.session_id) is None
        with pytest.raises(StaleFencingTokenError):
            await state_store.delete_session(member(unique, "other"), fencing_token=8)
        assert list(await state_store.get_messages(member(unique, "other"))) == [_message("other")]

    async def test_clean_up(self, state_store: D1StateStore, unique: str) -> None:
        """ST-23: A clean-up deletes expired sessions, the earliest expiry first, up to its limit. Other sessions stay."""
        times = {"early": 10, "late": 20, "later": 1_000, "never": None}
        for name, expires_at in times.items():
            state = AgentState(session_id=f"{unique}-{name}", agent_type="x", expires_at=expires_at)
            await state_store.save(state)
        assert await state_store.cleanup_expired_sessions(20, limit=1) == [f"{unique}-early"]
        assert await state_store.cleanup_expired_sessions(20) == [f"{unique}-late"]
        assert await state_store.cleanup_expired_sessions(20) == []
        assert [name for name in times if await state_store.exists(f"{unique}-{name}")] == ["later", "never"]
        await state_store.delete_session(f"{unique}-later")
