"""Errors keep class, facts and message over the wire, in copies and in pickles, and nothing foreign leaks."""

import copy
import inspect
import logging
import pickle
from typing import assert_type

import pytest

from agents_store_cloudflare.contract import errors
from agents_store_cloudflare.contract.errors import ERRORS_BY_CODE, AgentsStoreError
from agents_store_cloudflare.objects import ObjectCallError, rpc_text as wire, with_retry
from agents_store_cloudflare.objects.incidents import log_incident

EXAMPLES: dict[type[AgentsStoreError], AgentsStoreError] = {
    type(error): error
    for error in (
        errors.StateNotFoundError("s"),
        errors.SessionExistsError("s"),
        errors.SessionNotMovedError("s"),
        errors.StaleStateError("s", reason="version", expected=1, actual=2),
        errors.StateSizeExceededError("save_state", "s", 10, 11),
        errors.CheckpointKeptError("s", count=1, kept=2),
        errors.CheckpointNotFoundError("s", "cpv1-s-s0-t0-000001"),
        errors.RunNotFoundError("s", "r"),
        errors.RunConflictError("s", "r", reason="current_run", status="active", current_run_id="q"),
        errors.SubSessionRefNotFoundError("s", "sub"),
        errors.StagingError("s", tool_call_id="t", operation_index=2, reason="its path leads nowhere"),
        errors.StreamNotFoundError("s"),
        errors.StreamClosedError("s", status="ended", end_status="completed"),
        errors.StreamFailedError("s", error="it broke"),
        errors.StreamTruncatedError("s", from_sequence=1, first_sequence=5),
        errors.StreamChunkTooLargeError("s", limit_bytes=10, size_bytes=11),
        errors.SequenceConflictError("s", expected=4, actual=5),
        errors.BudgetExceededError("s", amount=3),
        errors.LockNotAcquiredError("k"),
        errors.LockLostError("k"),
        errors.StaleFencingTokenError("s", expected=5, actual=4),
        errors.TurnRunningError("s", "t", stream_id="s", from_sequence=3),
        errors.TurnEndedError("s", "t", status="completed", output={"a": 1}, from_sequence=0, end_sequence=4),
    )
}
# Other tests may have imported an adapter or the console, whose errors never cross: only the contract's are built in an object.
PUBLIC = [
    error
    for error in ERRORS_BY_CODE.values()
    if error.__module__.startswith(errors.__name__) and not error.__name__.startswith("_")
]


@pytest.mark.parametrize("kind", PUBLIC, ids=lambda kind: kind.__name__)
def test_an_error_crosses_as_itself(kind: type[AgentsStoreError]) -> None:
    """An error raised in an object reaches the caller as the same class with the same facts and message."""
    error = EXAMPLES.get(kind) or kind("something", outcome_unknown=True)
    with pytest.raises(kind) as raised:
        wire.decode_reply(wire.encode_error(error, logging.getLogger(__name__)))
    assert type(raised.value) is kind
    assert raised.value.facts() == error.facts()
    assert str(raised.value) == str(error)


@pytest.mark.parametrize("kind", PUBLIC, ids=lambda kind: kind.__name__)
def test_facts_are_arguments_of_the_constructor(kind: type[AgentsStoreError]) -> None:
    """Every fact's name is a parameter, and every parameter without a default is a fact."""
    parameters = inspect.signature(kind).parameters
    required = {name for name, parameter in parameters.items() if parameter.default is inspect.Parameter.empty}
    assert required <= set(kind.fact_names()) <= set(parameters)


def test_facts_are_typed() -> None:
    """The type checkers know each fact, as an argument and as an attribute."""
    error = errors.TurnEndedError("s", "t", status="completed", from_sequence=3)
    assert_type(error.session_id, str)
    assert_type(error.from_sequence, int | None)
    assert_type(error.message, str)
    with pytest.raises(TypeError):
        errors.TurnEndedError("s")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert (error.from_sequence, str(error)) == (3, error.message)


def test_every_public_error_is_exported_and_has_its_own_code() -> None:
    """`__all__` names every error class, and codes are unique."""
    classes = [
        value
        for name, value in inspect.getmembers(errors, inspect.isclass)
        if issubclass(value, AgentsStoreError) and not name.startswith("_")
    ]
    assert {kind.__name__ for kind in classes} | {"ERRORS_BY_CODE"} == set(errors.__all__)
    assert len({kind.code for kind in classes}) == len(classes)
    assert all(400 <= kind.http_status < 600 for kind in classes)


def test_foreign_errors_leave_as_an_id(caplog: pytest.LogCaptureFixture) -> None:
    """An error of other code is logged in one line with its cause. The caller gets an id without type, text or path."""
    with caplog.at_level(logging.ERROR):
        reply = wire.encode_error(KeyError("a secret"), logging.getLogger(__name__))
    assert "secret" not in reply
    assert "KeyError" not in reply
    with pytest.raises(AgentsStoreError) as raised:
        wire.decode_reply(reply)
    assert raised.value.outcome_unknown
    incident = caplog.records[0].args
    assert incident
    assert str(incident[0]) in str(raised.value)  # type: ignore[index]


def test_texts_cross_unchanged() -> None:
    """The payload's lines arrive unchanged, whatever the head holds."""
    lines = '{"a":"\\n"}\n{"b":"ü🎉"}'
    request = wire.decode_request(wire.encode_request("append", {"name": "x\ny"}, lines))
    assert (request.head, request.payload) == ({"op": "append", "name": "x\ny"}, lines)
    reply = wire.decode_reply(wire.encode_reply({"last": 2}, lines))
    assert (reply.head["ok"], reply.payload) == ({"last": 2}, lines)


def test_an_incident_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """CO-12: One line has the error, its causes and their calls, because the runtime makes an event of every printed line."""

    def fails() -> None:
        try:
            int("no such\nthing")
        except ValueError as error:
            raise KeyError("cannot go on") from error

    with pytest.raises(KeyError) as raised:
        fails()
    with caplog.at_level(logging.ERROR):
        incident = log_incident(raised.value, logging.getLogger(__name__))
    [record] = caplog.records
    assert record.exc_info is None
    line = record.getMessage()
    assert line.startswith(f"internal error {incident}: KeyError: 'cannot go on' at package/test_errors.py:")
    assert " fails < package/test_errors.py:" in line
    assert "; caused by ValueError: invalid literal" in line
    assert "\n" not in line


@pytest.mark.parametrize("kind", ["overloaded", "raised"])
async def test_what_would_fail_again_is_not_sent_again(kind: str) -> None:
    """CO-12: The platform logs each exception of an object's class, so such a call is not repeated."""
    calls = 0

    async def send() -> str:
        nonlocal calls
        calls += 1
        raise ObjectCallError("planted", overloaded=kind == "overloaded", raised=kind == "raised")

    with pytest.raises(ObjectCallError):
        await with_retry(send)
    assert calls == 1


@pytest.mark.parametrize("kind", EXAMPLES, ids=lambda kind: kind.__name__)
def test_copies_and_pickles(kind: type[AgentsStoreError]) -> None:
    """A copy and a pickle of an error have its class, text, facts and other attributes."""
    error = EXAMPLES[kind]
    for again in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        assert type(again) is kind
        assert again.__dict__ == error.__dict__
        assert (str(again), again.args, again.facts()) == (str(error), error.args, error.facts())
