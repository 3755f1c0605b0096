"""Requests to other servers, as the runtime gives them."""

import asyncio
from importlib import import_module
from typing import Any

import pytest


async def test_a_long_answer() -> None:
    """DS-16: Only the beginning of a long answer is read. A short one is read completely, and a missing body counts as empty."""
    js: Any = import_module("js")
    outbound = import_module("agents_store_cloudflare.cloudflare.outbound")
    answer_text, most = outbound.answer_text, outbound.MAX_ANSWER_BYTES
    assert most == 64 * 1024
    text = await answer_text(js.Response.new("a" * 300_000))
    assert text == "a" * most
    assert await answer_text(js.Response.new("short")) == "short"
    assert await answer_text(js.Response.new()) == ""


class SilentServers:
    """The module `js`, with a `fetch` that gets no answer. It ends when its signal does, as the platform's does."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def fetch(self, url: str, init: Any) -> None:
        self.asked.append(url)
        for _ in range(100):
            await asyncio.sleep(0.05)
            init.signal.throwIfAborted()


async def test_a_resolver_without_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """DS-16: A host whose addresses nobody names in time counts as not found, after one limit of time."""
    outbound = import_module("agents_store_cloudflare.cloudflare.outbound")
    assert outbound.RESOLVE_MS == 4_000
    servers = SilentServers(import_module("js"))
    monkeypatch.setattr(outbound, "js", servers)
    monkeypatch.setattr(outbound, "RESOLVE_MS", 150)
    with pytest.raises(OSError, match="could not be resolved"):
        await outbound.CloudflareOutbound().resolve("hooks.example")
    assert servers.asked == ["https://cloudflare-dns.com/dns-query?name=hooks.example&type=A"]
