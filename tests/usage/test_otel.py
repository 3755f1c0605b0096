"""Entries in OpenTelemetry's words."""

from dataclasses import fields

from agents_store_cloudflare.contract.usage.records import TokenCounts, UsageEntry
from agents_store_cloudflare.testing.conformance.usage import entry_of_each_kind
from agents_store_cloudflare.usage import OTEL_ATTRIBUTES, otel_attributes

WITHOUT_AN_ATTRIBUTE = {"timestamp", "source", "tokens", "error", "data", "extra"}


def test_every_field_has_a_name() -> None:
    """US-22: The table names each field of an entry and each count of tokens, except the time and the content."""
    named = {path for path in OTEL_ATTRIBUTES if "." not in path}
    assert named == {field.name for field in fields(UsageEntry)} - WITHOUT_AN_ATTRIBUTE
    counts = {f"tokens.{field.name}" for field in fields(TokenCounts)} - {"tokens.total"}
    assert {path for path in OTEL_ATTRIBUTES if "." in path} == counts


def test_a_model_call() -> None:
    """US-22: A model call is a chat. Its time to the first token is in seconds."""
    entry = UsageEntry.from_dict(
        {
            "id": "e",
            "sessionId": "s",
            "kind": "tokens",
            "source": {"type": "agent", "name": "writer"},
            "model": "m",
            "responseModel": "m-2",
            "provider": "example",
            "tokens": {"prompt": 10, "completion": 5, "cached": 4},
            "timeToFirstTokenMs": 250,
            "costMicros": 0,
            "content": "secret",
        }
    )
    assert otel_attributes(entry) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.conversation.id": "s",
        "gen_ai.agent.name": "writer",
        "gen_ai.provider.name": "example",
        "gen_ai.request.model": "m",
        "gen_ai.response.model": "m-2",
        "gen_ai.response.time_to_first_chunk": 0.25,
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.reasoning.output_tokens": 0,
        "agents_store.usage.id": "e",
        "agents_store.usage.model": "m",
        "agents_store.usage.step_count": 0,
        "agents_store.usage.cost_micros": 0,
    }


def test_the_other_kinds() -> None:
    """US-22: Tools are executed, agents are invoked, failures have a type, and the caller's texts are left out."""
    found = [otel_attributes(entry) for entry in entry_of_each_kind("s")]
    assert [each.get("gen_ai.operation.name") for each in found[1:]] == [
        "execute_tool",
        "execute_tool",
        "invoke_agent",
        None,
        None,
    ]
    assert [each.get("error.type") for each in found] == [None, None, "_OTHER", None, None, None]
    assert found[3]["gen_ai.agent.name"] == "critic"
    assert not any("not found" in str(value) for each in found for value in each.values())
