"""Callback and claim tokens. A token permits requests about one wake of one subscription."""

from __future__ import annotations

import base64
import hashlib
import hmac

__all__ = ["sign_wake", "signs_wake"]


def sign_wake(secret: str, subscription_id: str, generation: int, wake_id: str) -> str:
    """Return the token of a wake."""
    text = f"agents-wake-1\n{generation}\n{wake_id}\n{subscription_id}"
    digest = hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()
    return f"{generation}.{wake_id}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def signs_wake(secret: str, subscription_id: str, token: str) -> tuple[int, str] | None:
    """Return the generation and the id of the wake in a token of this subscription; None for any other token."""
    generation, _, rest = token.partition(".")
    wake_id, _, _ = rest.partition(".")
    if not (generation.isascii() and generation.isdigit() and len(generation) <= 15):
        return None
    expected = sign_wake(secret, subscription_id, int(generation), wake_id)
    return (int(generation), wake_id) if hmac.compare_digest(expected.encode(), token.encode()) else None
