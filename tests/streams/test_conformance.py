"""The stream contract on sqlite, in process."""

import pytest

from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.streams.options import StreamOptions
from agents_store_cloudflare.testing import FakeClock, LocalObjects
from agents_store_cloudflare.testing.conformance.stream_life import StreamLifeConformance
from agents_store_cloudflare.testing.conformance.stream_readers import StreamReaderConformance
from agents_store_cloudflare.testing.conformance.stream_repeats import StreamRepeatConformance
from agents_store_cloudflare.testing.conformance.streams import StreamConformance


class TestStreams(StreamConformance):
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def stream_namespace(self, clock: FakeClock) -> LocalObjects:
        return LocalObjects(StreamObject, clock=clock)

    @pytest.fixture
    def stream_options(self, clock: FakeClock) -> StreamOptions:
        return StreamOptions(now_ms=clock.now_ms, sleep=clock.sleep)


class TestStreamLife(StreamLifeConformance):
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def stream_namespace(self, clock: FakeClock) -> LocalObjects:
        return LocalObjects(StreamObject, clock=clock)

    @pytest.fixture
    def stream_options(self, clock: FakeClock) -> StreamOptions:
        return StreamOptions(now_ms=clock.now_ms, sleep=clock.sleep)


class TestStreamRepeats(StreamRepeatConformance):
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def stream_namespace(self, clock: FakeClock) -> LocalObjects:
        return LocalObjects(StreamObject, clock=clock)

    @pytest.fixture
    def stream_options(self, clock: FakeClock) -> StreamOptions:
        return StreamOptions(now_ms=clock.now_ms, sleep=clock.sleep)


class TestStreamReaders(StreamReaderConformance):
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def stream_namespace(self, clock: FakeClock) -> LocalObjects:
        return LocalObjects(StreamObject, clock=clock)

    @pytest.fixture
    def stream_options(self, clock: FakeClock) -> StreamOptions:
        return StreamOptions(now_ms=clock.now_ms, sleep=clock.sleep)
