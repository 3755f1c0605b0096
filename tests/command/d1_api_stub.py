"""Cloudflare's D1 HTTP API, as much of it as the command needs: real HTTP, executed on sqlite, and failures on demand."""

import asyncio
import json
import re
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, cast

from agents_store_cloudflare.database import SqlError, Statement
from agents_store_cloudflare.testing import SqliteDatabase

__all__ = ["ACCOUNT", "DATABASE", "TOKEN", "D1ApiStub", "Planned", "d1_api_stub"]

ACCOUNT = "0123456789abcdef0123456789abcdef"
DATABASE = "6f9619ff-8b86-d011-b42d-00c04fc964ff"
TOKEN = "a-token_that-nobody-may-see"

# The API gives the first part of SQLite's code alone.
_CODE = re.compile(r": SQLITE\w* \(extended: (SQLITE_[A-Z]+)\w*\)")


@dataclass(frozen=True, kw_only=True)
class Planned:
    """The answer to the next request. `after`: the batch happens, and its reply is lost. `delay_s`: the answer is late."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    after: bool = False
    hang_up: bool = False
    delay_s: float = 0


@dataclass
class D1ApiStub:
    """A running stub.

    Attributes:
        requests: path, Authorization header and body of all that came.
        planned: what the next requests are answered with, the first first.
        forbidden: statements that hold this text are refused as the database refuses what it does not allow.
    """

    url: str
    requests: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list[tuple[str, str, dict[str, Any]]])
    planned: list[Planned] = field(default_factory=list[Planned])
    forbidden: str | None = None


@contextmanager
def d1_api_stub(file: Path) -> Generator[D1ApiStub, None, None]:
    """Serve the database in `file` until the block ends."""
    server = HTTPServer(("127.0.0.1", 0), _Handler)
    stub = D1ApiStub(f"http://127.0.0.1:{server.server_port}/client/v4")
    _Handler.of[server.server_port] = (stub, file)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        _Handler.of.pop(server.server_port)


class _Handler(BaseHTTPRequestHandler):
    of: dict[int, tuple[D1ApiStub, Path]] = {}  # noqa: RUF012 - port -> what is served there

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing."""

    def do_POST(self) -> None:
        stub, file = self.of[cast("HTTPServer", self.server).server_port]
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        authorization = self.headers.get("Authorization", "")
        stub.requests.append((self.path, authorization, body))
        planned = stub.planned.pop(0) if stub.planned else None
        status, answer = 0, b""
        if stub.forbidden is not None and any(stub.forbidden in each["sql"] for each in body["batch"]):
            status, answer = 400, _refused(7500, "not authorized: SQLITE_AUTH")
        elif planned is None or planned.after:
            status, answer = self._answer(authorization, body, file)
        if planned is not None:
            time.sleep(planned.delay_s)
            if planned.hang_up:
                self.close_connection = True
                return
            status, answer = planned.status, planned.body
        self.send_response(status)
        for name, value in ({} if planned is None else planned.headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _answer(self, authorization: str, body: dict[str, Any], file: Path) -> tuple[int, bytes]:
        if authorization != f"Bearer {TOKEN}":
            return 403, _refused(10000, "Authentication error")
        if self.path != f"/client/v4/accounts/{ACCOUNT}/d1/database/{DATABASE}/raw":
            return 404, _refused(7404, "The database could not be found")
        statements = [Statement(each["sql"], tuple(each["params"])) for each in body["batch"]]
        database = SqliteDatabase(file)
        try:
            results = asyncio.run(database.batch(statements))
        except SqlError as error:
            return 400, _refused(7500, _CODE.sub(r": \1", str(error)))
        finally:
            database.close()
        return 200, json.dumps(
            {"success": True, "errors": [], "messages": [], "result": [*map(_result, results)]}
        ).encode()


def _result(rows: list[Any]) -> dict[str, Any]:
    columns = [f"c{index}" for index in range(len(rows[0]) if rows else 0)]
    return {"success": True, "meta": {"rows_read": len(rows)}, "results": {"columns": columns, "rows": rows}}


def _refused(code: int, message: str) -> bytes:
    body = {"success": False, "errors": [{"code": code, "message": message}], "messages": [], "result": []}
    return json.dumps(body).encode()
