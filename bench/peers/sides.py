"""Who is set beside whom."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.peers.chat import JOBS, Chat, JobName, expected
from bench.peers.installed import agents_worker

__all__ = ["SIDES", "Side"]

BENCH = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One way to store a chat.

    Attributes:
        config: the Worker's configuration; installs what it needs.
        note: what one must know to compare.
        result: what this side stores, in the words of all sides.
        jobs: the jobs that this side has a call for.
    """

    name: str
    config: Callable[[], Path]
    note: str
    chat: Chat = field(default_factory=Chat)
    result: Callable[[JobName], Mapping[str, Any]] = expected
    jobs: tuple[JobName, ...] = tuple(JOBS)


def _in_parts(job: JobName) -> Mapping[str, Any]:
    """The messages alone, each as a role and a text: AIChatAgent counts no usage, and keeps a stream only until it ends."""
    stored = expected(job)
    messages = [{"role": message["role"], "text": message["content"]} for message in stored["messages"]]
    return {"messages": messages, **{name: stored[name] for name in ("first", "heard", "resumed") if name in stored}}


OURS = BENCH / "python_worker" / "wrangler.toml"

SIDES = (
    Side(
        name="this package, D1",
        config=lambda: OURS,
        note="`store.turn`: fenced lock, run, checkpoint, stream that outlives the turn, usage with totals",
    ),
    Side(
        name="this package, homes",
        config=lambda: OURS,
        chat=Chat(homes=True),
        note="the same, the session in an object of its own",
    ),
    Side(
        name="JavaScript by hand",
        config=lambda: BENCH / "javascript_worker" / "wrangler.toml",
        note="lock without a fence, a row a message and a chunk, flushes of 50 chunks, usage with totals",
    ),
    Side(
        name="Python by hand",
        config=lambda: BENCH / "peers" / "plain_worker" / "wrangler.toml",
        note="as Cloudflare's documentation writes it: a row a message, an RPC a chunk; usage without totals; its readers poll every 50 ms",
    ),
    Side(
        name="openai-agents' session by hand",
        config=lambda: BENCH / "peers" / "session_worker" / "wrangler.toml",
        note="the tables and the calls of its `SQLiteSession`, which opens a file and so runs in no Worker, written for D1: "
        "a row an item, a batch a call. It is a history alone, without chunks, lock and usage; it has no offset, so a page in "
        "the middle reads all that came after it",
        jobs=("chat_history", "chat_page"),
    ),
    Side(
        name="Cloudflare agents",
        config=agents_worker,
        note="`AIChatAgent`: the model's code runs in the session's object, and the browser's WebSocket ends there; "
        "no usage, no fence, and the stream is gone when the turn has ended; its history "
        "is read and stored where the turn runs; it has no pages, a browser gets all messages",
        result=_in_parts,
        jobs=("chat_turn", "chat_first", "chat_crowd", "chat_resume"),
    ),
)
