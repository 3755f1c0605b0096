"""Reads which modules a source tree imports, and tells which imports cross a wall of the architecture."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "agents_store_cloudflare"
SEAMS = {"contract", "database", "objects"}
BELOW_ROLES = SEAMS | {"metering", "cloudflare"}
ROLES = {"state", "usage", "streams", "locks", "migrations"}
PROTOCOLS = {"gateway", "durable_streams"}
ABOVE = {"homes", "turns", "store", "wiring"}

ARROWS: dict[str, set[str]] = {
    "contract": set(),
    "database": {"contract"},
    "objects": {"contract", "database"},
    "metering": SEAMS,
    "cloudflare": SEAMS | {"metering"},
    "migrations": {"contract", "database", "cloudflare"},
    "streams": BELOW_ROLES,
    "locks": BELOW_ROLES,
    "usage": BELOW_ROLES | {"migrations"},
    "state": BELOW_ROLES | {"usage"},
    "gateway": BELOW_ROLES | {"streams"},
    "durable_streams": BELOW_ROLES | {"streams", "gateway"},
    "turns": BELOW_ROLES | ROLES,
    "homes": BELOW_ROLES | ROLES | {"durable_streams", "turns"},
    "adapters": BELOW_ROLES | ROLES | {"turns"},
    "wiring": BELOW_ROLES,
    "store": BELOW_ROLES | ROLES | {"homes", "turns", "wiring"},
    "transfer": BELOW_ROLES | ROLES,
    "budgets": SEAMS | {"usage"},
    "costs": SEAMS | {"metering"},
    "console": BELOW_ROLES | ROLES | ABOVE | {"gateway", "transfer"},
    "durable_objects": BELOW_ROLES | {"streams", "locks", "usage", "durable_streams", "homes"},
    "command": BELOW_ROLES | ROLES | ABOVE | {"costs", "budgets", "transfer", "console"},
    "testing": BELOW_ROLES | ROLES | PROTOCOLS | ABOVE | {"transfer"},
    "__main__": {"command"},
    "__init__": BELOW_ROLES | ROLES | PROTOCOLS | ABOVE | {"budgets", "costs", "console", "durable_objects"},
}
"""What each part of the package may import. A new part needs a line here; no line may lead back up."""

PLATFORM = {"js", "pyodide", "workers"}
PLATFORM_MAY_BE_USED_IN: dict[str, set[str]] = {"cloudflare": {"js", "pyodide"}, "durable_objects": {"workers"}}


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module, and the line that imports it."""

    importer: str
    line: int
    module: str

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.module}"


def imports_of(package: Path) -> list[Import]:
    """Return every import of the Python files below the package's folder, also those inside functions and `TYPE_CHECKING`."""
    return [
        Import(file.relative_to(package).as_posix(), line, module)
        for file in sorted(package.rglob("*.py"))
        for line, module in _imports(ast.parse(file.read_text(encoding="utf-8")))
    ]


def forbidden_arrows(imports: list[Import]) -> list[Import]:
    """Return the imports from one part of the package into another that `ARROWS` does not allow."""
    return [
        found
        for found in imports
        if (part := _part_of_module(found.module)) is not None
        and part != _part_of_file(found.importer)
        and part not in ARROWS.get(_part_of_file(found.importer), set())
    ]


def unknown_parts(imports: list[Import]) -> set[str]:
    """Return the parts of the package that `ARROWS` does not name."""
    return {_part_of_file(found.importer) for found in imports} - ARROWS.keys()


def platform_outside_its_folder(imports: list[Import]) -> list[Import]:
    """Return the imports of js, pyodide or workers outside the folders that may touch them."""
    return [
        found
        for found in imports
        if (root := found.module.split(".")[0]) in PLATFORM
        and root not in PLATFORM_MAY_BE_USED_IN.get(_part_of_file(found.importer), set())
    ]


def testing_in_production(imports: list[Import]) -> list[Import]:
    """Return the imports of `testing` by anything but `testing` itself."""
    return [
        found
        for found in imports
        if _part_of_module(found.module) == "testing" and _part_of_file(found.importer) != "testing"
    ]


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # `from package import part` names the part in its second half.
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == PACKAGE else [node.module]
            yield from ((node.lineno, name or "") for name in names)


def _part_of_file(importer: str) -> str:
    return importer.split("/", maxsplit=1)[0].removesuffix(".py")


def _part_of_module(module: str) -> str | None:
    """`contract` of `agents_store_cloudflare.contract.errors`; None for others' modules."""
    root, _, rest = module.partition(".")
    if root != PACKAGE:
        return None
    return rest.split(".")[0] or "__init__"
