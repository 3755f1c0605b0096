"""`console`: serves the operator's console on this machine, over a database without Durable Objects."""

from __future__ import annotations

import argparse
import asyncio
import hmac
import secrets
import threading
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from agents_store_cloudflare.command.opening import open_database
from agents_store_cloudflare.command.parsers import Commands, add_command, whole_number
from agents_store_cloudflare.console import OperatorConsole
from agents_store_cloudflare.objects.http_messages import HttpRequest, HttpResponse

__all__ = ["add_parser"]

HOST: Final = "127.0.0.1"
PREFIX: Final = "/console"
COOKIE: Final = "agents-console-key"
BODY_BYTES: Final = 64 * 1024
IDLE_S: Final = 30.0


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "console", _run, help="show the operator's console in a browser, until Ctrl-C", json=False
    )
    parser.add_argument(
        "--port", type=whole_number, default=8799, metavar="N", help="default: 8799; 0 means any free port"
    )
    parser.add_argument(
        "--allow-acts", action="store_true", help="restore, fork, export and raise budgets; without it pages only read"
    )


async def _run(options: argparse.Namespace) -> int:
    with open_database(options, read_only=not options.allow_acts) as opened:
        await opened.check_schema()

        def may(_request: object, action: str) -> bool:
            return action == "read" or bool(options.allow_acts)

        console = OperatorConsole(opened.database, authorize=may, prefix=PREFIX)
        key, loop = secrets.token_urlsafe(24), asyncio.get_running_loop()
        server = ThreadingHTTPServer((HOST, options.port), _handler(console, key, loop))
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        # The key keeps out other users of this machine, and other pages in the browser.
        print(f"console of {opened.place}: http://{HOST}:{server.server_port}{PREFIX}?key={key}", flush=True)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.to_thread(server.shutdown)
            server.server_close()
    return 0


def _handler(console: OperatorConsole, key: str, loop: asyncio.AbstractEventLoop) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Passes a request to the console, which works in the command's own thread."""

        server_version = "agents-store"
        sys_version = ""
        timeout = IDLE_S

        def do_GET(self) -> None:
            self._answer()

        def do_HEAD(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's own
            """Log nothing, because URLs hold session ids, and the first URL holds the key."""

        def _answer(self) -> None:
            own = f"{HOST}:{self.server.server_port}"  # type: ignore[attr-defined]
            answer = refusal(own, key, self.path, self.headers.get) or self._of_console(own)
            body = str(answer.body or "").encode(errors="replace") if self.command != "HEAD" else b""
            self.send_response(answer.status)
            for name, value in {**answer.headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def _of_console(self, own: str) -> HttpResponse:
            length = self.headers.get("Content-Length") or "0"
            if not length.isdigit() or int(length) > BODY_BYTES:
                return HttpResponse.refusal(413, "body_too_large", f"a form may have {BODY_BYTES:,} bytes")
            request = HttpRequest(
                method=self.command,
                url=f"http://{own}{self.path}",
                headers=dict(self.headers.items()),
                body=self.rfile.read(int(length)),
            )
            answer: HttpResponse | None = asyncio.run_coroutine_threadsafe(console.handle(request), loop).result()
            return answer or HttpResponse(status=302, headers={"location": PREFIX})

    return Handler


def refusal(own: str, key: str, path: str, header: Callable[[str], str | None]) -> HttpResponse | None:
    """Return the answer to a request that does not go to the console: a request without the key, or the first request with it.

    Args:
        own: host and port of this server. A page that makes its own name lead here (DNS rebinding) sends another host.
    """
    if header("Host") not in (own, own.replace(HOST, "localhost")):
        return HttpResponse.refusal(403, "forbidden", f"this server is {own}")
    given = parse_qs(urlsplit(path).query).get("key", [""])[0]
    if given and hmac.compare_digest(given.encode(), key.encode()):
        cookie = f"{COOKIE}={key}; HttpOnly; SameSite=Strict; Path={PREFIX}"
        return HttpResponse(status=303, headers={"set-cookie": cookie, "location": PREFIX})
    if hmac.compare_digest(_cookie(header("Cookie") or "").encode(), key.encode()):
        return None
    return HttpResponse.refusal(403, "forbidden", "open the address that the command has printed, with its key")


def _cookie(text: str) -> str:
    try:
        found = SimpleCookie(text).get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value
