"""Long texts on their way between Python and JavaScript: they cross as bytes, and arrive as they were."""

from typing import Any

import pytest

from agents_store_cloudflare.cloudflare.raw import LONG_TEXT, called
from agents_store_cloudflare.database import Statement

TEXTS = {
    "latin": "é" * LONG_TEXT,
    "Chinese": "字" * LONG_TEXT,
    "emoji": "🙂" * LONG_TEXT,
    "ascii": "a" * LONG_TEXT,
    "byte order mark": "\ufeffé" * LONG_TEXT,
    "zero": "é\0" * LONG_TEXT,
}


@pytest.mark.parametrize("kind", TEXTS)
async def test_a_long_text_in_d1(database: Any, kind: str) -> None:
    """DS-13: D1 gets a long text whole, beside other parameters of every type."""
    text = TEXTS[kind] + "."
    select = Statement("SELECT ?1 AS a, length(CAST(?2 AS BLOB)) AS b, ?3 AS c, ?4 AS d", ("é", text, None, 5))
    assert await database.batch([select]) == [[["é", len(text.encode()), None, 5]]]
    again = Statement("SELECT ?1 AS a", (text,))
    assert await database.batch([again]) == [[[text]]]


@pytest.mark.parametrize("kind", TEXTS)
def test_a_long_text_as_an_argument(kind: str) -> None:
    """DS-13: a JavaScript function gets a long text whole, in its place among the arguments."""
    from js import Array

    text = TEXTS[kind] + "."
    assert called(Array.of, ["a", text, 5, text], Array).to_py() == ["a", text, 5, text]


def test_a_long_text_with_a_lone_surrogate() -> None:
    """DS-13: a text that has no UTF-8 crosses too."""
    from js import Array

    text = "é" * LONG_TEXT + "\ud800"
    assert called(Array.of, [text], Array).to_py() == [text]


async def test_a_long_text_in_a_stream(env: Any, unique: str) -> None:
    """SM-1, DS-13: a native writer's long text goes over a new call and over an open line, and comes back."""
    from agents_store_cloudflare import DurableObjectStreamManager

    manager = DurableObjectStreamManager(env.STREAMS)
    chunks = [{"type": "text", "text": text} for text in TEXTS.values()]
    async with manager.create_writer(unique, "a", "t") as writer:
        for chunk in chunks:
            await writer.write(chunk)
            await writer.flush()
    await manager.end_stream(unique)
    async with manager.create_reader(unique) as reader:
        assert [{"type": "text", "text": each["text"]} async for each in reader] == chunks
