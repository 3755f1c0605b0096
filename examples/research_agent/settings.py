"""The variables and secrets of the Worker."""

from dataclasses import dataclass
from typing import Self

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The Worker's variables, typed.

    Attributes:
        openai_api_key: set it to ask a live model; without it the offline model answers.
        openai_base_url: any service that speaks OpenAI's chat completions.
        token_delay_s: the offline model's pause before each word, in seconds.
        lock_ttl_s: the time in seconds for which a session stays locked after the Worker that held it died.
    """

    openai_api_key: str | None
    openai_base_url: str
    openai_model: str
    token_delay_s: float
    lock_ttl_s: float

    @classmethod
    def of(cls, env: object) -> Self:
        """Read the variables of a Worker's `env`."""

        def variable(name: str, default: str) -> str:
            return str(getattr(env, name, None) or default)

        return cls(
            openai_api_key=variable("OPENAI_API_KEY", "") or None,
            openai_base_url=variable("OPENAI_BASE_URL", "https://api.openai.com/v1"),
            openai_model=variable("OPENAI_MODEL", "gpt-4.1-mini"),
            token_delay_s=float(variable("TOKEN_DELAY_MS", "20")) / 1000,
            lock_ttl_s=float(variable("LOCK_TTL_S", "30")),
        )
