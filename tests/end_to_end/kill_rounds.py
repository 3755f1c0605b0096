"""What tests that kill the runtime share: callers that make turns until it dies, and retries that come until they are served."""

import json
import time
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

__all__ = ["TIMEOUT_S", "Told", "ask", "until_served"]

TIMEOUT_S = 60
DEAD = (URLError, HTTPException, OSError, ValueError)


class Told:
    """The callers' knowledge: the acknowledged turns, and the turns with an unknown outcome."""

    def __init__(self) -> None:
        self.done: set[tuple[str, str]] = set()
        self.unsure: set[tuple[str, str]] = set()

    def call(self, url: str, session: str, caller: int) -> None:
        """Make one turn after another until the Worker dies."""
        for number in range(1_000):
            name = f"c{caller}n{number}"
            try:
                ask(url, op="turn", session=session, turn=name)
            except HTTPError as error:
                _check_refusal(error)
                self.unsure.add((session, name))  # the other caller was faster for all the time that this one waits
            except DEAD:
                self.unsure.add((session, name))
                return
            else:
                self.done.add((session, name))
        raise AssertionError("nobody killed the runtime")

    def of(self, session: str) -> set[str]:
        """The acknowledged turns of a session."""
        return {name for each, name in self.done if each == session}


def ask(url: str, **asked: str) -> Any:
    """The JSON answer of a Worker."""
    with urlopen(f"{url}/?{urlencode(asked)}", timeout=TIMEOUT_S) as response:
        return json.load(response)


def until_served(url: str, session: str, name: str) -> None:
    """A retry of a turn whose answer was lost: it comes again until it is told that the turn has succeeded."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while True:
        try:
            assert ask(url, op="turn", session=session, turn=name)["status"] == "completed"
        except HTTPError as error:
            _check_refusal(error)
        else:
            return
        if time.monotonic() > deadline_s:
            raise AssertionError("the lock of a dead Worker does not end")


def _check_refusal(error: HTTPError) -> None:
    if error.code != 409:
        raise AssertionError(f"{error.code}: {error.read()!r}")
