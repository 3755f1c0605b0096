"""Assemble the Python runtime of workerd from the npm package `pyodide`, as workerd would download it.

workerd forbids some calls that Emscripten's glue makes, and offers replacements in its module `pyodide-internal:builtin_wrappers`. The
glue's text is rewritten to use them.
"""

import importlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.places import BUNDLE, NODE_MODULES

WRAPPERS = (
    "addEventListener, getRandomValues, location, monotonicDateNow, newWasmModule, wasmInstantiate, patchedLoadLibData"
)
IMPORT_LINE = f'import {{ {WRAPPERS} }} from "pyodide-internal:builtin_wrappers";\n'
SCHEMA = Path(__file__).with_name("pyodide.capnp")


class BundleError(Exception):
    """The installed Pyodide is not the one that the patches were written for."""


@dataclass(frozen=True, slots=True)
class Patch:
    """One replacement in the glue, with the number of places that it must find."""

    why: str
    old: str
    new: str
    count: int


PATCHES = (
    Patch("WebAssembly modules are compiled by workerd", "new WebAssembly.Module", "newWasmModule", 4),
    Patch("WebAssembly modules are instantiated by workerd", "WebAssembly.instantiate", "wasmInstantiate", 3),
    Patch("time must not run backwards after a snapshot", "Date.now", "monotonicDateNow", 22),
    Patch("random numbers come only inside a request", "crypto.getRandomValues(", "getRandomValues(Module, ", 1),
    Patch(
        "native packages are read from the Worker's own modules",
        "function loadLibData(){",
        "function loadLibData(){var libData = patchedLoadLibData(Module, libName, flags.rpath);"
        " return flags.loadAsync ? Promise.resolve(libData) : libData;",
        1,
    ),
    Patch(
        "native packages are placed where workerd expects them",
        "getMemory(",
        "Module.getMemoryPatched(Module, libName, ",
        1,
    ),
    Patch(
        "workerd imports the factory by name",
        "export default _createPyodideModule;",
        "export default _createPyodideModule;export { _createPyodideModule };",
        1,
    ),
)


def patch_glue(glue: str, *, version: str) -> str:
    """Return the glue as workerd can run it, or raise BundleError when any patch finds an unexpected count."""
    for patch in PATCHES:
        found = glue.count(patch.old)
        if found != patch.count:
            raise BundleError(
                f"Pyodide {version}: expected {patch.old!r} {patch.count} times in pyodide.asm.mjs, found {found} "
                f"({patch.why}). Install the pinned version with `npm ci`, or review PATCHES in "
                "tools/pyodide_bundle.py."
            )
        glue = glue.replace(patch.old, patch.new)
    return IMPORT_LINE + glue


def write_bundle(pyodide: Path, target: Path) -> None:
    """Write the bundle for the unpacked npm package `pyodide` to `target`, whole or not at all."""
    # pycapnp makes its functions when it loads, so the type checkers do not know them.
    capnp: Any = importlib.import_module("capnp")
    version = json.loads((pyodide / "package.json").read_text())["version"]
    glue = patch_glue((pyodide / "pyodide.asm.mjs").read_text(), version=version)
    bundle = capnp.load(str(SCHEMA)).Bundle.new_message()
    modules = bundle.init("modules", 3)
    parts = (
        ("pyodide.asm", "src", glue.encode()),
        ("pyodide.asm.wasm", "wasm", (pyodide / "pyodide.asm.wasm").read_bytes()),
        ("python_stdlib.zip", "data", (pyodide / "python_stdlib.zip").read_bytes()),
    )
    for module, (name, kind, content) in zip(modules, parts, strict=True):
        prefix = "pyodideRuntime-internal:"
        module.name = prefix + name
        setattr(module, kind, content)
        module.type = "internal"
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(".part")
    unfinished.write_bytes(bundle.to_bytes())
    unfinished.replace(target)


def main() -> int:
    try:
        write_bundle(NODE_MODULES / "pyodide", BUNDLE)
    except BundleError as error:
        print(f"pyodide_bundle: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
