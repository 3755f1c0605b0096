"""A Worker and a home of neighbouring versions understand each other: today's code against what version 1 has said."""

import json

from agents_store_cloudflare.objects.rpc_text import decode_reply
from agents_store_cloudflare.testing import FakeClock, SqliteDatabase
from tests.homes.recorded import FILE, STARTS_AT_MS, Talk, store_over, visit
from tests.homes.worlds import HomeWorld

SHOWN = [["before", "hello"], 3, "one", "completed"]


def _talk() -> Talk:
    return [(request, reply) for request, reply in json.loads(FILE.read_text(encoding="utf-8"))]


async def test_a_worker_of_version_1() -> None:
    """HM-12: today's home does what a Worker of version 1 asks for, and refuses nothing."""
    world = HomeWorld(clock=FakeClock(STARTS_AT_MS))
    for request, reply in _talk():
        answer, recorded = decode_reply(await world.sessions.call("ada", request)), decode_reply(reply)
        assert "failed" not in str(answer.head)
        assert type(answer.head["ok"]) is type(recorded.head["ok"])
    assert await _shown(world) == SHOWN


async def _shown(world: HomeWorld) -> list[object]:
    states = (await store_over(world.sessions, world.database, world.clock)).state_store
    state, run = await states.load_state("ada", required=True), (await states.list_runs("ada"))[0]
    return [[message.get("content") for message in state.messages], state.version, run.run_id, run.status]


class _Version1:
    """A home that answers as version 1 did."""

    def __init__(self) -> None:
        self._talk = _talk()
        self.asked: list[str] = []

    async def call(self, name: str, request: str) -> str:
        assert name == "ada"
        recorded, reply = self._talk[len(self.asked)]
        self.asked.append(request)
        assert json.loads(request.partition("\n")[0])["op"] == json.loads(recorded.partition("\n")[0])["op"]
        return reply


async def test_a_home_of_version_1() -> None:
    """HM-12: today's Worker asks a home of version 1 for what it knows, and understands its replies."""
    home = _Version1()
    store = await store_over(home, SqliteDatabase(), FakeClock(STARTS_AT_MS))
    assert await visit(store) == SHOWN
    assert len(home.asked) == len(_talk())
