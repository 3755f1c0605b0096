"""GET /?names=A,B imports these names of the package in the first request, and says what that took: time, modules, bytes, memory."""

import gc
import json
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from js import performance
from workers import Request, Response, WorkerEntrypoint


class Default(WorkerEntrypoint):
    """The door."""

    async def fetch(self, request: Request) -> Response:
        """Import, once in the life of the runtime."""
        names = parse_qs(urlsplit(request.url).query).get("names", [""])[0].split(",")
        before, heap = set(sys.modules), heap_bytes()
        started_ms = performance.now()
        package = __import__("agents_store_cloudflare", fromlist=names)
        for name in names:
            getattr(package, name)
        elapsed_ms = performance.now() - started_ms
        loaded = sorted(name for name in set(sys.modules) - before if name.startswith("agents_store_cloudflare"))
        files = [Path(str(sys.modules[name].__file__)) for name in loaded]
        took = {
            "ms": elapsed_ms,
            "modules": len(loaded),
            "bytes": sum(file.stat().st_size for file in files),
            "heapBytes": heap_bytes() - heap,
        }
        return Response(json.dumps(took))


def heap_bytes() -> int:
    """The bytes that Python's objects hold."""
    return sum(sys.getsizeof(each) for each in gc.get_objects())
