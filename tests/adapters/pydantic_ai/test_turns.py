"""Messages of agents in turns of a session, and tools that wait for a person as suspended turns."""

from typing import cast

import pytest
from pydantic_ai import Agent, DeferredToolRequests
from pydantic_ai.messages import (
    BinaryContent,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import RequestUsage

from agents_store_cloudflare import CloudflareStore, Message
from agents_store_cloudflare.adapters.pydantic_ai import (
    ForeignValueError,
    deferred_requests,
    messages_from_state,
    messages_to_state,
    suspend_for,
)
from tests.homes.worlds import HomeWorld

MESSAGES: list[ModelMessage] = [
    ModelRequest(
        parts=[UserPromptPart(["é", BinaryContent(b"\xff\x00", media_type="application/pdf")])], instructions="x"
    ),
    ModelResponse(parts=[TextPart("a"), ToolCallPart("t", '{"a":1}', "c")], usage=RequestUsage(input_tokens=3)),
    ModelRequest(parts=[ToolReturnPart("t", {"found": [1, None, "ü"]}, "c")], metadata={"n": 1}),
]


async def test_messages_of_a_session() -> None:
    """PA-11: Messages come back equal, also through the store. Other readers find a role."""
    store = await HomeWorld().store()
    async with store.turn("ada", agent_type="x", messages=messages_to_state(MESSAGES)):
        pass
    state = await store.state_store.load_state("ada")
    assert state is not None
    assert messages_from_state(state.messages) == MESSAGES
    assert [message.get("role") for message in state.messages] == ["user", "assistant", "tool"]


@pytest.mark.parametrize(
    "message", [{"role": "user", "content": "hi"}, {"role": "user"}, {"role": "user", "kind": "summary", "parts": []}]
)
def test_messages_of_others(message: dict[str, object]) -> None:
    """PA-11: A message of another program is refused by its number."""
    good = messages_to_state(MESSAGES)
    with pytest.raises(ForeignValueError, match="message 3"):
        messages_from_state([*good, cast("Message", message)])


def test_messages_that_json_cannot_hold() -> None:
    """PA-11: Messages that JSON cannot hold are refused, and none becomes another message."""
    bad: list[ModelMessage] = [*MESSAGES, ModelRequest(parts=[ToolReturnPart("t", [float("nan")], "c")])]
    with pytest.raises(ForeignValueError, match="message 3"):
        messages_to_state(bad)


def _agent(paid: list[int]) -> Agent[None, str | DeferredToolRequests]:
    async def answer(messages: list[ModelMessage], _info: AgentInfo) -> ModelResponse:
        last = messages[-1].parts[-1]
        if isinstance(last, ToolReturnPart):
            return ModelResponse(parts=[TextPart(f"done: {last.content}")])
        return ModelResponse(parts=[ToolCallPart("pay", {"amount": 120}, "call-1")])

    agent = Agent(FunctionModel(answer), output_type=[str, DeferredToolRequests])

    @agent.tool_plain(requires_approval=True)
    async def pay(amount: int) -> str:
        paid.append(amount)
        return f"paid {amount}"

    return cast("Agent[None, str | DeferredToolRequests]", agent)


async def _turn(store: CloudflareStore, paid: list[int], question: str | None = None) -> str | None:
    asked = [] if question is None else messages_to_state([ModelRequest(parts=[UserPromptPart(question)])])
    async with store.turn("ada", agent_type="x", messages=asked) as turn:
        requests = deferred_requests(turn.resumed_from)
        answers = None
        if requests is not None:
            answers = requests.build_results(approvals={call.tool_call_id: True for call in requests.approvals})
        result = await _agent(paid).run(
            message_history=messages_from_state(turn.messages), deferred_tool_results=answers
        )
        added = messages_to_state(result.new_messages())
        if isinstance(result.output, DeferredToolRequests):
            await suspend_for(turn, result.output, *added)
            return None
        turn.add(*added)
        return result.output


async def test_a_tool_waits_for_its_approval() -> None:
    """PA-12: The turn is suspended with the calls. The next turn in another Worker goes on from them, and the tool runs once."""
    world, paid = HomeWorld(), list[int]()
    assert await _turn(await world.store(), paid, "pay it") is None
    state = await (await world.store()).state_store.load_state("ada")
    assert state is not None
    assert (state.status, paid) == ("suspended", [])
    waiting = deferred_requests(state.suspension_context)
    assert waiting is not None
    assert [(call.tool_name, call.args) for call in waiting.approvals] == [("pay", {"amount": 120})]
    assert await _turn(await world.store(), paid) == "done: paid 120"
    assert paid == [120]
    after = await (await world.store()).state_store.load_state("ada")
    assert after is not None
    assert after.status != "suspended"
    assert len(messages_from_state(after.messages)) == 4


def test_what_is_no_request() -> None:
    """PA-12: Another context gives no requests, and a damaged one is refused."""
    assert deferred_requests(None) is deferred_requests({"approve": 1}) is deferred_requests("x") is None
    with pytest.raises(ForeignValueError, match="suspended turn"):
        deferred_requests({"deferredToolRequests": {"calls": 1}})
