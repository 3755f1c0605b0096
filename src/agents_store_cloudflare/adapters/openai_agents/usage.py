"""The usage of a run of the OpenAI Agents SDK, as entries of a usage store."""

from __future__ import annotations

from typing import Any

from agents_store_cloudflare.contract.usage.records import TokenCounts, UsageEntry, UsageSource

__all__ = ["usage_entries"]


def usage_entries(
    result: Any, *, session_id: str, model: str | None = None, run_id: str | None = None, first_step: int = 0
) -> list[UsageEntry]:
    """Return one entry for each answer of a model in a run.

    The response id gives the entry its id, so the same result counts only once, even if it is recorded again. For providers without
    response ids, give `record_entries` a commit id.

    Args:
        result: the result of `Runner.run` or `Runner.run_streamed`, after the run's end.
        session_id: the session whose totals count the entries.
        model: the model that is billed. The default is the name of the last agent's model.
        run_id: the run of a turn that the entries belong to.
        first_step: the step number of the first entry. The numbers of the other entries follow.
    """
    agent = result.last_agent
    named = model if model is not None else agent.model if isinstance(agent.model, str) else None
    return [
        UsageEntry(
            id="" if response.response_id is None else f"{session_id}:{response.response_id}",
            session_id=session_id,
            kind="tokens",
            step_count=first_step + step,
            source=UsageSource(type="agent", name=agent.name),
            run_id=run_id,
            model=named,
            tokens=_tokens(response.usage),
        )
        for step, response in enumerate(result.raw_responses)
    ]


def _tokens(usage: Any) -> TokenCounts:
    return TokenCounts(
        prompt=usage.input_tokens,
        completion=usage.output_tokens,
        cached=usage.input_tokens_details.cached_tokens or 0,
        reasoning=usage.output_tokens_details.reasoning_tokens or 0,
        total=usage.total_tokens,
    )
