"""A reader of a concrete class sees the whole contract of each call: `inspect.getdoc` has it, and an editor's hover shows it."""

import inspect
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import griffe
import pytest

from agents_store_cloudflare import (
    CloudflareStore,
    D1StateStore,
    D1UsageStore,
    DurableObjectLockManager,
    DurableObjectStreamManager,
    Turn,
)
from agents_store_cloudflare.locks.lock import DurableObjectLock
from agents_store_cloudflare.streams.reader import DurableObjectStreamReader
from agents_store_cloudflare.streams.writer import DurableObjectStreamWriter
from tests.costs.test_cost_table import SEND_NOTHING, WITHIN_OTHERS

PARTS = {"fail", "hold", "leave"}
"""Of a turn's object, of its writer and of its lock: what the turn's block and the store call."""

ROOT = Path(__file__).parents[2]
LANGUAGE_SERVER = ROOT / "node_modules" / ".bin" / "pyright-langserver"
CLASSES = (D1StateStore, D1UsageStore, DurableObjectStreamManager, DurableObjectLockManager)
SHORTEST = 40

HOVERS = {
    "D1StateStore.restore_checkpoint": "Take the session back to a checkpoint.",
    "D1UsageStore.record_entries": "Store entries in one batch, all or none.",
    "DurableObjectLockManager.acquire_all": None,  # its own words: another role keeps them
}
"""A call -> the first sentence that its hover shows; None: the first line of its docstring."""


@pytest.mark.parametrize("concrete", CLASSES, ids=lambda concrete: concrete.__name__)
def test_each_call_has_its_whole_docstring(concrete: type) -> None:
    """Each public method has a full docstring, of its own or inherited from the protocol. None only refers to another place."""
    methods = inspect.getmembers(concrete, inspect.isroutine)
    silent = [
        name for name, method in methods if not name.startswith("_") and _is_pointer(inspect.getdoc(method) or "")
    ]
    assert silent == []


DESCRIBED = (*CLASSES, CloudflareStore, DurableObjectStreamWriter, DurableObjectStreamReader, DurableObjectLock, Turn)


@pytest.mark.parametrize("concrete", DESCRIBED, ids=lambda concrete: concrete.__name__)
def test_each_argument_is_described(concrete: type) -> None:
    """The docstring of a public call names every argument. The parts that other calls stand on are not called by users."""
    parts = {call.rpartition(".")[2] for call in WITHIN_OTHERS | SEND_NOTHING} | PARTS
    silent: list[str] = []
    for name, method in inspect.getmembers(concrete, inspect.isroutine):
        if name.startswith("_") or name in parts or hasattr(tuple, name):
            continue
        shown = inspect.getdoc(method) or ""
        silent += [f"{name}({each})" for each in _arguments(method) if re.search(rf"\b{each}\b", shown) is None]
    assert silent == []


def _arguments(method: Any) -> list[str]:
    return [name for name in inspect.signature(method).parameters if name != "self"]


def _is_pointer(docstring: str) -> bool:
    return len(docstring) <= SHORTEST or docstring.startswith("`")


def test_an_editor_shows_the_contract() -> None:
    """CO-9: Pyright's language server answers a hover over a method of a class with the protocol's docstring and the cost."""
    lines = [f"from agents_store_cloudflare import {', '.join(sorted(name.split('.')[0] for name in HOVERS))}", *HOVERS]
    with LanguageServer(ROOT) as server:
        document = server.open("tests/docs/hovered.py", "\n".join(lines) + "\n")
        for line, (call, sentence) in enumerate(HOVERS.items(), start=1):
            shown = server.hover(document, line, len(call) - 1)
            assert (sentence or _first_line(call)) in shown, call
            assert _last_line(call) in shown, call


def _first_line(call: str) -> str:
    return _docstring(call).splitlines()[0]


def _last_line(call: str) -> str:
    """Return the line with the cost of the call."""
    line = _docstring(call).splitlines()[-1]
    assert line.startswith("Cost: ")
    return line


def _docstring(call: str) -> str:
    owner, name = call.split(".")
    [concrete] = [each for each in CLASSES if each.__name__ == owner]
    return inspect.getdoc(getattr(concrete, name)) or ""


class LanguageServer:
    """A language server over its standard input and output."""

    def __init__(self, root: Path) -> None:
        self._process = subprocess.Popen(
            [str(LANGUAGE_SERVER), "--stdio"], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._root = root
        self._last_id = 0

    def __enter__(self) -> "LanguageServer":
        folder = {"uri": self._root.as_uri(), "name": "package"}
        self._ask("initialize", processId=None, rootUri=folder["uri"], workspaceFolders=[folder], capabilities={})
        self._tell("initialized")
        return self

    def __exit__(self, *_: object) -> None:
        self._ask("shutdown")
        self._tell("exit")
        with self._process:
            self._process.wait(timeout=20)

    def open(self, path: str, text: str) -> str:
        """Open a document that need not exist on disk, and return its address."""
        uri = (self._root / path).as_uri()
        document = {"uri": uri, "languageId": "python", "version": 1, "text": text}
        self._tell("textDocument/didOpen", textDocument=document)
        return uri

    def hover(self, uri: str, line: int, character: int) -> str:
        """Return what a hover over this place shows, as text."""
        position = {"line": line, "character": character}
        answer = self._ask("textDocument/hover", textDocument={"uri": uri}, position=position)
        return "" if answer is None else str(answer["contents"]["value"])

    def _tell(self, method: str, **parameters: object) -> None:
        self._send({"method": method, "params": parameters})

    def _ask(self, method: str, **parameters: object) -> Any:
        self._last_id += 1
        self._send({"id": self._last_id, "method": method, "params": parameters})
        for message in self._messages():
            if "method" in message and "id" in message:  # a question of the server's, about registrations or progress
                self._send({"id": message["id"], "result": None})
            elif message.get("id") == self._last_id:
                return message.get("result")
        raise AssertionError(f"the language server ended before it answered {method}")

    def _send(self, message: dict[str, object]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        output = cast("IO[bytes]", self._process.stdin)
        output.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        output.flush()

    def _messages(self) -> Iterator[dict[str, Any]]:
        source = cast("IO[bytes]", self._process.stdout)
        while header := source.readline():
            length = int(header.partition(b":")[2])
            while source.readline().strip():
                pass
            yield json.loads(source.read(length))


def test_the_reference_shows_the_contract() -> None:
    """The pages' reader of the package gives a concrete class's method the docstring of the protocol."""
    extensions = griffe.load_extensions(str(ROOT / "tools" / "inherited_docstrings.py"))
    package = griffe.load("agents_store_cloudflare", extensions=extensions)
    for call, sentence in HOVERS.items():
        shown = package[call].docstring
        assert shown is not None
        assert (sentence or _first_line(call)) in shown.value
