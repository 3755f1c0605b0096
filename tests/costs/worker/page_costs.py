"""The pages that a Worker serves: of the gateway, of chat pages, of the console. They are measured on data of their own."""

from typing import Any

from cost_ledger import Ledger, messages

from agents_store_cloudflare import CloudflareStore, OperatorConsole
from agents_store_cloudflare.adapters.ui import MessageStreams
from agents_store_cloudflare.gateway import StreamGateway
from agents_store_cloudflare.objects.http_messages import HttpRequest

__all__ = ["page_costs"]

ORIGIN = "https://agents.example"


async def page_costs(ledger: Ledger) -> None:
    """The database is empty again: its other contents would change what lists read."""
    await ledger.store.migrate()
    await _fill(ledger.store, "page")
    await _gateway(ledger)
    await _chat_pages(ledger)
    await _console(ledger)


async def _fill(store: CloudflareStore, session_id: str) -> None:
    """A session of two turns with a stream of twenty chunks that has ended, checkpoints, usage, and a budget."""
    for _ in range(2):
        async with store.turn(session_id, agent_type="cost", messages=messages(10)) as turn:
            for number in range(10):
                await turn.write({"type": "text", "text": f"word {number}"})
            turn.state.custom_state["turns"] = turn.number
            turn.record_tokens(model="m", prompt=10, completion=10)
    await store.stream_manager.end_stream(session_id)
    await store.usage_store.set_budget("team", 1_000, "tokens")


async def _gateway(ledger: Ledger) -> None:
    gateway = StreamGateway(ledger.store.stream_namespace, authorize=_yes)
    for wire, path in (("info", ""), ("chunks", "/chunks?from=0"), ("events", "/events?from=0")):
        with ledger.line("gateway.handle", f"{wire} of a stream of 22 chunks that has ended"):
            answer = await gateway.handle(HttpRequest(method="GET", url=f"{ORIGIN}/streams/page{path}", headers={}))
        _expect(answer, f"gateway {wire}")
    with ledger.line("gateway.handle", "a path that is not below its prefix"):
        await gateway.handle(HttpRequest(method="GET", url=f"{ORIGIN}/other", headers={}))


async def _chat_pages(ledger: Ledger) -> None:
    pages = MessageStreams(ledger.store.stream_namespace)
    with ledger.line("message_streams.follow", "a message that has ended"):
        await pages.follow("page", 0)
    with ledger.line("message_streams.resume", "no message is being written"):
        await pages.resume("page")


async def _console(ledger: Ledger) -> None:
    first, *_ = (await ledger.states.list_checkpoints("page")).items
    console = OperatorConsole(ledger.store, authorize=_yes)
    pages = {
        "sessions, of 1": "",
        "session": "/session?id=page",
        "messages, 20": "/messages?id=page",
        "message": "/message?id=page&n=0",
        "state": "/state?id=page",
        "value": "/value?id=page&path=/turns",
        "compare": f"/compare?id=page&from={first.id}",
        "checkpoints, 2": "/checkpoints?id=page",
        "runs, 2": "/runs?id=page",
        "stream, 22 chunks": "/stream?id=page",
        "usage, 2 entries": "/usage",
        "usage.csv": "/usage.csv",
        "budgets, 1": "/budgets",
        "the confirmation of a deletion": "/act/delete?id=page",
        "api/events": "/api/events?stream=page",
    }
    for name, path in pages.items():
        with ledger.line("console.handle", name):
            answer = await console.handle(HttpRequest(method="GET", url=f"{ORIGIN}/console{path}", headers={}))
        _expect(answer, name)


def _yes(_request: object, *_: object) -> bool:
    return True


def _expect(answer: Any, name: str) -> None:
    status = getattr(answer, "status", 200)
    if status != 200:
        raise ValueError(f"{name}: status {status}: {getattr(answer, 'body', '')}")
