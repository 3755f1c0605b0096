"""Streams in real Durable Objects."""

from typing import Any

import pytest

from agents_store_cloudflare.cloudflare.namespace import as_namespace
from agents_store_cloudflare.objects import ObjectNamespace
from agents_store_cloudflare.testing import SystemClock
from agents_store_cloudflare.testing.conformance.stream_life import StreamLifeConformance
from agents_store_cloudflare.testing.conformance.stream_readers import StreamReaderConformance
from agents_store_cloudflare.testing.conformance.stream_repeats import StreamRepeatConformance
from agents_store_cloudflare.testing.conformance.streams import StreamConformance


class TestStreams(StreamConformance):
    @pytest.fixture
    def clock(self) -> SystemClock:
        return SystemClock()

    @pytest.fixture
    def stream_namespace(self, env: Any) -> ObjectNamespace:
        return as_namespace(env.STREAMS)


class TestStreamLife(StreamLifeConformance):
    @pytest.fixture
    def clock(self) -> SystemClock:
        return SystemClock()

    @pytest.fixture
    def stream_namespace(self, env: Any) -> ObjectNamespace:
        return as_namespace(env.STREAMS)


class TestStreamRepeats(StreamRepeatConformance):
    others = ("pause", "reset, then write", "delete, then write")

    @pytest.fixture
    def clock(self) -> SystemClock:
        return SystemClock()

    @pytest.fixture
    def stream_namespace(self, env: Any) -> ObjectNamespace:
        return as_namespace(env.STREAMS)


class TestStreamReaders(StreamReaderConformance):
    @pytest.fixture
    def clock(self) -> SystemClock:
        return SystemClock()

    @pytest.fixture
    def stream_namespace(self, env: Any) -> ObjectNamespace:
        return as_namespace(env.STREAMS)
