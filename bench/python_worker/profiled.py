"""Where a job's time goes: a profile of every function, Python's and C's, that runs in the Worker while the job runs.

The functions of a Durable Object of the same Worker count too. The profile itself takes time: jobs of many short calls take up to twice
as long under it. The Workers' clock ticks every millisecond, so a function's time is right only over many repetitions.
"""

from collections.abc import Mapping
from cProfile import Profile
from types import CodeType
from typing import Final

from bench_job import Job, now_ms

__all__ = ["profiled"]

FOLDERS: Final[Mapping[str, str]] = {
    "/agents_store_cloudflare/cloudflare/": "border",
    "/agents_store_cloudflare/contract/json_values.py": "json",
    "/agents_store_cloudflare/": "package",
    "/json/": "json",
    "/pyodide/": "border",
}
"""The part of a Python function, by its file: the first that fits. Calls of JavaScript and of the JSON encoder count for their callers."""

WORDS: Final[Mapping[str, str]] = {
    "_pyodide_core": "border",
    "JsProxy": "border",
    "to_py": "border",
    "to_js": "border",
    "_json": "json",
    "marshal": "checksum",
    "crc32": "checksum",
}
"""The part of a C function, by a word in its name. Other C functions are the package's: it calls them."""


async def profiled(job: Job, repetitions: int) -> dict[str, float]:
    """Return the milliseconds of all repetitions, and of each part in them. The rest is waiting."""
    profile, elapsed_ms = Profile(), 0.0
    for _ in range(repetitions):
        await job.before_each()
        started_ms = now_ms()
        profile.enable()
        try:
            await job.once()
        finally:
            profile.disable()
        elapsed_ms += now_ms() - started_ms
    parts = dict.fromkeys(["border", "json", "checksum", "package", "others"], 0.0)
    for entry in profile.getstats():
        parts[_part(entry.code)] += entry.inlinetime * 1_000
    return {"elapsed": elapsed_ms, **parts}


def _part(code: CodeType | str) -> str:
    if isinstance(code, str):
        return next((part for word, part in WORDS.items() if word in code), "package")
    return next((part for folder, part in FOLDERS.items() if folder in code.co_filename), "others")
