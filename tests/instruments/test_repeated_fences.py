"""A call that comes again under its commit id with a newer token: it has no second effect, and the newer token is kept."""

from __future__ import annotations

import re
from typing import Any

import pytest

from agents_store_cloudflare.contract.errors import AgentsStoreError, StaleFencingTokenError
from tests.instruments.catalog import ROLES
from tests.instruments.operations import Operation, Role, outcome_of
from tests.instruments.state_operations import MESSAGE
from tests.instruments.usage_operations import entry

OLD, NEW = 6, 7
"""The tokens of the first call and of its repetition; the worlds have seen lower ones."""

NAMED = {"fencing_token", "commit_id"}
IDS = ("s", "child", "new", "fork", "made", "paused", "ended", "beside", "nobody")


async def _probe_state(client: Any, session_id: str) -> None:
    await client.append_messages(session_id, [MESSAGE], create="x", fencing_token=OLD)


async def _probe_usage(client: Any, session_id: str) -> None:
    await client.record_entry(entry(f"probe {session_id}", session_id), fencing_token=OLD)


async def _probe_stream(client: Any, stream_id: str) -> None:
    await (await client.create_writer(stream_id, "a", "t", fencing_token=OLD)).close()


async def _probe_store(client: Any, session_id: str) -> None:
    await _probe_state(client.state_store, session_id)


PROBES = {"state": _probe_state, "usage": _probe_usage, "streams": _probe_stream, "store": _probe_store}


async def _named(role: Role) -> list[Operation]:
    """Return the operations that take a token and a commit id."""
    world = await role.open()
    calls = [(each, await each.prepare(world, world.theirs)) for each in role.operations]
    world.close()
    return [each for each, call in calls if all(call.takes(name) for name in NAMED)]


async def _refusals(role: Role, operation: Operation) -> tuple[str, str, list[str]]:
    """Return both results, and the ids for which the first call's token is too old after the repetition."""
    world = await role.open()
    first, again = [await operation.prepare(world, world.theirs) for _ in range(2)]
    results = [
        await outcome_of(call.having(fencing_token=token, commit_id="named"))
        for call, token in ((first, OLD), (again, NEW))
    ]
    refused: list[str] = []
    for each in IDS:
        try:
            await PROBES[role.name](world.theirs, each)
        except StaleFencingTokenError:
            refused.append(each)
        except AgentsStoreError:
            continue  # the id is in no state to be probed
    world.close()
    return results[0], results[1], refused


@pytest.mark.parametrize("role", [role for role in ROLES if role.name in PROBES], ids=lambda role: role.name)
async def test_a_repetition_keeps_its_token(role: Role) -> None:
    """ST-11, US-15, SM-13, SM-37: a repetition under a commit id with a higher token raises the fence, in every role."""
    operations = await _named(role)
    assert operations
    lost: list[str] = []
    for operation in operations:
        first, again, refused = await _refusals(role, operation)
        if first == again and not refused and not _is_error(first):
            lost.append(operation.name)
    assert not lost


def _is_error(result: str) -> bool:
    """Return whether the call was refused. A refused call keeps no token, and its repetition is a first call."""
    return re.match(r"""["']\w+Error: """, result) is not None
