"""One turn of a session: a question in; an answer streamed, stored and accounted for, in one block of the store."""

import asyncio
import logging
from dataclasses import dataclass

from pydantic_ai.messages import ModelRequest, UserPromptPart

from accounting import record_tokens, total
from agent import research_agent
from agents_store_cloudflare import CloudflareStore, Cost, D1Cost, ObjectCost, estimate
from agents_store_cloudflare.adapters.pydantic_ai import messages_from_state, messages_to_state
from narrator import Narrator
from settings import Settings

__all__ = ["AGENT_TYPE", "Started", "answer"]

AGENT_TYPE = "research"
STILL_TO_COME = Cost(
    d1=D1Cost(round_trips=1, rows_read=50, rows_written=24), objects=ObjectCost(calls=3, rows_read=4, rows_written=4)
)
"""The costs that come after the chunk with the costs: its flush, the last commit, the closing chunk and the release."""

_logger = logging.getLogger("research_agent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The answer to the client: the question is stored, and the turn's chunks come after `from_sequence` in the stream."""

    turn: int
    stream_id: str
    from_sequence: int


async def answer(
    store: CloudflareStore, settings: Settings, session_id: str, question: str, started: asyncio.Future[Started]
) -> None:
    """Answer one question. `started` is done when the question is stored and the turn can be followed.

    `started` raises an earlier error. After that, the block reports an error in the stream.
    """
    asked = messages_to_state([ModelRequest(parts=[UserPromptPart(content=question)])])
    with store.meter() as meter:
        try:
            async with store.turn(session_id, agent_type=AGENT_TYPE, messages=asked, ttl=settings.lock_ttl_s) as turn:
                started.set_result(
                    Started(turn=turn.number, stream_id=turn.stream_id, from_sequence=turn.from_sequence)
                )
                narrator = Narrator(turn)
                await narrator.say("turn-start", question=question)
                agent, history = research_agent(settings), messages_from_state(turn.messages[:-1])
                result = await agent.run(question, message_history=history, event_stream_handler=narrator.follow)
                _question, *answered = result.new_messages()
                turn.add(*messages_to_state(answered))
                used = total(record_tokens(turn, answered))
                cost = meter.cost() + STILL_TO_COME
                await narrator.say(
                    "cost", usage=used.to_dict(), cost={**cost.to_dict(), "perMillion": estimate(cost).dollars}
                )
        except Exception as error:
            if started.done():
                _logger.exception("the turn of session %r could not be finished", session_id)
            else:
                started.set_exception(error)
        else:
            _logger.info("the turn of session %r cost %s", session_id, meter.cost().to_dict())
