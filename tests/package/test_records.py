"""Records: `to_dict` and `from_dict` are inverse, take both spellings, and leave user keys alone."""

import dataclasses
from collections.abc import Callable
from typing import Any, cast

import pytest

from agents_store_cloudflare.contract import costs, state, streams, usage
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.state.records import (
    AgentState,
    Checkpoint,
    CheckpointPage,
    MergeChanges,
    Message,
    MessagePage,
    SessionPage,
    StagedChange,
)

STATE = AgentState(
    session_id="s",
    agent_type="x",
    custom_state={"snake_key": {"inner_key": 1}},
    messages=[{"role": "user"}],
    extra={"own_key": 1},
)


@pytest.mark.parametrize(
    "record",
    [
        STATE,
        Checkpoint(id="c", session_id="s", step_count=1, status="active", message_count=0, timestamp=5, state=STATE),
        StagedChange(
            tool_call_id="t",
            patches=[{"op": "add", "path": "/a", "value": 1}],
            merge_changes=MergeChanges(values={"a_b": 1}, array_replacements=frozenset({"a_b"})),
            timestamp=1,
        ),
        state.MessagePage(messages=[{"role": "user"}], total=1, has_more=False),
        state.CasResult(ok=False, new_version=None, current_status="x", current_version=1),
    ],
    ids=lambda record: type(record).__name__,
)
def test_round_trip(record: Any) -> None:
    """A record's mapping gives an equal record."""
    body = record.to_dict()
    again: Any = cast("Any", type(record)).from_dict(body)
    assert again.to_dict() == body
    if isinstance(record, AgentState):
        assert again == record


def test_camel_and_snake() -> None:
    """Both spellings are taken, one at a time; keys of user JSON stay as they are."""
    camel = AgentState.from_dict({"sessionId": "s", "agentType": "x", "customState": {"snake_key": 1}})
    snake = AgentState.from_dict({"session_id": "s", "agent_type": "x", "custom_state": {"snake_key": 1}})
    assert camel == snake
    assert camel.to_dict()["customState"] == {"snake_key": 1}
    with pytest.raises(InvalidArgumentError, match="both"):
        AgentState.from_dict({"sessionId": "s", "session_id": "s", "agentType": "x"})


def test_missing_and_unknown_fields() -> None:
    """A missing required field is named. An unknown field survives if the record has `extra`, and is refused otherwise."""
    with pytest.raises(InvalidArgumentError, match="agent_type"):
        AgentState.from_dict({"sessionId": "s"})
    assert AgentState.from_dict({"sessionId": "s", "agentType": "x", "new": [1]}).extra == {"new": [1]}
    with pytest.raises(InvalidArgumentError, match="nonsense"):
        MergeChanges.from_dict({"values": {}, "nonsense": 1})


def test_the_mapping_is_a_copy() -> None:
    """Changing the record afterwards leaves its mapping alone."""
    state = AgentState(session_id="s", agent_type="x", custom_state={"a": []}, messages=[{"role": "user"}])
    body = state.to_dict()
    state.custom_state["b"] = 1
    state.messages.append({"role": "user"})
    assert body["customState"] == {"a": []}
    assert body["messages"] == [{"role": "user"}]
    again = AgentState.from_dict(body)
    again.messages.append({"role": "user"})
    again.custom_state["c"] = 1
    assert (body["messages"], body["customState"]) == ([{"role": "user"}], {"a": []})


def test_records_are_slotted_and_frozen_but_for_the_state() -> None:
    """Every record is a slotted dataclass; all but `AgentState` are frozen."""
    found = {getattr(module, name) for module in (costs, state, streams, usage) for name in module.__all__}
    kinds = [kind for kind in found if dataclasses.is_dataclass(kind)]
    assert len(kinds) > 15
    for kind in kinds:
        assert "__dict__" not in dir(kind), kind
        assert cast("Any", kind).__dataclass_params__.frozen is (kind is not AgentState), kind


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (lambda: AgentState(session_id=cast("str", None), agent_type="t"), "session_id"),
        (lambda: AgentState(session_id=cast("str", 7), agent_type="t"), "session_id"),
        (lambda: AgentState(session_id="s", agent_type=cast("str", None)), "agent_type"),
    ],
)
def test_a_state_without_its_names_is_refused_at_once(given: Callable[[], AgentState], named: str) -> None:
    """An id that is None is refused at once, and not only when the state is saved."""
    with pytest.raises(TypeError, match=f"AgentState.{named} must be text"):
        given()


def test_pages_iterate_alike() -> None:
    """Each page gives its items by iteration and counts them by `len`, whatever it holds."""
    states = [AgentState(session_id=name, agent_type="t") for name in "ab"]
    checkpoints = [
        Checkpoint(id=name, session_id="a", step_count=0, status="x", message_count=0, timestamp=0) for name in "cd"
    ]
    messages: list[Message] = [{"role": "user"}]
    assert [*SessionPage(items=states)] == states
    assert [*CheckpointPage(items=checkpoints)] == checkpoints
    assert [*MessagePage(messages=messages, total=9, has_more=True)] == messages
    assert [len(SessionPage(items=states)), len(MessagePage(messages=[], total=9, has_more=True))] == [2, 0]
    assert not SessionPage(items=[]), "an empty page is false, as an empty list is"


@pytest.mark.parametrize("other", ["prompt_tokens", "completion_tokens", "input_tokens"])
def test_another_librarys_name_is_answered_with_the_names_there_are(other: str) -> None:
    """An unknown name of a count is refused with all valid names."""
    with pytest.raises(InvalidArgumentError, match=f"no field '{other}'; its fields are prompt, completion, .*total"):
        usage.TokenCounts.from_dict({other: 1})
