"""A model that needs no network and no key.

It searches with the words of the question, and answers with the passages that it finds.

It is deterministic, so tests can rely on it, and it takes the same way through pydantic-ai as a live model: a streamed
tool call first, then an answer streamed word by word.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import cast

from pydantic_ai.messages import ModelMessage, ModelRequest, ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel

from documents import words

__all__ = ["offline_model"]

QUOTE_CHARACTERS = 420
_SENTENCE = re.compile(r".+?(?:[.!?](?=\s)\s+|\n(?=[-*|] )|\Z)", re.DOTALL)


def offline_model(token_delay_s: float) -> FunctionModel:
    """Return the model; it waits `token_delay_s` before each word."""

    async def stream(messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str | DeltaToolCalls]:
        found = _found(messages[-1])
        if found is None:
            arguments = json.dumps({"query": _query(messages)})
            yield {0: DeltaToolCall(name="search_docs", json_args=arguments, tool_call_id=f"search-{len(messages)}")}
            return
        for word in re.findall(r"\S+\s*", _answer(_query(messages), found)):
            await asyncio.sleep(token_delay_s)
            yield word

    return FunctionModel(stream_function=stream, model_name="offline")


def _found(message: ModelMessage) -> list[dict[str, str]] | None:
    """Return the passages that the tool returned in the last message; None if it was not called yet."""
    for part in message.parts:
        if isinstance(part, ToolReturnPart):
            return cast("list[dict[str, str]]", part.content)
    return None


def _query(messages: list[ModelMessage]) -> str:
    questions = [
        part.content
        for message in messages
        if isinstance(message, ModelRequest)
        for part in message.parts
        if isinstance(part, UserPromptPart) and isinstance(part.content, str)
    ]
    return " ".join(words(questions[-1])) or questions[-1]


def _answer(query: str, passages: list[dict[str, str]]) -> str:
    if not passages:
        return "The documentation says nothing about that. Ask about state, streams, locks, usage or the local runtime."
    best, *others = [(passage["source"], passage["heading"]) for passage in passages]
    answer = f"{best[0]}, “{best[1]}”, says:\n\n{_quote(query, passages[0]['text'])}"
    also = [place for place in dict.fromkeys(others) if place != best]
    if also:
        answer += "\n\nSee also: " + "; ".join(f"{source}, “{heading}”" for source, heading in also) + "."
    return answer


def _quote(query: str, text: str) -> str:
    """Return whole sentences of about `QUOTE_CHARACTERS` together. The first sentence has most of the query's words."""
    sentences: list[str] = _SENTENCE.findall(text)
    wanted = set(words(query))
    start = max(range(len(sentences)), key=lambda index: len(wanted.intersection(words(sentences[index]))))
    quote = sentences[start]
    for sentence in sentences[start + 1 :]:
        if len(quote) + len(sentence) > QUOTE_CHARACTERS:
            break
        quote += sentence
    return quote.strip()
