"""pydantic-ai's conversations on real D1: an agent, two writers, large messages, and what a call costs."""

from typing import Any

import pytest
from pydantic_ai import Agent
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import ConversationConflict, ConversationEntry, ConversationRecord
from pydantic_ai.messages import ModelMessage, ModelRequest, UserPromptPart
from pydantic_ai.models.test import TestModel

from agents_store_cloudflare import D1UsageStore, UsageOptions
from agents_store_cloudflare.adapters.pydantic_ai import D1ConversationStore
from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.contract.errors import StaleFencingTokenError
from agents_store_cloudflare.database import BatchCost


def said(text: str) -> ModelRequest:
    """Return a question."""
    return ModelRequest(parts=[UserPromptPart(text)])


async def test_an_agent_talks(database: Any) -> None:
    """PA-1, PA-7: Two runs of an agent with a tool store their usage, and a list by scope finds them. The deletion leaves nothing."""
    agent = Agent(TestModel())

    @agent.tool_plain
    async def look(word: str) -> dict[str, str]:
        return {"found": word}

    for number in range(2):
        store = D1ConversationStore(database, usage=UsageOptions())
        conversation = await store.load("talk") or Conversation(conversation_id="talk")
        await store.save(await agent.run(f"question {number}", conversation=conversation), scope="talk")
    store = D1ConversationStore(database)
    stored = await store.load("talk")
    assert stored is not None
    assert [message.kind for message in stored.messages] == ["request", "response"] * 3
    [listed] = await store.list_conversations(scope="talk")
    assert listed.conversation_id == "talk"
    assert list((await D1UsageStore(database).get_rollup("talk")).tokens_by_model) == ["test"]
    await store.delete("talk")
    assert await store.load("talk") is None


async def test_two_writers(database: Any) -> None:
    """PA-3, PA-4: The late writer gets a clear refusal, with and without a lock."""
    store = D1ConversationStore(database)
    await store.save(Conversation(conversation_id="race", messages=[said("a")]))
    with pytest.raises(ConversationConflict):
        await store.save(Conversation(conversation_id="race", messages=[said("b")]))
    old, new = D1ConversationStore(database, fencing_token=3), D1ConversationStore(database, fencing_token=4)
    stalled, taken = await old.load("race"), await new.load("race")
    assert stalled is not None
    assert taken is not None
    taken.messages.append(said("new"))
    await new.save(taken)
    stalled.messages.append(said("late"))
    with pytest.raises(StaleFencingTokenError) as raised:
        await old.save(stalled)
    assert (raised.value.expected, raised.value.actual) == (4, 3)
    found = await store.load("race")
    assert found is not None
    assert [part.content for each in found.messages for part in each.parts if isinstance(part, UserPromptPart)] == [
        "a",
        "new",
    ]


async def test_large_messages(database: Any) -> None:
    """PA-6: Messages over 2 MB, the limit of a row, come back unchanged."""
    store = D1ConversationStore(database)
    messages: list[ModelMessage] = [said("a"), said("ё" * 1_500_000), said('"' * 700_000)]
    await store.save(Conversation(conversation_id="large", messages=messages))
    found = await store.load("large")
    assert found is not None
    assert found.messages == messages


class Observed:
    """A store, and what D1 says that its calls have cost."""

    def __init__(self, env: Any) -> None:
        self._costs: list[BatchCost] = []
        self.store = D1ConversationStore(as_database(env.AGENT_DB, observer=self._costs.append))

    def spent(self) -> tuple[int, int]:
        """Return the batches and the written rows since the last call."""
        costs = list(self._costs)
        self._costs.clear()
        return len(costs), sum(each.rows_written for each in costs)


async def test_a_thousand_messages(env: Any, database: Any) -> None:
    """PA-2: One batch stores a thousand messages, and one batch reads them. Each message is a row, and the record is a row."""
    observed = Observed(env)
    entries = [
        ConversationEntry(id=f"e{number}", parent_id=f"e{number - 1}" if number else None, message=said(str(number)))
        for number in range(1_000)
    ]
    record = ConversationRecord(conversation_id="long", head_id="e999")
    await observed.store.write_record(record, new_entries=entries, expected_revision=None)
    assert await observed.store.read_history("e999") == entries
    assert observed.spent() == (2, 1_001)


@pytest.mark.parametrize(
    ("scope", "save", "fork"), [(None, (2, 3), (3, 2)), ("ada", (2, 4), (3, 3))], ids=["plain", "scoped"]
)
async def test_costs(env: Any, database: Any, scope: str | None, save: tuple[int, int], fork: tuple[int, int]) -> None:
    """PA-2: The batches and written rows are those in docs/pydantic-ai.md."""
    observed = Observed(env)
    store = observed.store
    for _ in ("first", "next"):
        conversation = await store.load("c") or Conversation(conversation_id="c")
        conversation.messages += [said("a"), said("b")]
        observed.spent()
        await store.save(conversation, scope=scope)
        assert observed.spent() == save
    await store.load("c")
    assert observed.spent() == (2, 0)
    await store.fork("c", new_conversation_id="fork")
    assert observed.spent() == fork
    await store.list_conversations(scope="ada")
    assert observed.spent() == (1, 0)
