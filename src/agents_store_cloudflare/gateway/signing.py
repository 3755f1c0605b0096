"""Signed, short-lived permissions in a URL.

EventSource and WebSocket need them, because browsers send no custom headers with these.

```text
?access=k2.1767225600.41.3q2-7w…     key id . expiry in seconds since 1970 . lowest position, may be empty . signature
```

The signature is HMAC-SHA256 over the action, the expiry, the lowest position and the stream id, in base64url. Everybody who has the
URL may read until it expires, because nothing else is checked. So give it to one reader, over TLS, and let it expire after minutes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final, get_args

from agents_store_cloudflare.contract.arguments import check_id, check_whole_number, span_ms, system_now_ms
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.gateway.admission import StreamAction

__all__ = ["MAX_LIFE_S", "StreamUrlSigner"]

MAX_LIFE_S: Final = 86_400
MIN_KEY_BYTES: Final = 16
_VERSION: Final = "agents-stream-access-1"
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}", re.ASCII)
_ACCESS = re.compile(r"([A-Za-z0-9_-]{1,32})\.([0-9]{1,16})\.([0-9]{0,16})\.([A-Za-z0-9_-]{43})", re.ASCII)


class StreamUrlSigner:
    """Signs permissions with the first key, and accepts the signatures of all its keys.

    To change a key, put the new key first. Remove the old key when its last URL has expired, at most a day later.

    Example:
        >>> signer = StreamUrlSigner({"k2": self.env.STREAM_KEY, "k1": self.env.OLD_STREAM_KEY})

    Args:
        keys: each key id (at most 32 letters, digits, `_` and `-`) with its secret: at least 16 bytes, better 32 random bytes.
        now_ms: the clock.
    """

    def __init__(self, keys: Mapping[str, str | bytes], *, now_ms: Callable[[], int] = system_now_ms) -> None:
        self._keys = {_checked_key_id(key_id): _checked_key(key) for key_id, key in keys.items()}
        if not self._keys:
            raise InvalidArgumentError("a signer needs at least one key")
        self._signing_key_id = next(iter(self._keys))
        self._now_ms = now_ms

    def sign(
        self,
        stream_id: str,
        action: StreamAction = "read",
        *,
        expires_in: float | timedelta = 300.0,
        from_sequence: int | None = None,
    ) -> str:
        """Return the value of `access` that permits `action` on the stream.

        Args:
            expires_in: the seconds until it expires, 1 to 86,400.
            from_sequence: permit no position below this one.

        Raises:
            InvalidArgumentError: an argument breaks a rule.
        """
        check_id(stream_id, "stream_id")
        if action not in get_args(StreamAction):
            raise InvalidArgumentError(f"action must be one of {', '.join(get_args(StreamAction))}, not {action!r}")
        life_ms = span_ms(expires_in, None, "expires_in", most_seconds=MAX_LIFE_S) or 0
        if life_ms < 1000:
            raise InvalidArgumentError(f"expires_in must be 1 to {MAX_LIFE_S:,} seconds")
        floor = "" if from_sequence is None else str(check_whole_number(from_sequence, "from_sequence"))
        expires_s = str((self._now_ms() + life_ms) // 1000)
        signature = self._signature(self._signing_key_id, stream_id, action, expires_s, floor)
        return f"{self._signing_key_id}.{expires_s}.{floor}.{signature}"

    def permits(self, access: str, stream_id: str, action: StreamAction, *, from_sequence: int = 0) -> bool:
        """Return whether a known key has signed `access` for this action and stream, and it has not expired.

        The comparison takes constant time.
        """
        parts = _ACCESS.fullmatch(access)
        if parts is None:
            return False
        key_id, expires_s, floor, signature = parts.groups()
        if key_id not in self._keys:
            return False
        expected = self._signature(key_id, stream_id, action, expires_s, floor)
        if not hmac.compare_digest(signature, expected):
            return False
        left_ms = int(expires_s) * 1000 - self._now_ms()
        return 0 < left_ms <= MAX_LIFE_S * 1000 and from_sequence >= int(floor or 0)

    def left_ms(self, access: str) -> int:
        """Return the milliseconds until an `access` expires that `permits` has accepted."""
        return int(access.split(".")[1]) * 1000 - self._now_ms()

    def _signature(self, key_id: str, stream_id: str, action: str, expires_s: str, floor: str) -> str:
        # The stream id may hold any character, so it comes last: no two permissions have the same text.
        text = f"{_VERSION}\n{action}\n{expires_s}\n{floor}\n{stream_id}"
        digest = hmac.digest(self._keys[key_id], text.encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _checked_key_id(key_id: object) -> str:
    if not isinstance(key_id, str) or _KEY_ID.fullmatch(key_id) is None:
        raise InvalidArgumentError("a key id has 1 to 32 letters, digits, '_' or '-'")
    return key_id


def _checked_key(key: object) -> bytes:
    if not isinstance(key, str | bytes):
        raise TypeError(f"a key must be text or bytes, not {type(key).__name__}; is the secret set?")
    secret = key.encode() if isinstance(key, str) else key
    if len(secret) < MIN_KEY_BYTES:
        raise InvalidArgumentError(f"a key has at least {MIN_KEY_BYTES} bytes; 32 random ones are good")
    return secret
