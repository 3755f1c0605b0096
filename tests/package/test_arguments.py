"""Spans of time, ids and tokens are checked in one place."""

from datetime import timedelta

import pytest

from agents_store_cloudflare.contract.arguments import check_fencing_token, check_id, check_whole_number, span_ms
from agents_store_cloudflare.contract.errors import InvalidArgumentError


def test_spans() -> None:
    """Seconds, timedeltas and the `_ms` twin mean the same; both at once are a TypeError."""
    assert (
        span_ms(1.5, None, "ttl") == span_ms(timedelta(seconds=1.5), None, "ttl") == span_ms(None, 1500, "ttl") == 1500
    )
    assert span_ms(None, None, "ttl") is None
    with pytest.raises(TypeError, match="not both"):
        span_ms(1, 1000, "ttl")
    with pytest.raises(TypeError, match="ttl_ms must be a number, not timedelta; give a timedelta as ttl"):
        span_ms(None, timedelta(seconds=1.5), "ttl")  # type: ignore[arg-type]


def test_a_span_that_looks_like_milliseconds() -> None:
    """A span over its bound is refused with its unit named."""
    with pytest.raises(InvalidArgumentError, match="seconds; for milliseconds use flush_interval_ms"):
        span_ms(100, None, "flush_interval", most_seconds=60)


@pytest.mark.parametrize("bad", [-1, float("nan"), float("inf")])
def test_spans_that_are_none(bad: float) -> None:
    """Negative and infinite spans are refused."""
    with pytest.raises(InvalidArgumentError, match="ttl"):
        span_ms(bad, None, "ttl")


@pytest.mark.parametrize("bad", [True, "1", []])
def test_wrong_types(bad: object) -> None:
    """A bool, a text or a list does not count as a number."""
    with pytest.raises(TypeError):
        span_ms(bad, None, "ttl")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        check_whole_number(bad, "n")
    with pytest.raises(TypeError):
        check_id(bad if bad != "1" else 1, "id")


def test_a_lock_is_its_token() -> None:
    """Any object with a `fencing_token` may replace the number."""

    class Held:
        fencing_token = 7

    assert check_fencing_token(Held()) == 7  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="fencing_token"):
        check_fencing_token("7")  # type: ignore[arg-type]
