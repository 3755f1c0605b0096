"""The operations of pydantic-ai's conversations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import ConversationRecord
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, ToolCallPart, UserPromptPart
from pydantic_ai.tools import DeferredToolRequests
from pydantic_ai.usage import RequestUsage, RunUsage

from agents_store_cloudflare.adapters.pydantic_ai import D1ConversationStore
from agents_store_cloudflare.usage import D1UsageStore, UsageOptions
from tests.adapters.disturbed.worlds import AdapterWorld, by_others, op, plain_op, role_of
from tests.instruments.operations import plain

__all__ = ["CONVERSATIONS", "say"]

AT = datetime(2026, 11, 27, 12, tzinfo=UTC)


def said(text: str) -> ModelMessage:
    return ModelRequest(parts=[UserPromptPart(text, timestamp=AT)], timestamp=AT)


def answered(text: str) -> ModelMessage:
    usage = RequestUsage(input_tokens=3, output_tokens=2)
    return ModelResponse(parts=[TextPart(text)], usage=usage, model_name="m", timestamp=AT)


def texts_of(messages: list[Any]) -> list[Any]:
    return [part.content for message in messages for part in message.parts]


class Conversations(AdapterWorld):
    """A conversation that has left a branch, one without branches, and a fork."""

    def client(self, database: Any) -> D1ConversationStore:
        return D1ConversationStore(database, usage=UsageOptions())

    async def fill(self) -> None:
        await say(self.theirs, "ada", "one", "two")
        await branch_back(self.theirs)
        await say(self.theirs, "ada", "three")
        await say(self.theirs, "bob", "four", "five")
        await self.theirs.fork("bob", at=1, new_conversation_id="bob//fork")

    async def picture(self) -> str:
        shown: dict[str, Any] = {}
        for record in await self.theirs.list_conversations():
            tips = [record.head_id, *record.branches]
            lines = [texts_of([entry.message for entry in await self.theirs.read_history(tip)]) for tip in tips]
            usage, asked = record.usage.requests, record.deferred_tool_requests
            calls = [] if asked is None else [call.tool_name for call in asked.calls]
            rollup = await D1UsageStore(self.database).get_rollup(record.conversation_id)
            shown[record.conversation_id] = [lines, usage, calls, record.scope, rollup.tokens.total]
        return plain(dict(sorted(shown.items())))

    async def probe(self, client: D1ConversationStore) -> None:
        await say(client, "probe", "x")
        await client.delete("probe")


async def say(store: D1ConversationStore, conversation_id: str, *texts: str) -> int:
    """Load, add messages, and save. A conflict is for others to solve."""
    loaded = await store.load(conversation_id) or Conversation(conversation_id=conversation_id)
    loaded.messages.extend(said(text) for text in texts)
    return len(await store.save(loaded))


def loaded(*, marked: bool = True, adds: bool = True) -> Callable[[Any, Any], Awaitable[Conversation]]:
    """Return what makes the conversation to save, as it was loaded, or as it came back from JSON."""

    async def load(world: Conversations, client: Any) -> Conversation:
        found = await world.theirs.load("ada")
        assert found is not None
        if not marked:
            del vars(found)["_stored_messages"]
        found.messages.extend([said("more"), answered("yes")] if adds else [])
        found.usage.requests = 7
        found.deferred_tool_requests = DeferredToolRequests(calls=[ToolCallPart("ask", {"n": [1]}, "c")])
        return cast("Conversation", found)

    return load


def new() -> Conversation:
    usage = RunUsage(requests=1)
    return Conversation(conversation_id="new", messages=[said("hello"), answered("hi")], usage=usage)


async def save(store: D1ConversationStore, conversation: Conversation) -> int:
    return len(await store.save(conversation))


async def branch_back(store: D1ConversationStore) -> object:
    """Branch at the first message, from whatever is stored now."""
    found = await store.load("ada")
    revision = None if found is None else found.revision
    return texts_of((await store.branch("ada", at=1, expected_revision=revision)).messages)


async def _left(world: Conversations, client: Any) -> tuple[str, str]:
    """Return the end of the branch that was left, and the revision."""
    record = await world.theirs.read_record("ada")
    assert record is not None
    return record.branches[0], record.revision


async def branch_from(store: D1ConversationStore, given: tuple[str, str]) -> object:
    entry, revision = given
    return texts_of((await store.branch("ada", from_entry=entry, expected_revision=revision)).messages)


async def branch_at(store: D1ConversationStore, given: tuple[str, str]) -> object:
    return texts_of((await store.branch("ada", at=1, expected_revision=given[1])).messages)


async def fork(store: D1ConversationStore, **where: Any) -> object:
    return texts_of((await store.fork("ada", new_conversation_id="ada//fork", **where)).messages)


async def fork_from(store: D1ConversationStore, given: tuple[str, str]) -> object:
    return await fork(store, from_entry=given[0])


async def _record(world: Conversations, client: Any) -> tuple[ConversationRecord, str]:
    """Return a record to write, and the revision that must be stored."""
    record = await world.theirs.read_record("ada")
    assert record is not None
    return replace(record, scope="team", revision="r-new"), record.revision


async def write(store: D1ConversationStore, given: tuple[ConversationRecord, str]) -> None:
    await store.write_record(given[0], expected_revision=given[1])


async def delete_record(store: D1ConversationStore, given: tuple[str, str]) -> None:
    await store.delete_record("ada", expected_revision=given[1])


async def make_again(store: D1ConversationStore) -> int:
    await store.delete("ada")
    return await say(store, "ada", "again")


async def branch_and_say(store: D1ConversationStore) -> object:
    await branch_back(store)
    return await say(store, "ada", "another")


async def often(store: D1ConversationStore, count: int = 12) -> int:
    return sum([await say(store, "ada", str(number)) for number in range(count)])


async def again_and_often(store: D1ConversationStore) -> int:
    return await make_again(store) + await often(store)


async def follow(store: D1ConversationStore) -> object:
    """Go on with whatever the first call may have made."""
    return [await say(store, name, "next") for name in ("new", "ada//fork")]


async def read(store: D1ConversationStore) -> object:
    found = await store.load("ada")
    return None if found is None else texts_of(found.messages)


CONVERSATIONS = role_of(
    "conversations",
    Conversations,
    op("save", save, loaded()),
    op("save what came back from JSON", save, loaded(marked=False)),
    op("save nothing new", save, loaded(adds=False)),
    op("save a new one", save, new),
    op("write a record", write, _record),
    op("branch", branch_at, _left),
    op("branch from an entry", branch_from, _left),
    op("fork", fork),
    op("fork from an entry", fork_from, _left),
    plain_op("delete", lambda store: store.delete("ada")),
    op("delete a record", delete_record, _left),
    plain_op("delete the origin of a fork", lambda store: store.delete("bob")),
    op("load", read),
    by_others("say", lambda store: say(store, "ada", "theirs")),
    by_others("go on", follow),
    by_others("branch and say", branch_and_say),
    by_others("say often", often),
    by_others("delete it", lambda store: store.delete("ada")),
    by_others("make again", make_again),
    by_others("make again and say often", again_and_often),
    by_others("fork", lambda store: store.fork("ada", new_conversation_id="theirs")),
    by_others("delete the origin", lambda store: store.delete("bob")),
)
