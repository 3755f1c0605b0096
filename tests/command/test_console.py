"""`console`: the pages on this machine, for who has the key."""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing import SqliteDatabase
from tests.command.d1_api_stub import ACCOUNT, DATABASE, TOKEN, D1ApiStub
from tests.console.conftest import Parsed

PATIENCE_S = 30.0


class Served:
    """A command that serves, and a browser's cookies."""

    def __init__(self, address: str) -> None:
        self.url = urlsplit(address)
        self.cookies: dict[str, str] = {}

    def ask(self, path: str, method: str = "GET", body: str | None = None, **headers: str) -> tuple[int, str]:
        connection = HTTPConnection(self.url.netloc, timeout=PATIENCE_S)
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = {"cookie": cookie, **headers}
        if body is not None:
            sent["content-type"] = "application/x-www-form-urlencoded"
            sent["origin"] = f"http://{self.url.netloc}"
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        text = answer.read().decode()
        for each in answer.headers.get_all("set-cookie") or []:
            name, _, value = each.partition(";")[0].partition("=")
            self.cookies[name] = value
        connection.close()
        return answer.status, text


@contextmanager
def served(*arguments: str, **environment: str) -> Generator[Served]:
    """The command while it serves."""
    command = [sys.executable, "-m", "agents_store_cloudflare", "console", "--port", "0", *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment or None
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "http://127.0.0.1:" in line, process.communicate(timeout=PATIENCE_S)
        yield Served(line.rsplit(": ", 1)[1].strip())
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)


async def _two_sessions(database: SqliteDatabase) -> str:
    states = D1StateStore(database)
    state = await states.create_session("a/1", agent_type="chat")
    state.messages.append({"role": "user", "content": "hello there"})
    checkpoint = await states.save_checkpoint("a/1", state)
    await states.create_session("b/2", agent_type="chat")
    return checkpoint.id


async def test_pages_for_who_has_the_key(file: Path, migrated: SqliteDatabase) -> None:
    """The printed address opens the console. Without its key, or under another host name, nobody gets in."""
    await _two_sessions(migrated)
    with served("--database", str(file)) as site:
        assert site.ask("/console")[0] == 403
        assert site.ask("/console?key=wrong")[0] == 403
        assert site.ask(f"{site.url.path}?{site.url.query}", host="evil.example")[0] == 403
        assert site.ask(f"{site.url.path}?{site.url.query}")[0] == 303
        status, text = site.ask("/console")
        assert status == 200
        assert "a/1" in Parsed(text).text
        assert "hello there" in Parsed(site.ask("/console/messages?id=a%2F1")[1]).text
        assert site.ask("/console/assets/console.css")[0] == 200
        assert site.ask("/")[0] == 302
        assert site.ask("/console/session?id=nobody")[0] == 404
        assert site.ask("/console/session?id=a%2F1", host="evil.example")[0] == 403
        assert site.ask("/console/act/fork?id=a%2F1&checkpoint=x")[0] == 403


async def test_acts_where_they_are_allowed(file: Path, migrated: SqliteDatabase) -> None:
    """With --allow-acts a session can be forked. Acts that need a Durable Object are not offered."""
    checkpoint = await _two_sessions(migrated)
    with served("--database", str(file), "--allow-acts") as site:
        site.ask(f"{site.url.path}?{site.url.query}")
        query = urlencode({"id": "a/1", "checkpoint": checkpoint})
        status, text = site.ask(f"/console/act/fork?{query}")
        assert status == 200
        fields = {str(each["name"]): str(each["value"]) for each in Parsed(text).tags("input")}
        status, text = site.ask("/console/act/fork", "POST", urlencode({**fields, "new_id": "copy"}))
        assert status == 200, text
        assert site.ask("/console/act/fork", "POST", urlencode({**fields, "id": "b/2"}))[0] == 403
        assert site.ask("/console/act/delete?id=a%2F1")[0] == 404
        assert site.ask("/console/act/fork", "POST", "x" * 70_000)[0] == 413
    assert await D1StateStore(migrated).exists("copy")


async def test_a_remote_database(stub: D1ApiStub, migrated: SqliteDatabase) -> None:
    """The same pages work over Cloudflare's HTTP API."""
    await _two_sessions(migrated)
    remote = ("--remote", "--account-id", ACCOUNT, "--database-id", DATABASE, "--api-url", stub.url)
    with served(*remote, CLOUDFLARE_API_TOKEN=TOKEN) as site:
        site.ask(f"{site.url.path}?{site.url.query}")
        status, text = site.ask("/console")
        assert status == 200
        assert "b/2" in Parsed(text).text


@pytest.mark.parametrize("port", ["x", "-1"])
def test_a_bad_port(port: str) -> None:
    """A value that is no port is a bad argument."""
    command = [sys.executable, "-m", "agents_store_cloudflare", "console", "--port", port]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2
