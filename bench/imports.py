"""What a Worker's imports load: the package by the part that is used, in a runtime that just came up."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any
from urllib.request import urlopen

from bench.findings import Published
from tools.local_runtime import LocalRuntime

__all__ = ["PROFILED", "USES", "imports_entry", "profile_entry", "run_imports", "run_profile"]

CONFIG = Path(__file__).parent / "cold_start" / "parts" / "wrangler.toml"
TIMEOUT_S = 120
USES = {
    "an error class": ("AgentsStoreError",),
    "state alone": ("D1StateStore",),
    "usage alone": ("D1UsageStore",),
    "streams alone, the caller's side": ("DurableObjectStreamManager",),
    "streams alone, with the object": ("DurableObjectStreamManager", "StreamServer"),
    "locks alone, the caller's side": ("DurableObjectLockManager",),
    "locks alone, with the object": ("DurableObjectLockManager", "LockServer"),
    "the store": ("create_cloudflare_store",),
    "the store, with its objects": ("create_cloudflare_store", "StreamServer", "LockServer"),
    "the same with homes": ("create_cloudflare_store", "StreamServer", "LockServer", "SessionServer"),
    "the same with the console": (
        "create_cloudflare_store",
        "StreamServer",
        "LockServer",
        "SessionServer",
        "OperatorConsole",
    ),
}

PROFILED = "the store, with its objects"


def run_imports(starts: int) -> list[Published]:
    """Each use in runtimes of its own. The uses take turns.

    Args:
        starts: how many runtimes each use gets.
    """
    found: dict[str, list[dict[str, Any]]] = {use: [] for use in USES}
    for start in range(starts):
        for use, names in USES.items():
            print(f"bench: imports of {use}, {start + 1} of {starts}", flush=True)
            found[use].append(_imported(names))
    return [imports_entry(use, each) for use, each in found.items()]


def run_profile(starts: int) -> list[Published]:
    """The time of each module by itself, of one use, in runtimes of their own."""
    found: list[dict[str, Any]] = []
    for start in range(starts):
        print(f"bench: profile of the imports, {start + 1} of {starts}", flush=True)
        found.append(_imported(USES[PROFILED], "&profile=yes")["own"])
    return profile_entry(found)


def profile_entry(found: Sequence[dict[str, Any]]) -> list[Published]:
    """Each module, as a published run has it; the slowest first.

    Args:
        found: of each start, the milliseconds and the bytes of the source, by module.
    """
    modules = [
        {"name": name, "ownMs": median(each[name][0] for each in found), "bytes": size_bytes}
        for name, (_, size_bytes) in found[0].items()
    ]
    return sorted(modules, key=lambda module: -module["ownMs"])


def _imported(names: Sequence[str], options: str = "") -> dict[str, Any]:
    """What one runtime says of its first request."""
    with (
        LocalRuntime(CONFIG) as runtime,
        urlopen(f"{runtime.url}/?names={','.join(names)}{options}", timeout=TIMEOUT_S) as answer,
    ):
        loaded: dict[str, Any] = json.load(answer)
        return loaded


def imports_entry(use: str, found: list[dict[str, Any]]) -> Published:
    """One use, as a published run has it. Counts are exact, so that any start tells them."""
    counts = {name: found[0][name] for name in ("modules", "bytes", "heapBytes")}
    return {"name": use, "medianMs": median(each["ms"] for each in found), **counts}
