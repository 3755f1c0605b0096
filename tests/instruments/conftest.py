"""What every instrument needs."""

import pytest

from agents_store_cloudflare.database import retry


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that failed transiently is sent again at once."""

    async def pause(attempt: int) -> None:
        assert attempt < retry.ATTEMPTS

    monkeypatch.setattr(retry, "pause_before_retry", pause)
