"""A Durable Object of a few lines, without the package: the floor of what a home does."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench_job import Job, raw
from workers import DurableObject

__all__ = ["BARE_JOBS", "Bare"]


class Bare(DurableObject):
    """Runs the statements of a request in one transaction, and replies with as many characters as the request asks for."""

    ctx: Any

    def call(self, text: str) -> str:
        """Answer one request."""
        order = json.loads(text)
        storage = raw(self.ctx.storage)

        def run() -> None:
            execute = storage.sql.exec
            for sql, parameters in order["statements"]:
                execute(sql, *parameters)

        if order["statements"]:
            storage.transactionSync(run)
        if order["alarmMs"]:
            storage.setAlarm(time.time() * 1_000 + order["alarmMs"])
        count: int = order["reply"]
        return "x" * count

    async def alarm(self, _info: object = None) -> None:
        """Do nothing."""


@dataclass(kw_only=True)
class BareCall(Job):
    made: int = 0
    characters: int = 0

    async def set_up(self) -> None:
        if not self.input["fresh"]:
            await raw(self.env.BARE).getByName(self.key).call(self.input["first"])

    async def once(self) -> None:
        from pyodide.ffi import to_js  # noqa: PLC0415

        database, objects = raw(self.env.AGENT_DB), raw(self.env.BARE)
        for _ in range(self.input["reads"]):
            await database.batch(to_js([database.prepare("SELECT 1")]))
        self.made += 1
        name = f"{self.key}-{self.made}" if self.input["fresh"] else self.key
        for _ in range(self.input["calls"]):
            self.characters += len(await objects.getByName(name).call(self.input["text"]))

    async def read_back(self) -> object:
        return {"characters": self.characters}


BARE_JOBS: Mapping[str, type[Job]] = {"bare": BareCall}
