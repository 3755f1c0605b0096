"""What the test asks for: each function returns what it saw."""

from typing import Any

from pydantic_ai import Agent
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import ConversationConflict, ConversationEntry, ConversationRecord
from pydantic_ai.messages import ModelMessage, ModelRequest, UserPromptPart
from pydantic_ai.models.test import TestModel

from agents_store_cloudflare import D1UsageStore, UsageOptions
from agents_store_cloudflare.adapters.pydantic_ai import D1ConversationStore
from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.contract.errors import StaleFencingTokenError
from agents_store_cloudflare.metering.meter import MeteredDatabase, OpenMeters

__all__ = ["costs", "large", "long", "race", "talk"]


def said(text: str) -> ModelRequest:
    """Return a question."""
    return ModelRequest(parts=[UserPromptPart(text)])


async def talk(database: Any) -> object:
    """Continue an agent with a tool twice, with its usage. A deletion leaves nothing."""
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
    [listed] = await store.list_conversations(scope="talk")
    usage = await D1UsageStore(database).get_rollup("talk")
    seen = [message.kind for message in stored.messages] if stored else []
    await store.delete("talk")
    return {
        "kinds": seen,
        "listed": listed.conversation_id,
        "models": sorted(usage.tokens_by_model),
        "after": await store.load("talk"),
    }


async def race(database: Any) -> object:
    """Let two writers write without a lock, then with one."""
    outcomes: list[object] = []
    store = D1ConversationStore(database)
    first = Conversation(conversation_id="race", messages=[said("a")])
    second = Conversation(conversation_id="race", messages=[said("b")])
    await store.save(first)
    try:
        await store.save(second)
    except ConversationConflict as error:
        outcomes.append(error.conversation_id)
    old, new = D1ConversationStore(database, fencing_token=3), D1ConversationStore(database, fencing_token=4)
    stalled = await old.load("race")
    taken = await new.load("race")
    assert stalled is not None
    assert taken is not None
    taken.messages.append(said("new"))
    await new.save(taken)
    stalled.messages.append(said("late"))
    try:
        await old.save(stalled)
    except StaleFencingTokenError as error:
        outcomes.append([error.expected, error.actual])
    found = await store.load("race")
    parts = [] if found is None else [part for message in found.messages for part in message.parts]
    return [*outcomes, [part.content for part in parts if isinstance(part, UserPromptPart)]]


async def large(database: Any) -> object:
    """Read messages above the 2 MB of a row."""
    store = D1ConversationStore(database)
    messages: list[ModelMessage] = [said("a"), said("ё" * 1_500_000), said('"' * 700_000)]
    await store.save(Conversation(conversation_id="large", messages=messages))
    found = await store.load("large")
    return found is not None and found.messages == messages


async def long(database: Any) -> object:
    """Store a thousand messages in one batch, and read them in one."""
    meters = OpenMeters()
    store = D1ConversationStore(MeteredDatabase(as_database(database), meters))
    entries = [
        ConversationEntry(id=f"e{number}", parent_id=f"e{number - 1}" if number else None, message=said(str(number)))
        for number in range(1_000)
    ]
    record = ConversationRecord(conversation_id="long", head_id="e999")
    with meters.open() as meter:
        await store.write_record(record, new_entries=entries, expected_revision=None)
        found = await store.read_history("e999")
    return [found == entries, meter.d1.round_trips, meter.d1.rows_written]


async def costs(database: Any) -> object:
    """Return round trips and rows written, call by call."""
    meters = OpenMeters()
    store = D1ConversationStore(MeteredDatabase(as_database(database), meters))
    seen: dict[str, list[int]] = {}
    for scope, name in ((None, "plain"), ("ada", "scoped")):
        for which in ("first", "next"):
            conversation = await store.load(name) or Conversation(conversation_id=name)
            conversation.messages += [said("a"), said("b")]
            with meters.open() as meter:
                await store.save(conversation, scope=scope)
            seen[f"save {name} {which}"] = [meter.d1.round_trips, meter.d1.rows_written or 0]
        with meters.open() as meter:
            await store.load(name)
        seen[f"load {name}"] = [meter.d1.round_trips, meter.d1.rows_written or 0]
        with meters.open() as meter:
            await store.fork(name, new_conversation_id=f"{name} fork")
        seen[f"fork {name}"] = [meter.d1.round_trips, meter.d1.rows_written or 0]
    with meters.open() as meter:
        await store.list_conversations(scope="ada")
    seen["list"] = [meter.d1.round_trips, meter.d1.rows_written or 0]
    return seen
