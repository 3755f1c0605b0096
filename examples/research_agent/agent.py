"""The agent: a model, its instructions, and one tool."""

from dataclasses import asdict

import pydantic_ai
from pydantic_ai import Agent
from pydantic_ai.models import Model

from documents import library
from offline_model import offline_model
from settings import Settings

__all__ = ["research_agent"]

pydantic_ai.BANNER_ENABLED = False  # a Worker's log would show its lines as errors

INSTRUCTIONS = """You answer questions about the Python package agents-store-cloudflare. Search its documentation first,
then answer in a few sentences out of what you found, and name the source file. Where it says nothing, say so."""


def research_agent(settings: Settings) -> Agent[None, str]:
    """Return the agent for one turn."""
    agent = Agent(_model(settings), instructions=INSTRUCTIONS)

    # Declared async: a Worker has no threads, in which pydantic-ai would run a synchronous tool.
    @agent.tool_plain
    async def search_docs(query: str) -> list[dict[str, str]]:
        """Search the documentation of agents-store-cloudflare.

        Args:
            query: A few words.
        """
        return [asdict(passage) for passage in library().search(query)]

    return agent


def _model(settings: Settings) -> Model:
    if settings.openai_api_key is None:
        return offline_model(settings.token_delay_s)
    # The client library takes seconds to import, so it is imported only when it is used.
    from live_model import live_model  # noqa: PLC0415

    return live_model(settings)
