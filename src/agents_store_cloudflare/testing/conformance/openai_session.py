"""The conformance tests of a `Session` of the OpenAI Agents SDK. Subclass it, and make sessions.

The SDK's own sessions keep these rules, and its runner relies on them: openai-agents 0.24.
"""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from agents import Agent, Model, ModelResponse, Runner, Usage, set_tracing_disabled
from agents.memory import Session, SessionSettings
from openai.types.responses import ResponseOutputMessage, ResponseOutputText

from agents_store_cloudflare.testing.conformance.openai_items import (
    ANSWER,
    CALL,
    ITEMS,
    OUTPUT,
    REASONING,
    texts,
    users,
)

__all__ = ["OpenAISessionConformance"]


class OpenAISessionConformance:
    """The contract of a `Session`. A subclass opens sessions. Two sessions of the same id see the same items."""

    async def open(self, session_id: str, **settings: Any) -> Any:
        """Open a session. `settings` are the keyword arguments of `session_settings`, or None."""
        raise NotImplementedError

    async def test_a_new_session_is_empty(self) -> None:
        """OA-1: A new session has no items."""
        assert await (await self.open("new")).get_items() == []

    async def test_it_has_the_sdks_attributes(self) -> None:
        """OA-1: A session has the id, the settings and the methods that the runner reads."""
        session = await self.open("named")
        assert isinstance(session, Session)
        assert session.session_id == "named"
        assert session.session_settings is not None
        assert session.session_settings.limit is None

    @pytest.mark.parametrize("name", ITEMS)
    async def test_an_item_comes_back_as_it_went_in(self, name: str) -> None:
        """OA-1: Every kind of item comes back equal, from the same session object and from another one."""
        session = await self.open("kinds")
        await session.add_items([copy.deepcopy(ITEMS[name])])
        assert await session.get_items() == [ITEMS[name]]
        assert await (await self.open("kinds")).get_items() == [ITEMS[name]]

    async def test_all_kinds_together(self) -> None:
        """OA-1: One call adds many items in their order."""
        session = await self.open("all")
        await session.add_items(copy.deepcopy(list(ITEMS.values())))
        assert await session.get_items() == list(ITEMS.values())

    async def test_keys_keep_their_order(self) -> None:
        """OA-1: The keys of an item keep their order, because a provider may hash its input."""
        session = await self.open("order")
        await session.add_items([{"z": 1, "role": "user", "a": 2, "content": "x"}])
        assert list((await session.get_items())[0]) == ["z", "role", "a", "content"]

    async def test_items_are_added_at_the_end(self) -> None:
        """OA-1: Each call adds its items at the end."""
        session = await self.open("end")
        for text in "abc":
            await session.add_items(users(text))
        await session.add_items(users("d", "e"))
        assert texts(await session.get_items()) == list("abcde")

    async def test_no_items_change_nothing(self) -> None:
        """OA-1: An empty list changes nothing and raises no error."""
        session = await self.open("none")
        await session.add_items([])
        assert await session.get_items() == []
        await session.add_items(users("a"))
        await session.add_items([])
        assert texts(await session.get_items()) == ["a"]

    async def test_equal_items_are_all_kept(self) -> None:
        """OA-1: Two equal items are both stored."""
        session = await self.open("equal")
        await session.add_items(users("again", "again"))
        await session.add_items(users("again"))
        assert texts(await session.get_items()) == ["again"] * 3

    async def test_sessions_are_apart(self) -> None:
        """OA-1: A session does not see the items of another id."""
        one, other = await self.open("one"), await self.open("other")
        await one.add_items(users("a"))
        await other.add_items(users("b"))
        await one.clear_session()
        assert await one.get_items() == []
        assert texts(await other.get_items()) == ["b"]

    @pytest.mark.parametrize("limit", [1, 2, 5, 6, 100, 5_000])
    async def test_a_limit_takes_the_last_items(self, limit: int) -> None:
        """OA-6: A limit returns the last items in their order, or all items if there are fewer."""
        session = await self.open("limit")
        await session.add_items(users(*"abcdef"))
        assert texts(await session.get_items(limit)) == list("abcdef")[-limit:]
        assert texts(await session.get_items(limit=limit)) == list("abcdef")[-limit:]

    async def test_a_limit_of_zero(self) -> None:
        """OA-6: A limit of 0 returns no items."""
        session = await self.open("zero")
        await session.add_items(users("a"))
        assert await session.get_items(limit=0) == []

    async def test_a_negative_limit(self) -> None:
        """OA-6: A negative limit returns all items."""
        session = await self.open("negative")
        await session.add_items(users(*"abc"))
        assert texts(await session.get_items(limit=-1)) == list("abc")

    async def test_a_limit_may_begin_with_a_tools_output(self) -> None:
        """OA-6: An explicit limit is exact, because the runner compares the last items with its own."""
        session = await self.open("exact")
        await session.add_items([CALL, OUTPUT, ANSWER])
        assert await session.get_items(limit=2) == [OUTPUT, ANSWER]

    @pytest.mark.parametrize("given", ["settings", "a mapping"])
    async def test_the_settings_limit(self, given: str) -> None:
        """OA-6: The limit of the settings holds when a call gives none. The limit of a call wins."""
        session = await self.open(
            "settings", session_settings=SessionSettings(limit=2) if given == "settings" else {"limit": 2}
        )
        await session.add_items(users(*"abcd"))
        assert texts(await session.get_items()) == ["c", "d"]
        assert texts(await session.get_items(limit=3)) == ["b", "c", "d"]
        assert session.session_settings.limit == 2

    async def test_settings_may_change(self) -> None:
        """OA-6: The runner may replace the settings by those of a run."""
        session = await self.open("changed")
        await session.add_items(users(*"abcd"))
        session.session_settings = SessionSettings(limit=1)
        assert texts(await session.get_items()) == ["d"]
        session.session_settings = None
        assert texts(await session.get_items()) == list("abcd")

    async def test_unknown_settings_are_refused(self) -> None:
        """OA-6: A misspelled setting is refused."""
        with pytest.raises(Exception, match="limits"):
            await self.open("unknown", session_settings={"limits": 2})

    async def test_pop_takes_the_last_item(self) -> None:
        """OA-1: Each pop removes the last item, and the pop of an empty session returns None."""
        session = await self.open("pop")
        await session.add_items(users(*"ab"))
        assert (await session.pop_item())["content"] == "b"
        assert texts(await session.get_items()) == ["a"]
        assert (await session.pop_item())["content"] == "a"
        assert await session.pop_item() is None
        assert await session.get_items() == []

    async def test_pop_of_a_new_session(self) -> None:
        """OA-1: The pop of a new session returns None and makes no session."""
        assert await (await self.open("nothing")).pop_item() is None

    async def test_pop_of_a_large_item(self) -> None:
        """OA-1: A pop returns a large item unchanged."""
        session = await self.open("large")
        await session.add_items([copy.deepcopy(ITEMS["a large text"])])
        assert await session.pop_item() == ITEMS["a large text"]
        assert await session.get_items() == []

    async def test_items_after_a_pop(self) -> None:
        """OA-1: Items added after a pop stand after the remaining items."""
        session = await self.open("after")
        await session.add_items(users(*"ab"))
        await session.pop_item()
        await session.add_items(users("c"))
        assert texts(await session.get_items()) == ["a", "c"]

    async def test_a_tail_is_rewound_and_restored(self) -> None:
        """OA-1: The runner can pop the items of a failed attempt, and can add other writers' items again."""
        session = await self.open("rewind")
        await session.add_items([*users("q"), REASONING, CALL, OUTPUT])
        popped: list[Any] = [await session.pop_item() for _ in range(3)]
        assert popped == [OUTPUT, CALL, REASONING]
        await session.add_items(list(reversed(popped)))
        assert await session.get_items() == [*users("q"), REASONING, CALL, OUTPUT]

    async def test_clear_removes_everything(self) -> None:
        """OA-1: A cleared session behaves like a new one."""
        session = await self.open("clear")
        await session.add_items(users(*"abc"))
        await session.clear_session()
        assert await session.get_items() == []
        assert await session.pop_item() is None
        await session.add_items(users("d"))
        assert texts(await session.get_items()) == ["d"]

    async def test_clear_of_a_new_session(self) -> None:
        """OA-1: To clear a new session twice changes nothing."""
        session = await self.open("clear new")
        await session.clear_session()
        await session.clear_session()
        assert await session.get_items() == []

    async def test_the_callers_items_are_its_own(self) -> None:
        """OA-1: Later changes of the caller's items, or of items that were read, do not change stored items."""
        session, items = await self.open("own"), users("a")
        await session.add_items(items)
        items[0]["content"] = "changed"
        items.append({"role": "user", "content": "more"})
        read = await session.get_items()
        read[0]["content"] = "changed"
        read.append({"role": "user", "content": "more"})
        assert texts(await session.get_items()) == ["a"]

    async def test_appends_at_once_are_all_kept(self) -> None:
        """OA-2: When sixteen tasks add two items each, all are stored, and the two items of a task stay together."""
        sessions = [await self.open("at once") for _ in range(4)]
        await asyncio.gather(*(sessions[n % 4].add_items(users(f"{n} a", f"{n} b")) for n in range(16)))
        stored = texts(await sessions[0].get_items())
        assert sorted(stored) == sorted(f"{n} {part}" for n in range(16) for part in "ab")
        assert all(stored[at + 1] == f"{stored[at].split()[0]} b" for at in range(0, 32, 2))

    async def test_pops_at_once_return_each_item_once(self) -> None:
        """OA-2: Concurrent pops return each item once and lose none."""
        session = await self.open("pops")
        await session.add_items(users(*(str(n) for n in range(12))))
        popped = await asyncio.gather(*(session.pop_item() for _ in range(8)))
        left = texts(await session.get_items())
        assert sorted([*left, *(item["content"] for item in popped if item)], key=int) == [str(n) for n in range(12)]
        assert left == [str(n) for n in range(4)]

    async def test_appends_and_pops_at_once(self) -> None:
        """OA-2: With concurrent appends and pops, every item is stored or returned once."""
        session, other = await self.open("mixed"), await self.open("mixed")
        await session.add_items(users(*(f"old {n}" for n in range(6))))
        done = await asyncio.gather(
            *(other.add_items(users(f"new {n}")) for n in range(6)),
            *(session.pop_item() for _ in range(6)),
            return_exceptions=True,
        )
        assert not [each for each in done if isinstance(each, BaseException)]
        popped: list[str] = [item["content"] for item in done if isinstance(item, dict)]
        expected = sorted([*(f"old {n}" for n in range(6)), *(f"new {n}" for n in range(6))])
        assert sorted([*texts(await session.get_items()), *popped]) == expected

    async def test_many_items(self) -> None:
        """OA-1: A session holds more items than a page of any store."""
        session = await self.open("many")
        await session.add_items(users(*(str(n) for n in range(1_500))))
        assert texts(await session.get_items()) == [str(n) for n in range(1_500)]
        assert texts(await session.get_items(limit=1_200)) == [str(n) for n in range(300, 1_500)]

    @pytest.mark.parametrize("rounds", [0, 1, 2, 3])
    async def test_a_cancelled_append_is_whole_or_not_there(self, rounds: int) -> None:
        """OA-4: After a cancelled append both items are stored or none, and the session is usable."""
        session = await self.open("cancelled")
        await session.add_items(users("first"))
        task = asyncio.ensure_future(session.add_items(users("a", "b")))
        for _ in range(rounds):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        seen = texts(await session.get_items())
        assert seen in (["first"], ["first", "a", "b"])
        await session.add_items(users("last"))
        assert texts(await session.get_items()) == [*seen, "last"]

    @pytest.mark.parametrize("rounds", [1, 2, 3])
    async def test_a_cancelled_pop_took_one_item_or_none(self, rounds: int) -> None:
        """OA-4: A cancelled pop has removed one item or none when its call has ended."""
        session = await self.open("cancelled pop")
        await session.add_items(users(*"ab"))
        task = asyncio.ensure_future(session.pop_item())
        for _ in range(rounds):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        first = texts(await session.get_items())
        await asyncio.sleep(0.01)
        assert first == texts(await session.get_items())
        assert first in (["a", "b"], ["a"])

    async def test_a_runner_carries_the_conversation(self) -> None:
        """OA-1: In the second run the model gets the items of the first run."""
        set_tracing_disabled(True)
        asked: list[Any] = []

        class Echo(Model):
            async def get_response(self, *args: Any, **more: Any) -> ModelResponse:
                asked.append(copy.deepcopy(more["input"]))
                text = ResponseOutputText(annotations=[], text=f"answer {len(asked)}", type="output_text")
                message = ResponseOutputMessage(
                    id=f"m{len(asked)}", content=[text], role="assistant", status="completed", type="message"
                )
                return ModelResponse(output=[message], usage=Usage(), response_id=f"r{len(asked)}")

            def stream_response(self, *args: Any, **more: Any) -> Any:
                raise NotImplementedError

        agent: Any = Agent(name="echo", model=Echo())
        await Runner.run(agent, "one", session=await self.open("runner"))
        result = await Runner.run(agent, "two", session=await self.open("runner"))
        assert result.final_output == "answer 2"
        assert [item.get("content") for item in asked[1] if item["role"] == "user"] == ["one", "two"]
        assert asked[1][1]["content"][0]["text"] == "answer 1"
        assert len(await (await self.open("runner")).get_items()) == 4
