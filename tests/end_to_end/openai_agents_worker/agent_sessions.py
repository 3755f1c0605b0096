"""What the test asks for: each function returns what it saw."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from agents import Agent, Model, ModelResponse, RunConfig, Runner, Usage, function_tool
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from agents_store_cloudflare import D1UsageStore
from agents_store_cloudflare.adapters.openai_agents import D1Session, OrphanToolOutputError
from agents_store_cloudflare.contract.errors import StaleFencingTokenError

__all__ = ["race", "rewind", "talk"]

QUIET = RunConfig(tracing_disabled=True)


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


async def talk(database: Any) -> object:
    """Two runs of an agent with a tool, the second from what is stored; usage once."""
    answers: list[object] = []
    for _ in range(2):
        session = D1Session("talk", database)
        result = await Runner.run(AGENT, "what is a fen?", session=session, run_config=QUIET)
        await session.record_usage(result, model="scripted")
        await session.record_usage(result, model="scripted")
        answers.append(result.final_output)
    items: list[Any] = list(await D1Session("talk", database).get_items())
    rollup = await D1UsageStore(database).get_rollup("talk")
    return [answers, [item.get("type", item.get("role")) for item in items], rollup.tokens.prompt]


async def race(database: Any) -> object:
    """A stalled holder; two pops at once; an output without its call."""
    outcomes: list[object] = []
    old, new = D1Session("race", database, fencing_token=3), D1Session("race", database, fencing_token=4)
    await new.add_items([{"role": "user", "content": str(number)} for number in range(4)])
    try:
        await old.add_items([{"role": "user", "content": "late"}])
    except StaleFencingTokenError as error:
        outcomes.append([error.expected, error.actual])
    popped: list[Any] = list(await asyncio.gather(new.pop_item(), D1Session("race", database).pop_item()))
    outcomes.append(sorted(item["content"] for item in popped))
    try:
        await new.add_items([{"type": "function_call_output", "call_id": "nowhere", "output": "x"}])
    except OrphanToolOutputError as error:
        outcomes.append(error.call_ids)
    return outcomes


async def rewind(database: Any) -> object:
    """Pops, a clearing, and what is left."""
    session = D1Session("rewind", database)
    await session.add_items([{"role": "user", "content": "ё" * 1000}, {"role": "user", "content": "b"}])
    await session.pop_item()
    left: list[Any] = list(await session.get_items())
    await session.clear_session()
    return [len(left), left[0]["content"] == "ё" * 1000, await session.get_items(), await session.pop_item()]
