"""Names in the text of docs, docstrings and comments: what stands in backquotes as a name exists in the code."""

from __future__ import annotations

import ast
import builtins
import importlib
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tools.places import ROOT

PACKAGE = ROOT / "src" / "agents_store_cloudflare"
PYTHON = ("src", "tests", "tools", "bench", "examples", "durable_objects", "conformance")
OTHER_CODE = (
    "migrations/*.sql",
    "*.toml",
    "Makefile",
    "mkdocs.yml",
    "src/**/*.js",
    "src/**/*.template",
    "examples/**/*.js",
)
PAGES = ("README.md", "CONTRIBUTING.md", "docs/**/*.md", "examples/*/README.md")
OF_OTHERS = {"coming-from.md", "frameworks.md"}
"""Pages that compare this package with others, and so are full of their names."""

OF_FRAMEWORKS = re.compile(
    r"docs/(a2a|chat-pages|langgraph|openai-agents|pydantic-ai)\.md|src/agents_store_cloudflare/adapters/.*"
)
"""Texts beside a framework: their class names may be the framework's."""

FOREIGN = {
    "Allow",  # a header of HTTP
    "omit_expired",  # LangGraph, and the next
    "sweep_interval_minutes",
    "cryptography",  # a package, and the next
    "mcp",
    "event_stream",  # A2A
    "run_streamed",  # the OpenAI Agents SDK
    "useChat",  # the AI SDK
}
"""Names that no code of this repository uses: others' classes, options and packages that the text must name."""

WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(\(.*\))?")
MEMBER = re.compile(r"([A-Z]\w*)\.([a-z_]\w*)(\(.*\))?")
MODULE = re.compile(r"(agents_store_cloudflare(?:\.\w+)+)(\(.*\))?")
FILE = re.compile(r"(?:tests|tools|bench|docs|examples|migrations|conformance|agents_store_cloudflare)/[\w./-]*\.\w+")
ROOTS = (ROOT, ROOT / "src", PACKAGE)


def test_each_name_in_backquotes_is_in_the_code() -> None:
    """A name that no code has was renamed or never existed: the text sends its reader to look for nothing."""
    missing = [(where, span) for where, span in _spans() if _is_unknown(span)]
    assert [each for each in missing if not (OF_FRAMEWORKS.fullmatch(each[0]) and each[1][0].isupper())] == []


def test_each_member_of_a_class_exists() -> None:
    """`Class.member` is a member of that class or of one that it inherits from."""
    assert [f"{where}: {span}" for where, span in _spans() if _is_no_member(span)] == []


def test_each_dotted_path_resolves() -> None:
    """`agents_store_cloudflare.part.name` can be imported."""
    for where, span in _spans():
        if found := MODULE.fullmatch(span):
            assert _resolves(found[1]), f"{where}: {span}"


def test_each_file_exists() -> None:
    """A path into this repository leads to a file."""
    missing = [
        f"{where}: {span}"
        for where, span in _spans()
        if FILE.fullmatch(span) and not any((root / span).exists() for root in ROOTS)
    ]
    assert missing == []


def test_wrong_names_are_found() -> None:
    """The checks can fail. The wrong names are put together here, since a name that stands in this file is in the code."""
    wrong = "is_touch" + "_written"
    assert _is_unknown(wrong)
    assert _is_unknown(f"{wrong}(now)")
    assert not _is_unknown("list_sessions")
    assert _is_no_member(f"AgentState.{wrong}")
    assert not _is_no_member("AgentState.messages")
    assert not _resolves(f"agents_store_cloudflare.{wrong}")


@cache
def _spans() -> tuple[tuple[str, str], ...]:
    """Each text in backquotes, and the file in which it stands."""
    texts = [(file, text) for file in _python() if PACKAGE in file.parents for text in _texts(file)]
    pages = [page for pattern in PAGES for page in sorted(ROOT.glob(pattern)) if page.name not in OF_OTHERS]
    texts += [(page, page.read_text(encoding="utf-8")) for page in pages]
    return tuple((str(file.relative_to(ROOT)), span) for file, text in texts for span in SPAN.findall(text))


def _is_unknown(span: str) -> bool:
    words = WORD.findall(span.split("(", maxsplit=1)[0]) if NAME.fullmatch(span) else []
    return any(not {word, _snake(word)} & _words() for word in words)


def _is_no_member(span: str) -> bool:
    found = MEMBER.fullmatch(span)
    return found is not None and found[1] in _classes() and found[2] not in _members(found[1])


@cache
def _python() -> tuple[Path, ...]:
    found = (file for root in PYTHON for file in sorted((ROOT / root).rglob("*.py")))
    return tuple(file for file in found if not {"node_modules", "python_modules", ".venv"} & set(file.parts))


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _docstrings(file: Path) -> Iterator[ast.Constant]:
    """Every text that stands alone as a statement."""
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value


def _texts(file: Path) -> Iterator[str]:
    """The docstrings and the comments of a file."""
    yield from (str(node.value) for node in _docstrings(file))
    for token in tokenize.generate_tokens(io.StringIO(file.read_text(encoding="utf-8")).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def _words_of(file: Path) -> Iterator[str]:
    """The names and the words of texts in a file's code, without docstrings and comments."""
    yield from file.relative_to(ROOT).with_suffix("").parts
    docstrings = set(_docstrings(file))
    for node in ast.walk(_tree(file)):
        if node not in docstrings:
            for field in ("id", "attr", "arg", "name", "asname", "module", "value"):
                if isinstance(text := getattr(node, field, None), str):
                    yield from WORD.findall(text)


@cache
def _words() -> frozenset[str]:
    words = set(dir(builtins)) | sys.stdlib_module_names | FOREIGN
    for file in _python():
        words.update(_words_of(file))
    for pattern in OTHER_CODE:
        for file in ROOT.glob(pattern):
            words.update(WORD.findall(file.read_text(encoding="utf-8")))
    return frozenset(words)


def _snake(word: str) -> str:
    """The Python spelling of a key of JSON: `sub_sessions` for `subSessions`."""
    return re.sub(r"(?<=[a-z])([A-Z])", lambda found: f"_{found[1].lower()}", word)


@cache
def _classes() -> dict[str, list[ast.ClassDef]]:
    classes: dict[str, list[ast.ClassDef]] = {}
    for file in _python():
        if PACKAGE in file.parents:
            for node in ast.walk(_tree(file)):
                if isinstance(node, ast.ClassDef):
                    classes.setdefault(node.name, []).append(node)
    return classes


@cache
def _members(name: str) -> frozenset[str]:
    """Every name that the class or its bases in the package define or assign, and those of Python's own bases."""
    members = set(dir(getattr(builtins, name, object)))
    for node in _classes().get(name, ()):
        for part in ast.walk(node):
            if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                members.add(part.name)
            elif isinstance(part, (ast.Name, ast.Attribute)) and isinstance(part.ctx, ast.Store):
                members.add(part.id if isinstance(part, ast.Name) else part.attr)
        for base in node.bases:
            members |= _members(ast.unparse(base).split("[")[0].split(".")[-1])
    return frozenset(members)


def _resolves(path: str) -> bool:
    parts = path.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        return all((found := getattr(found, name, None)) is not None for name in parts[count:])
    return False
