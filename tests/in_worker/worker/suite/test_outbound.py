"""Answers of webhooks, as the runtime gives them."""

from importlib import import_module
from typing import Any


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
