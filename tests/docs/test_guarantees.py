"""docs/guarantees.md and the tests agree: no clause without a test, no test of the contract without a clause."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
CLAUSE = re.compile(r"\b[A-Z]{2}-\d+\b")
LINE = re.compile(r"^- \*\*([A-Z]{2}-\d+)\*\* \S", re.MULTILINE)
CONFORMANCE = sorted((ROOT / "src/agents_store_cloudflare/testing/conformance").glob("[!_]*.py"))
TESTS = [path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]


def _cited(paths: list[Path]) -> dict[str, set[str]]:
    """Return each test with the clauses that its docstring names."""
    found: dict[str, set[str]] = {}
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                found[f"{path.relative_to(ROOT)}::{node.name}"] = set(CLAUSE.findall(ast.get_docstring(node) or ""))
    return found


def _clauses() -> list[str]:
    return LINE.findall((ROOT / "docs/guarantees.md").read_text())


def test_every_clause_has_a_test() -> None:
    """Each numbered clause is named by at least one test."""
    cited = set[str]().union(*_cited([*CONFORMANCE, *TESTS]).values())
    assert sorted(set(_clauses()) - cited) == []


def test_every_cited_clause_exists() -> None:
    """No test names a missing clause."""
    cited = set[str]().union(*_cited([*CONFORMANCE, *TESTS]).values())
    assert sorted(cited - set(_clauses())) == []


def test_every_conformance_test_cites_a_clause() -> None:
    """A conformance test without a clause has no contract behind it."""
    assert len(CONFORMANCE) >= 4
    assert [test for test, clauses in _cited(CONFORMANCE).items() if not clauses] == []


def test_clauses_are_numbered_once() -> None:
    """Numbers are unique, and count up within each role."""
    clauses = _clauses()
    assert len(set(clauses)) == len(clauses)
    for role in {clause.split("-")[0] for clause in clauses}:
        numbers = [int(clause.split("-")[1]) for clause in clauses if clause.startswith(role)]
        assert numbers == list(range(1, len(numbers) + 1)), role
