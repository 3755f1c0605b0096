"""The agent, and what the Worker does with its conversation."""

from typing import Any

from agents import Agent, RunConfig, Runner, function_tool

from agents_store_cloudflare import D1UsageStore, Lock
from agents_store_cloudflare.adapters.openai_agents import D1Session
from words_model import WordsModel

__all__ = ["ask", "forget", "items"]

MEANINGS = {"fen": "wet land with reeds", "tarn": "a small lake in the mountains"}
QUIET = RunConfig(tracing_disabled=True)  # the SDK's tracing would call OpenAI


@function_tool
async def look_up(word: str) -> str:
    """Look a word up."""
    return MEANINGS.get(word, "a word that nobody knows")


AGENT = Agent(name="words", instructions="Explain words.", model=WordsModel(), tools=[look_up])


async def ask(database: Any, lock: Lock, session_id: str, say: str) -> object:
    """Run the agent. Its items and its usage are stored under the lock."""
    session = D1Session(session_id, database, fencing_token=lock)
    result = await Runner.run(AGENT, say, session=session, run_config=QUIET)
    await session.record_usage(result, model="words")
    usage = await D1UsageStore(database).get_rollup(session_id)
    return {"answer": result.final_output, "promptTokens": usage.tokens.prompt}


async def forget(database: Any, lock: Lock, session_id: str, _say: str) -> object:
    """Take items back from the end, up to the last question."""
    session = D1Session(session_id, database, fencing_token=lock)
    taken = 0
    while (item := await session.pop_item()) is not None:
        taken += 1
        if item.get("role") == "user":
            break
    return {"taken": taken}


async def items(database: Any, session_id: str) -> object:
    """Return the kinds of the stored items."""
    stored: list[Any] = list(await D1Session(session_id, database).get_items())
    return [item.get("type") or item.get("role") for item in stored]
