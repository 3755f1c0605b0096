"""Stands in for a model: the same question always gets the same words, as many as it likes."""

import hashlib
from collections.abc import Iterator

__all__ = ["answer_words"]

VOCABULARY = (
    "a stream keeps every chunk under its number so whoever comes back says what they have and gets the rest in order "
    "nothing twice nothing missing while the object that holds it sleeps until there is something new to say"
)


def answer_words(question: str) -> Iterator[str]:
    """Yield 60 to 123 words, the last one with a full stop."""
    words = VOCABULARY.split()
    digest = hashlib.sha256(question.encode()).digest()
    count = 60 + digest[0] % 64
    for index in range(count):
        word = words[(digest[index % 32] + index * 7) % len(words)]
        yield f"{word}." if index == count - 1 else f"{word} "
