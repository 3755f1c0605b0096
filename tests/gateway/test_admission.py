"""Who is let in, for every action of the vocabulary."""

import logging
from typing import get_args

import pytest

from agents_store_cloudflare import StreamAction
from agents_store_cloudflare.gateway.admission import Admission

LOGGER = logging.getLogger(__name__)


@pytest.mark.parametrize("action", get_args(StreamAction))
async def test_each_action_is_asked_for_by_its_name(action: StreamAction) -> None:
    """GW-7: `authorize` is asked for read, append, create, delete and fork by these names."""
    admission = Admission(lambda _request, _stream_id, asked: asked == action, LOGGER)
    for other in get_args(StreamAction):
        assert await admission.admits(None, "s", other) is (other == action)


@pytest.mark.parametrize(
    ("allowed", "admitted"),
    [
        ({("new", "fork"), ("old", "read")}, True),
        ({("new", "fork")}, False),
        ({("old", "read")}, False),
        ({("new", "fork"), ("old", "fork"), ("new", "read")}, False),
    ],
)
async def test_a_fork_asks_for_its_source_too(allowed: set[tuple[str, str]], admitted: bool) -> None:
    """GW-7: `fork` of the new stream and `read` of the source, both or not at all."""
    asked: list[tuple[str, str]] = []

    def authorize(_request: object, stream_id: str, action: str) -> bool:
        asked.append((stream_id, action))
        return (stream_id, action) in allowed

    admission = Admission(authorize, LOGGER)
    assert await admission.admits(None, "new", "fork", source_id="old") is admitted
    assert asked == [("new", "fork"), ("old", "read")][: len(asked)]


async def test_a_source_that_cannot_be_asked_about_denies(caplog: pytest.LogCaptureFixture) -> None:
    """GW-7: An exception at the second question denies too."""

    async def authorize(_request: object, stream_id: str, _action: str) -> bool:
        if stream_id == "old":
            raise LookupError("no such tenant")
        return True

    assert not await Admission(authorize, LOGGER).admits(None, "new", "fork", source_id="old")
    assert "no such tenant" in caplog.text


async def test_what_is_truthy_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """GW-7: The log names the type of a truthy value, not its content. A developer who returns a user object sees why nobody gets in."""
    admission = Admission(lambda *_asked: {"user": "a secret"}, LOGGER)  # type: ignore[arg-type]
    assert not await admission.admits(None, "s", "read")
    assert "dict" in caplog.text
    assert "secret" not in caplog.text
