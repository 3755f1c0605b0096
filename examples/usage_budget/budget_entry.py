"""Model calls under a cap. Reserve before the call, settle the used amount, and answer 402 if the amount does not fit.

GET /ask?session=ada&question=…   a pretend model's answer, or 402 and the remaining amounts GET /usage?session=ada            the
session's usage and costs, and the rest of its budget and its tenant's
"""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import (
    AgentsStoreError,
    BudgetExceededError,
    D1UsageStore,
    ModelPrice,
    PriceBook,
    TokenCounts,
    UsageRollup,
    run_migration,
)

__all__ = ["Default"]

TENANT = "acme"  # a real Worker takes it from the user who signed in
MODEL = "pretend-1"
PRICES = PriceBook(version="2026-11", models={MODEL: ModelPrice(prompt=2_500_000, completion=10_000_000)})
INSTRUCTION_TOKENS = 1_000
MAX_COMPLETION = 2_000


class Default(WorkerEntrypoint):
    """Every session of the tenant has a budget of its own, inside the tenant's."""

    env: Any  # the bindings of wrangler.toml

    async def fetch(self, request: Request) -> Response:
        """Answer a question, or show the usage."""
        url = urlsplit(request.url)
        query = parse_qs(url.query)
        session_id = f"{TENANT}/{query.get('session', ['ada'])[0]}"
        usage = D1UsageStore(self.env.AGENT_DB, price_book=PRICES)
        try:
            await run_migration(self.env.AGENT_DB)
            if url.path == "/usage":
                return _json(used(await usage.get_rollup(session_id)) | {"left": await left(usage, session_id)})
            if url.path != "/ask":
                return _json({"try": ["/ask?session=ada", "/usage?session=ada"]}, status=HTTPStatus.NOT_FOUND)
            if await usage.get_budget(session_id) is None:
                await usage.set_budget(TENANT, int(self.env.TENANT_CAP), "tokens")
                await usage.set_budget(session_id, int(self.env.SESSION_CAP), "tokens", parent=TENANT)
            answer = await ask(usage, session_id, query.get("question", ["What fits into a budget?"])[0])
            return _json(answer | {"left": await left(usage, session_id)})
        except BudgetExceededError as error:
            told = error.to_dict() | {"left": await left(usage, session_id)}
            return _json(told, status=HTTPStatus.PAYMENT_REQUIRED)
        except AgentsStoreError as error:
            return _json(error.to_dict(), status=error.http_status)


async def ask(usage: D1UsageStore, session_id: str, question: str) -> dict[str, object]:
    """Call the model under the session's budget and its tenant's, or raise `BudgetExceededError` before the call."""
    prompt = INSTRUCTION_TOKENS + 10 * len(question.split())
    # The most tokens that the call can use. The unused amount is given back, or all of it if the call fails.
    async with usage.reserve(session_id, prompt + MAX_COMPLETION) as reservation:
        answer, completion = pretend_model(question)
        tokens = TokenCounts(prompt=prompt, completion=completion)
        await usage.record_tokens(session_id, model=MODEL, tokens=tokens, id=reservation.id)
        await usage.settle(reservation, prompt + completion)
    return {"answer": answer, "tokens": tokens.total}


def used(rollup: UsageRollup) -> dict[str, object]:
    """Return a session's totals, with the costs in dollars."""
    cost = f"${rollup.cost_micros / 1_000_000:.6f}"
    return {"calls": rollup.entry_count, "tokens": rollup.tokens.total, "cost": cost}


async def left(usage: D1UsageStore, session_id: str) -> dict[str, object]:
    """Return the tokens that can still be reserved; None if the budget does not exist yet."""
    session, tenant = await usage.get_budget(session_id), await usage.get_budget(TENANT)
    return {"session": session and session.remaining, "tenant": tenant and tenant.remaining}


def pretend_model(question: str) -> tuple[str, int]:
    """Answer, and say how many tokens the answer has: a hundred for each word of the question."""
    count = len(question.split())
    return f"You asked in {count} words.", min(100 * count, MAX_COMPLETION)


def _json(body: Mapping[str, object], *, status: int = 200) -> Response:
    return Response(json.dumps(body) + "\n", status=status, headers={"content-type": "application/json"})
