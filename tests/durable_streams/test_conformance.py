"""The protocol's contract on sqlite, in process."""

import pytest

from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.testing import FakeClock, LocalObjects
from agents_store_cloudflare.testing.conformance.durable_streams import DurableStreamsConformance


class TestDurableStreams(DurableStreamsConformance):
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def stream_namespace(self, clock: FakeClock) -> LocalObjects:
        return LocalObjects(StreamObject, clock=clock)
