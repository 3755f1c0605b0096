"""Model calls under a cap: reserve before the call, settle what it came to, and say 402 where it does not fit.

GET /ask?session=ada&question=…   a pretend model's answer, or 402 and what is left
GET /usage?session=ada            what the session used, what that cost, and what is left of its budget and its tenant's
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
    run_migration,
)

__all__ = ["Default"]

TENANT = "acme"  # a real Worker knows it from who signed in
MODEL = "pretend-1"
PRICES = PriceBook(version="2026-11", models={MODEL: ModelPrice(prompt=2_500_000, completion=10_000_000)})
INSTRUCTION_TOKENS = 1_000
MAX_COMPLETION = 2_000


class Default(WorkerEntrypoint):
    """Every session of the tenant has a budget of its own, inside the tenant's."""

    env: Any  # the bindings of wrangler.toml

    async def fetch(self, request: Request) -> Response:
        """Answer a question, or tell what was used."""
        url = urlsplit(request.url)
        query = parse_qs(url.query)
        session_id = f"{TENANT}/{query.get('session', ['ada'])[0]}"
        self._usage = D1UsageStore(self.env.AGENT_DB, price_book=PRICES)
        try:
            await run_migration(self.env.AGENT_DB)
            if url.path not in {"/ask", "/usage"}:
                return _json({"try": ["/ask?session=ada", "/usage?session=ada"]}, status=HTTPStatus.NOT_FOUND)
            await self._set_budgets(session_id)
            if url.path == "/ask":
                return await self._ask(session_id, query.get("question", ["What fits into a budget?"])[0])
            return _json(await self._used(session_id))
        except AgentsStoreError as error:
            return _json(error.to_dict(), status=error.http_status)

    async def _set_budgets(self, session_id: str) -> None:
        if await self._usage.get_budget(session_id) is None:
            await self._usage.set_budget(TENANT, int(self.env.TENANT_CAP), "tokens")
            await self._usage.set_budget(session_id, int(self.env.SESSION_CAP), "tokens", parent=TENANT)

    async def _ask(self, session_id: str, question: str) -> Response:
        prompt = INSTRUCTION_TOKENS + 10 * len(question.split())
        try:
            # The most that the call can come to; what it did not come to goes back when it is settled, or fails.
            async with self._usage.reserve(session_id, prompt + MAX_COMPLETION) as reservation:
                answer, completion = pretend_model(question)
                tokens = TokenCounts(prompt=prompt, completion=completion)
                await self._usage.record_tokens(session_id, model=MODEL, tokens=tokens, id=reservation.id)
                await self._usage.settle(reservation, prompt + completion)
        except BudgetExceededError as error:
            refused = {**error.to_dict(), "left": await self._left(session_id)}
            return _json(refused, status=HTTPStatus.PAYMENT_REQUIRED)
        return _json({"answer": answer, "tokens": tokens.total, "left": await self._left(session_id)})

    async def _used(self, session_id: str) -> dict[str, object]:
        rollup = await self._usage.get_rollup(session_id)
        money = f"${rollup.cost_micros / 1_000_000:.6f}"
        return {
            "calls": rollup.entry_count,
            "tokens": rollup.tokens.total,
            "cost": money,
            "left": await self._left(session_id),
        }

    async def _left(self, session_id: str) -> dict[str, int]:
        """Tokens that can still be reserved, of the session's budget and of the tenant's."""
        budgets = {"session": await self._usage.get_budget(session_id), "tenant": await self._usage.get_budget(TENANT)}
        return {name: budget.remaining for name, budget in budgets.items() if budget is not None}


def pretend_model(question: str) -> tuple[str, int]:
    """Answer, and count the tokens of the answer: a hundred for each word of the question."""
    count = len(question.split())
    return f"You asked in {count} words.", min(100 * count, MAX_COMPLETION)


def _json(body: Mapping[str, object], *, status: int = 200) -> Response:
    return Response(json.dumps(body) + "\n", status=status, headers={"content-type": "application/json"})
