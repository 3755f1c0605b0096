"""What every side is given, and what it must read back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from bench.jobs.material import chunks

__all__ = ["JOBS", "MODEL_MS", "Chat", "JobName", "expected"]

JobName: TypeAlias = Literal["chat_turn", "chat_history", "chat_first", "chat_crowd", "chat_resume", "chat_page"]

JOBS: Mapping[JobName, str] = {
    "chat_turn": "a whole turn",
    "chat_history": "the history of a turn: read 20 messages, store the question, store the answer",
    "chat_first": "the first chunk at a reader",
    "chat_crowd": "the first chunk at the last of 100 readers",
    "chat_resume": "a reader that comes back",
    "chat_page": "a page of 50 in the middle of 10,000 messages",
}
HISTORY = 20
CHUNKS = 400
GROUP_CHUNKS = 50
GROUP_MS = 100
MIDDLE = 200
QUARTER = 100
READERS = 100
PAGED = 10_000
PAGE = {"count": PAGED, "offset": PAGED // 2, "limit": 50}
"""Each side makes message n of the long history by itself: {"role": "user", "content": "message n"}."""

PROMPT_TOKENS = 1_000
USAGE = {"model": "some-model", "prompt": PROMPT_TOKENS, "completion": CHUNKS}
MODEL_MS = CHUNKS / GROUP_CHUNKS * GROUP_MS
"""What the model itself takes for a turn, in milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """A chat's turn: a history of 20 messages, a question, an answer of 400 chunks in 0.8 s, its usage.

    Attributes:
        homes: this package keeps the session in an object of its own.
        counted: count what it costs too, which takes time of its own.
    """

    homes: bool = False
    counted: bool = False

    def input(self) -> dict[str, Any]:
        """As the Workers get it."""
        return {
            "history": HISTORY_MESSAGES,
            "question": QUESTION,
            "answer": {"role": "assistant", "content": ANSWER},
            "chunks": ALL_CHUNKS,
            "groupChunks": GROUP_CHUNKS,
            "groupMs": GROUP_MS,
            "middle": MIDDLE,
            "quarter": QUARTER,
            "readers": READERS,
            "page": PAGE,
            "usage": USAGE,
            "homes": self.homes,
            "counted": self.counted,
        }


def expected(job: JobName) -> dict[str, Any]:
    """What each side must have stored, and its reader read."""
    if job == "chat_page":
        first = PAGE["offset"]
        numbers = range(first, first + PAGE["limit"])
        return {"page": [{"role": "user", "content": f"message {number}"} for number in numbers]}
    messages = [*HISTORY_MESSAGES, QUESTION, {"role": "assistant", "content": ANSWER}]
    if job == "chat_history":
        return {"loaded": HISTORY_MESSAGES, "messages": messages}
    texts = [chunk["text"] for chunk in ALL_CHUNKS]
    stored: dict[str, Any] = {
        "messages": messages,
        "chunks": texts,
        "tokens": PROMPT_TOKENS + CHUNKS,
    }
    if job == "chat_first":
        stored["first"] = texts[0]
    if job == "chat_crowd":
        stored["heard"] = texts[:1] * READERS
    if job == "chat_resume":
        stored["resumed"] = texts[QUARTER:MIDDLE]
    return stored


def _message(number: int) -> dict[str, str]:
    text = f"Message {number} says “what was stored is read back the same”. "
    return {"role": ("user", "assistant")[number % 2], "content": text * 3}


HISTORY_MESSAGES = [_message(number) for number in range(HISTORY)]
QUESTION = {"role": "user", "content": "What was stored?"}
ALL_CHUNKS = chunks(CHUNKS)
ANSWER = "".join(chunk["text"] for chunk in ALL_CHUNKS)
