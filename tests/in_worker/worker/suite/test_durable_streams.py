"""The Durable Streams protocol in real Durable Objects."""

from typing import Any

import pytest

from agents_store_cloudflare.bindings import as_namespace
from agents_store_cloudflare.objects import ObjectNamespace
from agents_store_cloudflare.testing import SystemClock
from agents_store_cloudflare.testing.durable_streams_conformance import DurableStreamsConformance, Reply


class TestDurableStreams(DurableStreamsConformance):
    @pytest.fixture
    def clock(self) -> SystemClock:
        return SystemClock()

    @pytest.fixture
    def stream_namespace(self, env: Any) -> ObjectNamespace:
        return as_namespace(env.STREAMS)

    async def whole(self, answer: Any) -> Reply:
        if not hasattr(answer, "arrayBuffer"):
            return await super().whole(answer)
        from js import Object

        headers = Object.fromEntries(answer.headers).to_py()
        return Reply(answer.status, headers, (await answer.arrayBuffer()).to_bytes())
