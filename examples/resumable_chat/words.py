"""Stands in for a model. The same question always gets the same sentences."""

import hashlib
from collections.abc import Iterator

__all__ = ["answer_words"]

SENTENCES = (
    "A stream keeps every chunk under its number.",
    "A reader that comes back says what it has, and gets the rest.",
    "Nothing comes twice, and nothing is missing.",
    "The answer is written while nobody waits for it.",
    "When you reload this page, it asks for the chunks after the last one that it has shown.",
    "When the network is gone, the page tries again each second.",
    "When the server dies, the chunks that you have seen are still there.",
    "The object that holds the stream sleeps until there is something new to say.",
    "Two tabs with this address show the same answer.",
    "An address of a stream is signed and good for a minute.",
)


def answer_words(question: str) -> Iterator[str]:
    """Yield the words of six to eight sentences, each word with the space after it."""
    digest = hashlib.sha256(question.encode()).digest()
    order = sorted(range(len(SENTENCES)), key=lambda number: digest[number])
    sentences = [SENTENCES[number] for number in order[: 6 + digest[31] % 3]]
    for word in " ".join(sentences).split(" "):
        yield f"{word} "
