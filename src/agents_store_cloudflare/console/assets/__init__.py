"""The console's own files: style, script, and the markdown reader."""

from __future__ import annotations

from importlib import resources
from typing import Final

from agents_store_cloudflare.objects.http_messages import HttpResponse

__all__ = ["VERSION", "asset"]

VERSION: Final = "1"
"""The version of the files. It rises with each change, because browsers cache the files of a version."""

_TYPES: Final = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "marked.js": "text/javascript; charset=utf-8",
}


def asset(name: str) -> HttpResponse | None:
    """Return the file of that name, or None."""
    content_type = _TYPES.get(name)
    if content_type is None:
        return None
    body = resources.files(__name__).joinpath(name).read_text(encoding="utf-8")
    headers = {"content-type": content_type, "cache-control": "private, max-age=86400"}
    return HttpResponse(status=200, headers=headers, body=body)
