"""Answers of webhooks, as the runtime gives them."""

import js

from agents_store_cloudflare.cloudflare.outbound import MAX_ANSWER_BYTES, answer_text


async def test_a_long_answer() -> None:
    """DS-16: the beginning of a long answer is read, and no more; a short one is read whole, and none is empty."""
    assert MAX_ANSWER_BYTES == 64 * 1024
    text = await answer_text(js.Response.new("a" * 300_000))
    assert text == "a" * MAX_ANSWER_BYTES
    assert await answer_text(js.Response.new("short")) == "short"
    assert await answer_text(js.Response.new()) == ""
