"""`StreamLog` against a model that is a list: random appends, repetitions, reads, ends, reopenings."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agents_store_cloudflare.errors import (
    SequenceConflictError,
    StaleFencingTokenError,
    StreamClosedError,
)
from agents_store_cloudflare.json_values import encode_json
from agents_store_cloudflare.streams.log import StreamLog
from agents_store_cloudflare.testing import SqliteObjectSql
from tests.lengths import length

WRITERS = st.sampled_from(["w1", "w2", "w3"])
OFF_BY = st.sampled_from([None, 0, 0, 1, -1])
TOKENS = st.none() | st.integers(1, 4)
CHUNKS = st.lists(
    st.one_of(st.text(st.characters(codec="utf-8")), st.integers(), st.builds(lambda: "x" * 140_000)),
    min_size=1,
    max_size=6,
)


class LogMachine(RuleBasedStateMachine):
    """The model: chunks in order, each flush's result, the highest token, the outcome."""

    @initialize()
    def create(self) -> None:
        self.now_ms = 1_700_000_000_000
        self.sql = SqliteObjectSql()
        self.log = StreamLog(self.sql, "s")
        self.log.create(now_ms=self.now_ms)
        self.chunks: list[str] = []
        self.results: dict[tuple[str, int], int] = {}
        self.bodies: dict[tuple[str, int], str] = {}
        self.newest: dict[str, int] = {}
        self.token: int | None = None
        self.outcome: tuple[str, str] | None = None

    @rule()
    def reopen(self) -> None:
        self.log = StreamLog(self.sql, "s")

    @rule(token=TOKENS)
    def create_again(self, token: int | None) -> None:
        if self._is_stale(token):
            self._refused(StaleFencingTokenError, lambda: self.log.create(now_ms=self.now_ms, fencing_token=token))
        else:
            self.log.create(now_ms=self.now_ms, fencing_token=token)
            self.token = token or self.token

    @rule(writer=WRITERS, values=CHUNKS, skip=st.integers(1, 3), token=TOKENS, off_by=OFF_BY)
    def append(self, writer: str, values: list[Any], skip: int, token: int | None, off_by: int | None) -> None:
        self.now_ms += 1
        texts = [encode_json(value, name="value") for value in values]
        number = self.newest.get(writer, 0) + skip
        expected = None if off_by is None else len(self.chunks) + 1 + off_by
        arguments: dict[str, Any] = {"writer": writer, "writer_sequence": number, "now_ms": self.now_ms}
        arguments |= {"fencing_token": token, "expected_sequence": expected}

        def call() -> int:
            return self.log.append("\n".join(texts), **arguments).last_sequence

        if self._is_stale(token):
            self._refused(StaleFencingTokenError, call)
        elif self.outcome is not None:
            self._refused(StreamClosedError, call)
        elif off_by:
            self._refused(SequenceConflictError, call)
        else:
            self.chunks += texts
            assert call() == len(self.chunks)
            self.token = token or self.token
            self.newest[writer] = number
            self.results[writer, number] = len(self.chunks)
            self.bodies[writer, number] = "\n".join(texts)

    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        if self.results:
            writer, number = data.draw(st.sampled_from(sorted(self.results)))
            body = self.bodies[writer, number]
            again = self.log.append(body, writer=writer, writer_sequence=number, now_ms=self.now_ms)
            assert again.is_repetition
            assert again.last_sequence == self.results[writer, number]

    @rule(status=st.sampled_from(["completed", "stopped"]), output=st.sampled_from(["null", '{"a":1}']), token=TOKENS)
    def end(self, status: str, output: str, token: int | None) -> None:
        def call() -> bool:
            return self.log.end(status=status, output=output, now_ms=self.now_ms, fencing_token=token)

        if self.outcome is not None:
            if self.outcome == (status, output):
                assert call() is False
            else:
                self._refused(StreamClosedError, call)
        elif self._is_stale(token):
            self._refused(StaleFencingTokenError, call)
        elif len(self.chunks) > 8:  # otherwise most runs end at once
            assert call() is True
            self.outcome = (status, output)
            self.token = token or self.token

    @rule(data=st.data(), max_bytes=st.sampled_from([1, 50, 300_000, 10_000_000]))
    def read(self, data: st.DataObject, max_bytes: int) -> None:
        position = data.draw(st.integers(0, len(self.chunks)))
        seen: list[str] = []
        while position + len(seen) < len(self.chunks):
            page = self.log.read(position + len(seen), max_bytes=max_bytes)
            assert page.first_sequence == position + len(seen) + 1
            texts = page.body.split("\n")
            assert len(texts) == page.count > 0
            seen += texts
        assert seen == self.chunks[position:]

    @invariant()
    def head_agrees(self) -> None:
        head = self.log.existing_head()
        assert head.last_sequence == len(self.chunks)
        assert head.fencing_token == self.token
        assert (head.status == "ended") == (self.outcome is not None)
        assert head == StreamLog(self.sql, "s").existing_head()
        assert self.log.writer_count() == len(self.newest)

    def teardown(self) -> None:
        self.sql.close()

    def _is_stale(self, token: int | None) -> bool:
        return token is not None and self.token is not None and token < self.token

    def _refused(self, error: type[Exception], call: Any) -> None:
        before = self.log.existing_head()
        try:
            call()
        except error:
            assert self.log.existing_head() == before
        else:
            raise AssertionError(f"{error.__name__} was not raised")


LogMachine.TestCase.settings = settings(
    max_examples=length(30, 1_000), stateful_step_count=length(25, 100), deadline=None
)
TestLog = LogMachine.TestCase
