"""The protocol against a model of lists: producers in and out of order, closures, forks, expiry, deletions, restarts."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from agents_store_cloudflare import DurableStreams, HttpRequest, StreamGateway, StreamObject
from agents_store_cloudflare.durable_streams.offsets import offset_of
from agents_store_cloudflare.testing import FakeClock, LocalObjects
from tests.lengths import length

PREFIX = "/v1/stream/"
JSON = {"content-type": "application/json"}
TTL_S = 100
PATHS = st.sampled_from(["a", "a", "a", "b", "b", "c", "d"])
VALUES = st.lists(
    st.integers() | st.text(st.characters(codec="utf-8"), max_size=5) | st.just({"type": "x"}), min_size=1, max_size=4
)
STORED, DUPLICATE, MALFORMED, STALE, NOT_FOUND, CONFLICT, GONE, TRY_AGAIN = 200, 204, 400, 403, 404, 409, 410, 503


@dataclass
class Path:
    """The model of a path: its values, from the number `first` on, or no values if there is no stream."""

    values: list[Any] | None = None
    first: int = 1
    last: int = 0
    has_ttl: bool = False
    is_closed: bool = False
    source: str | None = None
    forks: set[str] = field(default_factory=set[str])
    producers: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])

    has_lost_forks: bool = False

    def offset(self, sequence: int) -> str:
        """Return an offset. A stream whose path was used before has its own start offset."""
        return offset_of(sequence, is_start=self.source is None and 0 < sequence == self.first - 1)

    def is_absent(self, status: int) -> bool:
        """Return whether the answer is right for a missing stream. A deleted stream holds its path as long as it has forks.

        That a fork has expired it hears when somebody reads, creates or deletes it: until then appends hear what was so before.
        """
        return status == (GONE if self.forks else NOT_FOUND) or (self.has_lost_forks and status == GONE)


class ProtocolMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.clock = FakeClock()
        self.objects = LocalObjects(StreamObject, clock=self.clock)
        face = DurableStreams(self.objects, long_poll_timeout=0)
        self.gateway = StreamGateway(self.objects, authorize=lambda _request, _stream_id, _action: True, faces=[face])
        self.paths = {name: Path() for name in "abcd"}
        for name in "ab":
            self._create(name, [], has_ttl=False, is_closed=False)

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.objects.close()
            self.loop.close()

    def ask(self, method: str, path: str, body: str = "", headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
        url = f"https://streams.example{PREFIX}{path}"
        request = HttpRequest(method=method, url=url, body=body.encode(), headers={**JSON, **(headers or {})})
        answer: Any = self.loop.run_until_complete(self.gateway.handle(request))
        if answer.status == TRY_AGAIN and method == "PUT":
            answer = self.loop.run_until_complete(self.gateway.handle(request))
        return answer.status, answer.body

    @rule(
        name=PATHS,
        values=VALUES | st.just([]),
        has_ttl=st.booleans(),
        is_closed=st.sampled_from([False, False, False, False, True]),
    )
    def create(self, name: str, values: list[Any], *, has_ttl: bool, is_closed: bool) -> None:
        self._create(name, values, has_ttl=has_ttl, is_closed=is_closed)

    def _create(self, name: str, values: list[Any], *, has_ttl: bool, is_closed: bool) -> None:
        path = self.paths[name]
        headers = {"stream-ttl": str(TTL_S)} if has_ttl else {}
        status, _ = self.ask("PUT", name, json.dumps(values), headers | {"stream-closed": str(is_closed).lower()})
        if path.values is not None:
            is_alike = (path.has_ttl, path.is_closed, path.source) == (has_ttl, is_closed, None)
            assert status == (STORED if is_alike else CONFLICT)
        elif path.forks:
            assert status == CONFLICT
        else:
            assert status == 201
            self.paths[name] = Path(
                values=list(values),
                first=path.last + 1,
                last=path.last + len(values),
                has_ttl=has_ttl,
                is_closed=is_closed,
            )

    @rule(name=PATHS, values=VALUES, closes=st.sampled_from([False] * 9 + [True]))
    def append(self, name: str, values: list[Any], *, closes: bool) -> None:
        path = self.paths[name]
        status, _ = self.ask("POST", name, json.dumps(values), {"stream-closed": str(closes).lower()})
        if path.values is None:
            assert path.is_absent(status)
        elif path.is_closed:
            assert status == CONFLICT
        else:
            assert status == 204
            self._add(path, values)
            path.is_closed = closes

    @rule(
        name=PATHS,
        values=VALUES,
        producer=st.sampled_from(["p", "p", "p", "q 1"]),
        epochs=st.sampled_from([0, 0, 0, 0, 0, 0, 1, -1]),
        numbers=st.sampled_from([1, 1, 1, 0, 0, 2, -1]),
    )
    def produce(self, name: str, values: list[Any], producer: str, epochs: int, numbers: int) -> None:
        """Append with the next number, an earlier one, or one too many, in this epoch, the next or the last."""
        path = self.paths[name]
        epoch, newest = path.producers.get(producer, (-1, -1))
        asked_epoch = max(epoch + epochs, 0)
        number = max((newest if asked_epoch == epoch else -1) + numbers, 0)
        headers = {"producer-id": producer, "producer-epoch": str(asked_epoch), "producer-seq": str(number)}
        status, _ = self.ask("POST", name, json.dumps(values), headers)
        if path.values is None:
            assert path.is_absent(status)
        elif path.is_closed:
            is_repetition = asked_epoch == epoch and number <= newest
            assert status == (DUPLICATE if is_repetition else CONFLICT)
        elif asked_epoch < epoch:
            assert status == STALE
        elif asked_epoch > epoch and number != 0 and epoch >= 0:
            assert status == MALFORMED
        elif asked_epoch == epoch and number <= newest:
            assert status == DUPLICATE
        elif number > (newest if asked_epoch == epoch else -1) + 1:
            assert status == CONFLICT
        else:
            assert status == STORED
            self._add(path, values)
            path.producers[producer] = asked_epoch, number

    @rule(name=st.sampled_from(["b", "c", "d"]))
    def close(self, name: str) -> None:
        path = self.paths[name]
        status, _ = self.ask("POST", name, "", {"stream-closed": "true"})
        assert path.is_absent(status) if path.values is None else status == 204
        path.is_closed = path.is_closed or path.values is not None

    @rule(name=PATHS, source_name=PATHS, back=st.integers(0, 3))
    def fork(self, name: str, source_name: str, back: int) -> None:
        path, source = self.paths[name], self.paths[source_name]
        if path.values is not None or name == source_name:
            return  # another rule's: what is there stays
        sequence = max(source.last - back, source.first - 1)
        headers = {"stream-forked-from": PREFIX + source_name, "stream-fork-offset": source.offset(sequence)}
        status, _ = self.ask("PUT", name, "", headers)
        if source.values is None:
            assert status in (NOT_FOUND, CONFLICT)
        elif path.forks or path.last:
            assert status == CONFLICT
        else:
            assert status == 201
            source.forks.add(name)
            values = source.values[: sequence - source.first + 1]
            self.paths[name] = Path(
                values=values, first=source.first, last=sequence, has_ttl=source.has_ttl, source=source_name
            )

    @rule(name=st.sampled_from(["b", "b", "c", "d", "a"]))
    def delete(self, name: str) -> None:
        path = self.paths[name]
        status, _ = self.ask("DELETE", name)
        assert path.is_absent(status) if path.values is None else status == 204
        self._end(name)

    @rule()
    def expire(self) -> None:
        """Let twice the time to live pass without a reader."""
        self.loop.run_until_complete(self.clock.advance(2 * TTL_S))
        for name, path in self.paths.items():
            if path.has_ttl:
                self._end(name)
        for path in self.paths.values():
            path.has_lost_forks = path.values is None

    @rule()
    def reopen(self) -> None:
        """Restart all objects, as a deploy does. They lose their memory."""
        self.objects.restart()

    @rule(name=PATHS, ahead=st.integers(0, 5))
    def read(self, name: str, ahead: int) -> None:
        """Read from any place, and compare with the model."""
        path = self.paths[name]
        sequence = min(path.first - 1 + ahead, path.last)
        status, body = self.ask("GET", f"{name}?offset={path.offset(sequence)}")
        if path.values is None:
            assert path.is_absent(status)
        else:
            assert (status, json.loads(body)) == (200, path.values[sequence - path.first + 1 :])

    @staticmethod
    def _add(path: Path, values: list[Any]) -> None:
        assert path.values is not None
        path.values += values
        path.last += len(values)

    def _end(self, name: str) -> None:
        """Note that a stream is gone. Its source is released if nothing else holds it."""
        path = self.paths[name]
        if path.values is not None:
            self.paths[name] = Path(last=path.last, source=path.source, forks=path.forks)
            self._let_go(name)

    def _let_go(self, name: str) -> None:
        path = self.paths[name]
        if path.values is None and not path.forks and path.source is not None:
            source, path.source = path.source, None
            self.paths[source].forks.discard(name)
            self._let_go(source)


TestProtocolMachine = ProtocolMachine.TestCase
TestProtocolMachine.settings = settings(
    max_examples=length(150, 1_000), stateful_step_count=length(40, 60), deadline=None
)
