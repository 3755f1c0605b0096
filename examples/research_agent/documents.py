"""A ranked search (BM25) over the project's own documents: a few hundred passages need no more than plain Python."""

import math
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["Library", "Passage", "library", "words"]

FOLDER = Path(__file__).parent / "library"
PASSAGE_CHARACTERS = 900
HEADING_WEIGHT = 3
SATURATION, LENGTH_WEIGHT = 1.2, 0.75  # BM25's k1 and b, at their usual values

_HEADING = re.compile(r"^(#{1,4})\s+(.*)$")
_CODE = re.compile(r"(```.*?(?:```|\Z))", re.DOTALL)
_PARAGRAPH = re.compile(r"\n\s*\n|\n(?=(?:[-*|]|\d+\.) )")
_WORD = re.compile(r"[a-z0-9]+")
_COMMON = frozenset(
    re.findall(
        r"\w+",
        """a about an and are as at be but by can do does for from happen how i if in into is it its me my not of on or
        so tell that the their then there this to use was what when where which who why will with you your""",
    )
)


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document: short enough to quote, whole paragraphs."""

    source: str
    heading: str
    text: str


@dataclass(frozen=True, slots=True)
class Library:
    """All passages with their word counts: plain data, so one isolate may keep it over all its requests."""

    passages: tuple[Passage, ...]
    counts: tuple[Counter[str], ...]
    passages_with: Counter[str]

    def search(self, query: str, *, limit: int = 3) -> list[Passage]:
        """Return the best passages for a query, best first; none if no word of the query occurs."""
        wanted = set(words(query))
        average = sum(count.total() for count in self.counts) / max(1, len(self.counts))
        scores = [sum(self._weight(word, count, average) for word in wanted) for count in self.counts]
        best = sorted(range(len(scores)), key=lambda index: -scores[index])[:limit]
        return [self.passages[index] for index in best if scores[index] > 0]

    def _weight(self, word: str, count: Counter[str], average: float) -> float:
        seen, holders = count[word], self.passages_with[word]
        if not seen:
            return 0.0
        rarity = math.log(1 + (len(self.passages) - holders + 0.5) / (holders + 0.5))
        length = 1 - LENGTH_WEIGHT + LENGTH_WEIGHT * count.total() / average
        return rarity * seen * (SATURATION + 1) / (seen + SATURATION * length)


@cache
def library() -> Library:
    """Return the documents that were bundled with the Worker, read once per isolate."""
    files = sorted(FOLDER.glob("*.md"))
    passages = tuple(passage for file in files for passage in _passages(file.name, file.read_text()))
    counts = tuple(Counter(words(passage.heading) * HEADING_WEIGHT + words(passage.text)) for passage in passages)
    passages_with = Counter(word for count in counts for word in count)
    return Library(passages, counts, passages_with)


def words(text: str) -> list[str]:
    """Return the words that distinguish texts, in their singular."""
    return [_singular(word) for word in _WORD.findall(text.lower()) if word not in _COMMON]


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _passages(source: str, text: str) -> list[Passage]:
    return [Passage(source, heading, piece) for heading, body in _sections(text) for piece in _pieces(body)]


def _sections(text: str) -> list[tuple[str, str]]:
    """Split at headings, but not at a `#` inside code. The name of a section has the headings above it, without the title."""
    path: list[str] = []
    sections: list[tuple[str, list[str]]] = [("", [])]
    in_code = False
    for line in text.splitlines():
        in_code ^= line.lstrip().startswith("```")
        heading = None if in_code else _HEADING.match(line)
        if heading is None:
            sections[-1][1].append(line)
            continue
        path = [*path[: len(heading[1]) - 1], heading[2]]
        sections.append((" / ".join(path[1:] or path), []))
    return [(heading, "\n".join(lines)) for heading, lines in sections]


def _pieces(body: str) -> list[str]:
    """Join paragraphs and list items into pieces of about `PASSAGE_CHARACTERS`; a code block stays whole."""
    pieces: list[str] = []
    room = 0
    for part in _parts(body):
        if pieces and len(part) <= room:
            pieces[-1] += "\n" + part
            room -= len(part)
        else:
            pieces.append(part)
            room = PASSAGE_CHARACTERS - len(part)
    return pieces


def _parts(body: str) -> list[str]:
    blocks = _CODE.split(body)
    parts = [part for index, block in enumerate(blocks) for part in ([block] if index % 2 else _PARAGRAPH.split(block))]
    return [part.strip() for part in parts if part.strip()]
