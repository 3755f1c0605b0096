"""docs/bounds.md names everything that grows; requests of every size stay below a ceiling."""

from __future__ import annotations

import ast
import gc
import random
import re
import tracemalloc
from pathlib import Path
from typing import Any, cast

from agents_store_cloudflare import DurableStreams, HttpRequest, LockObject, StreamGateway, StreamObject
from agents_store_cloudflare.locks import DurableObjectLockManager
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.testing import FakeClock, LocalObjects
from tests.lengths import length

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/bounds.md"
SOURCE = ROOT / "src/agents_store_cloudflare"
COLLECTIONS = {"dict", "list", "set", "deque", "defaultdict", "OrderedDict", "Counter", "Queue"}
# Not part of a running store: tests, and programs that end.
NOT_RUNNING = ("testing", "command")
MEGABYTE = 1024 * 1024
CEILING_BYTES = 4 * 16 * MEGABYTE


def rows() -> list[list[str]]:
    """Return the cells of each row of each table."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] != "what grows"]


def growing_attributes(source: str) -> set[str]:
    """Return `Class.attribute` of each private attribute that an `__init__` sets to an empty collection."""
    found: set[str] = set()
    for owner in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)):
        begins = [each for each in owner.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"]
        for node in (each for begin in begins for each in ast.walk(begin)):
            if isinstance(node, ast.Assign):
                targets: list[ast.expr] = node.targets
            elif isinstance(node, ast.AnnAssign):
                targets = [node.target]
            else:
                continue
            if node.value is not None and _is_empty_collection(node.value):
                found |= {f"{owner.name}.{each.attr}" for each in targets if isinstance(each, ast.Attribute)}
    return {each for each in found if "._" in each}


def _is_empty_collection(value: ast.expr) -> bool:
    if isinstance(value, ast.Call):
        name = ast.unparse(value.func).split(".")[-1].split("[")[0]
        return name in COLLECTIONS and not value.args
    return (isinstance(value, ast.Dict) and not value.keys) or (isinstance(value, ast.List) and not value.elts)


def _sources() -> list[Path]:
    return [path for path in SOURCE.rglob("*.py") if path.relative_to(SOURCE).parts[0] not in NOT_RUNNING]


def test_every_collection_has_a_row() -> None:
    """docs/bounds.md names every collection that outlives a call."""
    growing = {name for path in _sources() for name in growing_attributes(path.read_text(encoding="utf-8"))}
    assert growing, "the source was not found"
    page = PAGE.read_text(encoding="utf-8")
    assert sorted(name for name in growing if f"`{name}`" not in page) == []


def test_every_table_has_a_row() -> None:
    """docs/bounds.md names every table of D1 and of an object."""
    sql = [path.read_text(encoding="utf-8") for path in (*_sources(), *(ROOT / "migrations").glob("*.sql"))]
    made = {name for text in sql for name in re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(?!IF\b)(\w+)", text)}
    dropped = {name for text in sql for name in re.findall(r"DROP TABLE (?:IF EXISTS )?(\w+)", text)}
    renamed = {name for text in sql for name in re.findall(r"RENAME TO (\w+)", text)}
    page = PAGE.read_text(encoding="utf-8")
    assert sorted(name for name in (made - dropped) | renamed if f"`{name}`" not in page) == []


def test_every_row_names_a_test() -> None:
    """The test that a row names exists in the named file."""
    assert len(rows()) > 40
    for row in rows():
        path, _, name = row[-1].partition("::")
        assert (ROOT / path).is_file(), f"{row[0]}: {path} does not exist"
        assert name, f"{row[0]}: name the test itself, as {path}::test_…"
        found = re.search(rf"^ *(async )?def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
        assert found, f"{row[0]}: no {name}"


def test_a_new_collection_is_seen() -> None:
    """The instrument finds a planted collection."""
    planted = "class A:\n    def __init__(self):\n        self._seen: dict[str, int] = {}\n        self.name = {}\n"
    assert growing_attributes(planted) == {"A._seen"}


def _held(root: Any) -> int:
    """Return how many things the object's collections hold, its parts included."""
    todo: list[Any] = [root]
    count, seen = 0, set[int]()
    while todo:
        each = todo.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, dict | list | set | tuple):
            parts = cast("Any", each)
            count += len(parts)
            todo += list(parts.values()) if isinstance(each, dict) else list(parts)
        elif (module := type(each).__module__).startswith("agents_store_cloudflare") and ".testing" not in module:
            todo += list(getattr(each, "__dict__", {}).values())
    return count


def _kept(logic: LockObject, objects: list[LockObject]) -> LockObject:
    objects.append(logic)
    return logic


async def test_nothing_grows_with_the_calls() -> None:
    """SM-39: After a thousand calls, managers and lock objects hold as much as after a few."""
    clock = FakeClock()
    streams = DurableObjectStreamManager(LocalObjects(StreamObject, clock=clock))
    objects: list[LockObject] = []
    locks = DurableObjectLockManager(LocalObjects(lambda host: _kept(LockObject(host), objects), clock=clock), shards=1)

    async def use(number: int) -> None:
        async with streams.create_writer("s", "a", "t") as writer:
            await writer.write({"type": "text", "n": number})
        streams.on("buffer_overflow", lambda _event: None)()
        async with locks.lock(f"key {number % 3}"):
            assert await locks.acquire(f"key {number % 3}") is None

    for number in range(1_100):  # the object remembers the last 1,000 releases
        await use(number)
    before = _held(streams), _held(locks), _held(objects)
    for number in range(length(200, 5_000)):
        await use(number)
    after = _held(streams), _held(locks), _held(objects)
    assert after[:2] == before[:2]
    assert after[2] <= before[2] + 5, (before, after)


def _body(choice: random.Random, size: int) -> tuple[str, bytes]:
    """Return a content type, and a body of one of the most expensive shapes."""
    shapes = [
        ("application/octet-stream", bytes([choice.randrange(256)]) * size),
        ("text/plain", "é".encode() * (size // 2)),
        ("application/json", b"[" + b"1," * (size // 2) + b"1]"),
        ("application/json", b"[" + b"[]," * (size // 3) + b"1]"),
        ("application/json", b"[" * choice.choice([10, 250, 100_000]) + b"]" * 10),
        ("application/json", b'[{"type":"text","text":"' + b"\\u00e9" * (size // 6) + b'"}]'),
        ("application/json", b"[" + b'{"type":"t","n":1},' * (size // 19) + b"1]"),
        ("application/json", b'{"' + b'a":{"' * min(size // 5, 300)),
    ]
    return choice.choice(shapes)


async def most_memory(seed: int, requests: int) -> int:
    """Return the most extra memory of one request in bytes, without its own body."""
    choice, most = random.Random(seed), 0
    streams = LocalObjects(StreamObject, clock=FakeClock())
    gateway = StreamGateway(
        streams, authorize=lambda _request, _stream_id, _action: True, faces=[DurableStreams(streams)]
    )
    for number in range(requests):
        content_type, body = _body(choice, choice.choice([100, 70_000, MEGABYTE, 4 * MEGABYTE, 16 * MEGABYTE]))
        headers, url = {"content-type": content_type}, f"https://x/v1/stream/{number}"
        await gateway.handle(HttpRequest(method="PUT", url=url, headers=headers))
        gc.collect()
        tracemalloc.start()
        answer = await gateway.handle(HttpRequest(method="POST", url=url, headers=headers, body=body))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        most = max(most, peak)
        assert answer.status < 500, (content_type, len(body), body[:40])
        await gateway.handle(HttpRequest(method="DELETE", url=url, headers=headers))
    return most


async def test_requests_of_every_shape_stay_below_the_ceiling() -> None:
    """DS-13: No request of any size or shape causes a 5xx or takes four times the largest permitted body."""
    assert await most_memory(1, length(12, 300)) < CEILING_BYTES
