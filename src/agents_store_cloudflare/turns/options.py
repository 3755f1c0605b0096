"""The arguments of a turn. They are checked before anything is sent."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, cast

from agents_store_cloudflare.contract.arguments import (
    MAX_LABEL_BYTES,
    check_flag,
    check_id,
    check_text,
    check_whole_number,
    span_ms,
)
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_values import decode_json, encode_json
from agents_store_cloudflare.contract.state.records import Message
from agents_store_cloudflare.state.blocks import message_list

__all__ = ["TurnOptions"]

LONGEST_HOLD_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnOptions:
    """The arguments of `store.turn`, which explains each of them."""

    session_id: str
    agent_type: str
    agent_id: str | None
    turn_id: str
    messages: list[Message]
    wait_ms: int
    ttl: float | timedelta | None
    auto_refresh: bool
    max_hold_ms: int
    stream: bool
    checkpoint: bool
    step_id: str | None
    budget: tuple[str, int] | None
    create: bool
    parent_session_id: str | None
    wait_until: Callable[[Awaitable[None]], object] | None

    @classmethod
    def of(
        cls,
        session_id: str,
        *,
        agent_type: str,
        agent_id: str | None,
        turn_id: str | None,
        messages: Iterable[Mapping[str, object]],
        wait: float | timedelta | None,
        ttl: float | timedelta | None,
        auto_refresh: bool,
        max_hold: float | timedelta,
        stream: bool,
        checkpoint: bool,
        step_id: str | None,
        budget: tuple[str, int] | None,
        create: bool,
        parent_session_id: str | None,
        wait_until: Callable[[Awaitable[None]], object] | None,
    ) -> TurnOptions:
        """Check the options, and return them. The messages are copied, so the caller may change them later.

        Raises:
            TypeError, InvalidArgumentError: an argument breaks a rule; the message names it.
        """
        given = message_list(messages)
        if budget is not None:
            _check_budget(budget)
        for name, value in (("agent_id", agent_id), ("step_id", step_id), ("parent_session_id", parent_session_id)):
            if value is not None:
                check_id(value, name)
        hold_ms = span_ms(max_hold, None, "max_hold", most_seconds=LONGEST_HOLD_S)
        if not hold_ms:
            raise InvalidArgumentError("max_hold must be over 0 seconds")
        return cls(
            session_id=check_id(session_id, "session_id"),
            agent_type=check_text(agent_type, "agent_type", max_bytes=MAX_LABEL_BYTES),
            agent_id=agent_id,
            turn_id=uuid.uuid4().hex if turn_id is None else check_id(turn_id, "turn_id"),
            messages=decode_json(encode_json(given, name="messages")),  # type: ignore[arg-type]
            wait_ms=span_ms(wait, None, "wait", most_seconds=LONGEST_HOLD_S) or 0,
            ttl=ttl,
            auto_refresh=check_flag(auto_refresh, "auto_refresh"),
            max_hold_ms=hold_ms,
            stream=check_flag(stream, "stream"),
            checkpoint=check_flag(checkpoint, "checkpoint"),
            step_id=step_id,
            budget=budget,
            create=check_flag(create, "create"),
            parent_session_id=parent_session_id,
            wait_until=wait_until,
        )


def _check_budget(budget: object) -> None:
    if not isinstance(budget, tuple) or len(cast("tuple[object, ...]", budget)) != 2:
        raise TypeError('budget must be (scope, amount), e.g. ("tenant-1", 8_000)')
    scope, amount = cast("tuple[Any, Any]", budget)
    check_id(scope, "the scope of budget")
    check_whole_number(amount, "the amount of budget", low=1)
