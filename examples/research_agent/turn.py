"""One turn of a session: a question in; an answer streamed, stored, accounted for.

What protects it: the session's lock lets one turn run at a time, and its fencing token goes with every write, so that a
turn which lost its lock (its Worker hung for longer than the lock's ttl) can no longer change anything.
"""

import asyncio
import logging
from dataclasses import dataclass

from pydantic_ai.messages import ModelMessage

from accounting import total, usage_entries
from agent import research_agent
from agents_store_cloudflare import (
    AgentsStoreError,
    AgentState,
    AgentStatus,
    Cost,
    Lock,
    Meter,
    ObjectCost,
    StaleFencingTokenError,
    StreamWriter,
    estimate,
)
from conversation import asked, from_stored, to_stored
from narrator import Narrator
from settings import Settings
from stores import Stores

__all__ = ["Started", "Turn"]

AGENT_TYPE = "research"
STILL_TO_COME = Cost(objects=ObjectCost(calls=2, rows_read=2, rows_written=2))
"""After the cost is told: storing the chunk that tells it, and giving back the lock. docs/costs.md has both."""

_logger = logging.getLogger("research_agent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What the asker is told: the question is stored, and the turn's chunks follow `from_sequence` of the stream."""

    turn: int
    stream_id: str
    from_sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A session whose lock this turn holds."""

    lock: Lock
    meter: Meter
    state: AgentState
    history: list[ModelMessage]
    writer: StreamWriter
    narrator: Narrator


class Turn:
    """Answers one question: `run` does all of it, `started` is done once the question is stored and can be followed.

    What goes wrong before that is raised by `started`; what goes wrong later is told in the stream.
    """

    def __init__(self, stores: Stores, settings: Settings) -> None:
        self.started: asyncio.Future[Started] = asyncio.get_running_loop().create_future()
        self._stores = stores
        self._settings = settings

    async def run(self, session_id: str, question: str) -> None:
        """Hold the session's lock, take the question, answer it."""
        ttl_s = self._settings.lock_ttl_s
        try:
            with self._stores.meter() as meter:
                async with self._stores.locks.lock(session_id, ttl=ttl_s, auto_refresh=True) as lock:
                    await self._hold(session_id, question, lock, meter)
        except Exception as error:
            if self.started.done():
                _logger.exception("the turn of session %r could not be finished", session_id)
            else:
                self.started.set_exception(error)

    async def _hold(self, session_id: str, question: str, lock: Lock, meter: Meter) -> None:
        state, history = await self._take(session_id, question, lock)
        turn = state.step_count
        opening = self._stores.streams.create_writer(
            state.stream_id, f"{AGENT_TYPE}-{turn}", AGENT_TYPE, fencing_token=lock
        )
        async with opening as writer:
            narrator = Narrator(writer, turn)
            await narrator.say("turn-start", question=question)
            sequence = await writer.flush()
            self.started.set_result(Started(turn=turn, stream_id=state.stream_id, from_sequence=sequence - 1))
            held = _Held(lock=lock, meter=meter, state=state, history=history, writer=writer, narrator=narrator)
            try:
                await self._answer(question, held)
            except Exception as error:
                _logger.exception("turn %s of session %r failed", turn, session_id)
                await self._give_up(error, held)

    async def _take(self, session_id: str, question: str, lock: Lock) -> tuple[AgentState, list[ModelMessage]]:
        """Store the question before anything is promised. A session's steps are its turns."""
        states = self._stores.states
        state = await states.load_state(session_id) or AgentState(session_id=session_id, agent_type=AGENT_TYPE)
        history = from_stored(state.messages)
        state.messages.append(asked(question))
        state.step_count += 1
        state.status = AgentStatus.RUNNING
        await states.save_state(session_id, state, fencing_token=lock)
        return state, history

    async def _answer(self, question: str, held: _Held) -> None:
        state, narrator = held.state, held.narrator
        agent = research_agent(self._settings)
        result = await agent.run(question, message_history=held.history, event_stream_handler=narrator.follow)
        _question, *answered = result.new_messages()
        state.messages.extend(to_stored(message) for message in answered)
        state.status = AgentStatus.ACTIVE
        # The checkpoint ties the messages to the stream: who has these messages goes on reading after this sequence.
        sequence = await held.writer.flush()
        await self._stores.states.save_checkpoint(
            state.session_id, state, stream_sequence=sequence, fencing_token=held.lock
        )
        entries = usage_entries(state, answered, narrator.tools_used)
        await self._stores.usage.record_entries(entries)
        cost = held.meter.cost() + STILL_TO_COME
        await narrator.say(
            "turn-end", usage=total(entries).to_dict(), cost={**cost.to_dict(), "perMillion": estimate(cost).dollars}
        )

    async def _give_up(self, error: Exception, held: _Held) -> None:
        """Tell the readers and mark the session; the question stays. A session that has a new holder is left alone."""
        if isinstance(error, StaleFencingTokenError):
            return
        await held.narrator.say("error", **_told(error))
        await self._stores.states.update_status(held.state.session_id, AgentStatus.FAILED, fencing_token=held.lock)


def _told(error: Exception) -> dict[str, str]:
    """What a reader may know: the package's errors name ids and sizes only; the text of others stays in the log."""
    if isinstance(error, AgentsStoreError):
        return {"code": error.code, "message": error.message}
    return {"code": "turn_failed", "message": f"the answer could not be completed ({type(error).__name__})"}
