"""An agent of the SDK with a tool on real D1: its runner, two writers, rewinding."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from agents import Agent, Model, ModelResponse, RunConfig, Runner, Usage, function_tool
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from agents_store_cloudflare import D1UsageStore
from agents_store_cloudflare.adapters.openai_agents import D1Session, OrphanToolOutputError
from agents_store_cloudflare.contract.errors import StaleFencingTokenError

QUIET = RunConfig(tracing_disabled=True)
TURN = ["user", "function_call", "function_call_output", "message"]


@function_tool
async def look(word: str) -> str:
    """Look a word up."""
    return f"{word}: wet land"


class Scripted(Model):
    """Calls the tool, then answers with the number of items that it was given."""

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **kwargs: Any) -> ModelResponse:  # noqa: A002
        """Return a call, or the answer to its output."""
        last = input[-1]
        number = len(input)
        usage = Usage(requests=1, input_tokens=10, output_tokens=5, total_tokens=15)
        if last.get("type") == "function_call_output":
            text = ResponseOutputText(type="output_text", text=f"after {number} items", annotations=[])
            said = ResponseOutputMessage(
                id=f"m{number}", type="message", role="assistant", status="completed", content=[text]
            )
            return ModelResponse(output=[said], usage=usage, response_id=f"r{number}")
        call = ResponseFunctionToolCall(
            type="function_call", call_id=f"c{number}", name="look", arguments='{"word": "fen"}'
        )
        return ModelResponse(output=[call], usage=usage, response_id=f"r{number}")

    def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        """Refuse: nothing here streams."""
        raise NotImplementedError


AGENT = Agent(name="guide", model=Scripted(), tools=[look])


async def test_an_agent_talks(database: Any) -> None:
    """OA-1, OA-7: the SDK's runner goes on from the stored items, tool calls among them; usage counts once."""
    answers: list[object] = []
    for _ in range(2):
        session = D1Session("talk", database)
        result = await Runner.run(AGENT, "what is a fen?", session=session, run_config=QUIET)
        await session.record_usage(result, model="scripted")
        await session.record_usage(result, model="scripted")
        answers.append(result.final_output)
    items: list[Any] = list(await D1Session("talk", database).get_items())
    assert answers == ["after 3 items", "after 7 items"]
    assert [item.get("type", item.get("role")) for item in items] == TURN * 2
    assert (await D1UsageStore(database).get_rollup("talk")).tokens.prompt == 40


async def test_two_writers(database: Any) -> None:
    """OA-2, OA-5: the stalled holder is refused, two pops get two items, an output without its call is refused."""
    old, new = D1Session("race", database, fencing_token=3), D1Session("race", database, fencing_token=4)
    await new.add_items([{"role": "user", "content": str(number)} for number in range(4)])
    with pytest.raises(StaleFencingTokenError) as stale:
        await old.add_items([{"role": "user", "content": "late"}])
    assert (stale.value.expected, stale.value.actual) == (4, 3)
    popped: list[Any] = list(await asyncio.gather(new.pop_item(), D1Session("race", database).pop_item()))
    assert sorted(item["content"] for item in popped) == ["2", "3"]
    with pytest.raises(OrphanToolOutputError) as orphan:
        await new.add_items([{"type": "function_call_output", "call_id": "nowhere", "output": "x"}])
    assert orphan.value.call_ids == ["nowhere"]


async def test_rewinding(database: Any) -> None:
    """OA-1: what is popped is gone, and so is everything after a clearing."""
    session = D1Session("rewind", database)
    await session.add_items([{"role": "user", "content": "ё" * 1000}, {"role": "user", "content": "b"}])
    await session.pop_item()
    left: list[Any] = list(await session.get_items())
    assert [item["content"] for item in left] == ["ё" * 1000]
    await session.clear_session()
    assert await session.get_items() == []
    assert await session.pop_item() is None
