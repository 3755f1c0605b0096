"""GET /?names=A,B imports these names of the package in the first request, and says what that took: time, modules, bytes, memory.

With `&profile=yes` it also says what each module took by itself.
"""

import gc
import json
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from urllib.parse import parse_qs, urlsplit

from js import performance
from workers import Request, Response, WorkerEntrypoint


class Default(WorkerEntrypoint):
    """The door."""

    async def fetch(self, request: Request) -> Response:
        """Import, once in the life of the runtime."""
        query = parse_qs(urlsplit(request.url).query)
        names = query.get("names", [""])[0].split(",")
        own = timed_modules() if "profile" in query else {}
        before, heap = set(sys.modules), heap_bytes()
        started_ms = performance.now()
        package = __import__("agents_store_cloudflare", fromlist=names)
        for name in names:
            getattr(package, name)
        elapsed_ms = performance.now() - started_ms
        loaded = sorted(name for name in set(sys.modules) - before if name.startswith("agents_store_cloudflare"))
        files = [Path(str(sys.modules[name].__file__)) for name in loaded]
        sizes = {name: file.stat().st_size for name, file in zip(loaded, files, strict=True)}
        took = {
            "ms": elapsed_ms,
            "modules": len(loaded),
            "bytes": sum(sizes.values()),
            "heapBytes": heap_bytes() - heap,
            "own": {name: [own[name], sizes[name]] for name in loaded if name in own},
        }
        return Response(json.dumps(took))


def heap_bytes() -> int:
    """The bytes that Python's objects hold."""
    return sum(sys.getsizeof(each) for each in gc.get_objects())


def timed_modules() -> dict[str, float]:
    """The milliseconds of each module that is imported from now on, without the modules that it imports itself."""
    own: dict[str, float] = {}
    inner = [0.0]
    run_module = SourceFileLoader.exec_module

    def exec_module(loader: SourceFileLoader, module: ModuleType) -> None:
        started_ms = performance.now()
        inner.append(0.0)
        run_module(loader, module)
        took_ms = performance.now() - started_ms
        own[module.__name__] = took_ms - inner.pop()
        inner[-1] += took_ms

    setattr(SourceFileLoader, "exec_module", exec_module)  # noqa: B010 - a type checker refuses the assignment
    return own
