"""A live model behind any service that speaks OpenAI's chat completions.

The client asks over httpx2, which inside Workers speaks through the platform's own `fetch` (httpx2-jsfetch).
"""

from openai import AsyncOpenAI
from pydantic_ai.models import Model
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from settings import Settings

__all__ = ["live_model"]

TIMEOUT_S = 25.0  # less than the 30 seconds that a Worker has after its answer is sent
RETRIES = 1


def live_model(settings: Settings) -> Model:
    """Return the model of the settings. It is built for each request, because it holds a connection."""
    client = AsyncOpenAI(
        api_key=settings.openai_api_key,
        base_url=settings.openai_base_url,
        timeout=TIMEOUT_S,
        max_retries=RETRIES,
    )
    return OpenAIChatModel(settings.openai_model, provider=OpenAIProvider(openai_client=client))
