"""Signed permissions: what they cover, keys that change, time."""

import hmac
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st

from agents_store_cloudflare import InvalidArgumentError, StreamUrlSigner
from agents_store_cloudflare.testing import FakeClock

OLD, NEW = "an old key of 24 bytes..", b"a new key of 24 bytes..."


def _signer(clock: FakeClock, **keys: str | bytes) -> StreamUrlSigner:
    return StreamUrlSigner(keys or {"k1": OLD}, now_ms=clock.now_ms)


def test_it_covers_stream_action_expiry_and_lowest_position() -> None:
    """GW-9: No part of the signed text can be changed."""
    clock = FakeClock()
    signer = _signer(clock)
    access = signer.sign("s", expires_in=60, from_sequence=5)
    assert signer.permits(access, "s", "read", from_sequence=5)
    assert signer.permits(access, "s", "read", from_sequence=6)
    assert not signer.permits(access, "s", "read", from_sequence=4)
    assert not signer.permits(access, "s", "append", from_sequence=5)
    assert not signer.permits(access, "t", "read", from_sequence=5)
    key_id, expires_s, floor, signature = access.split(".")
    assert floor == "5"
    for forged in (
        f"{key_id}.{int(expires_s) + 60}.{floor}.{signature}",
        f"{key_id}.{expires_s}.4.{signature}",
        f"{key_id}.{expires_s}..{signature}",
        f"k2.{expires_s}.{floor}.{signature}",
        f"{key_id}.{expires_s}.{floor}.{signature[:-1]}",
        f"{key_id}.{expires_s}.{floor}.{'A' * 43}",
        access + "\n",
        f"{key_id}.{expires_s}.{floor}",
        "",
    ):
        assert not signer.permits(forged, "s", "read", from_sequence=5)
    assert signer.permits(signer.sign("s"), "s", "read")


def test_it_expires() -> None:
    """GW-9: It expires after its seconds by the given clock, at most a day from now."""
    clock = FakeClock()
    signer = _signer(clock)
    access = signer.sign("s", expires_in=timedelta(minutes=1))
    clock.set(clock.now_ms() + 59_999)
    assert signer.permits(access, "s", "read")
    clock.set(clock.now_ms() + 1)
    assert not signer.permits(access, "s", "read")
    far = _signer(clock).sign("s", expires_in=86_400)
    assert signer.permits(far, "s", "read")
    clock.set(clock.now_ms() - 5_000)
    assert not signer.permits(far, "s", "read")


def test_keys_change_without_a_break() -> None:
    """GW-9: The first key signs and every key is accepted. A removed key is refused."""
    clock = FakeClock()
    old = _signer(clock, k1=OLD).sign("s")
    both = _signer(clock, k2=NEW, k1=OLD)
    assert both.permits(old, "s", "read")
    new = both.sign("s")
    assert new.startswith("k2.")
    later = _signer(clock, k2=NEW)
    assert later.permits(new, "s", "read")
    assert not later.permits(old, "s", "read")
    assert not _signer(clock, k2=OLD).permits(new, "s", "read")


def test_signatures_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """GW-9: `hmac.compare_digest` compares them, whatever the outcome."""
    compared: list[tuple[Any, Any]] = []
    real = hmac.compare_digest

    def counting(one: str, other: str) -> bool:
        compared.append((one, other))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", counting)
    signer = _signer(FakeClock())
    access = signer.sign("s")
    assert signer.permits(access, "s", "read")
    assert not signer.permits(access, "t", "read")
    assert [one for one, _ in compared] == [access.rsplit(".", 1)[1]] * 2


def test_what_breaks_a_rule_is_refused() -> None:
    """GW-9: A bad key, id, action, span or position gives an error that names it."""
    signer = _signer(FakeClock())
    for options, name in (
        ({"expires_in": 0}, "expires_in"),
        ({"expires_in": 0.5}, "expires_in"),
        ({"expires_in": 86_401}, "expires_in"),
        ({"from_sequence": -1}, "from_sequence"),
        ({"action": "read\nappend"}, "action"),
    ):
        with pytest.raises(InvalidArgumentError, match=name):
            signer.sign("s", **options)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidArgumentError, match="stream_id"):
        signer.sign("a\nb")
    for keys in ({}, {"k1": "short"}, {"k.1": OLD}, {"": OLD}):
        with pytest.raises(InvalidArgumentError, match="key"):
            StreamUrlSigner(keys)
    with pytest.raises(TypeError, match="secret"):
        StreamUrlSigner({"k1": None})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]


@given(st.text(), st.text())
def test_any_text_is_refused_in_peace(access: str, stream_id: str) -> None:
    """GW-9: An unsigned text permits nothing and raises nothing."""
    assert not _signer(FakeClock()).permits(access, stream_id, "read")
