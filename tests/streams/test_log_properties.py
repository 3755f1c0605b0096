"""`StreamLog` against a model that is a dict: random appends, repetitions, reads, the whole life, reopenings and crashes."""

from typing import Any

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agents_store_cloudflare.contract.errors import (
    SequenceConflictError,
    StaleFencingTokenError,
    StreamClosedError,
    StreamNotFoundError,
    StreamTruncatedError,
)
from agents_store_cloudflare.contract.json_values import encode_json
from agents_store_cloudflare.streams.blocks import MAX_BLOCK_BYTES
from agents_store_cloudflare.streams.commits import Commit
from agents_store_cloudflare.streams.head import Retention
from agents_store_cloudflare.streams.log import CEILING_STEP, StreamLog
from agents_store_cloudflare.testing import SqliteObjectSql
from tests.lengths import length

FLUSHES = st.tuples(st.sampled_from(["w1", "w2", "w3"]), st.integers(1, 3))
OFF_BY = st.sampled_from([None, 0, 0, 1, -1])
TOKENS = st.none() | st.integers(1, 4)
CHUNKS = st.lists(
    st.one_of(st.text(st.characters(codec="utf-8")), st.integers(), st.builds(lambda: "x" * 140_000)),
    min_size=1,
    max_size=6,
)
RETENTION = Retention(after_end_ms=1_000, idle_ms=10_000)


class LogMachine(RuleBasedStateMachine):
    """The model: each number's chunk, each flush's result, the highest token, the status, and the chunks that are only shown."""

    @initialize()
    def begin(self) -> None:
        self.now_ms = 1_700_000_000_000
        self.changed_ms = self.now_ms
        self.sql = SqliteObjectSql()
        self.log = StreamLog(self.sql, "s")
        self.log.create(now_ms=self.now_ms, retention=RETENTION)
        self.chunks: dict[int, str] = {}
        self.first = 1
        self.last = 0
        self.results: dict[tuple[str, int], int] = {}
        self.bodies: dict[tuple[str, int], str] = {}
        self.newest: dict[str, int] = {}
        self.shown: list[tuple[str, int]] = []
        self.token: int | None = None
        self.status = "active"
        self.outcome: tuple[str, str] | None = None
        self.exists = True
        self.names = 0

    @rule()
    def reopen(self) -> None:
        """Restart. After a crash the only-shown chunks are gone and their numbers are not used again. Otherwise nothing changes."""
        had_ceiling, last = self.log.has_held(), self.last
        self.log = StreamLog(self.sql, "s")
        for flush in self.shown:
            end = self.results.pop(flush)
            for sequence in range(end - self.bodies.pop(flush).count("\n"), end + 1):
                del self.chunks[sequence]
            self.newest[flush[0]] = max((n for w, n in self.results if w == flush[0]), default=0)
        self.shown = []
        if had_ceiling:
            self.last = self.log.existing_head().last_sequence
            assert last <= self.last <= last + CEILING_STEP

    @rule(token=TOKENS)
    def create_again(self, token: int | None) -> None:
        if self._is_stale(token):
            self._refused(StaleFencingTokenError, lambda: self.log.create(now_ms=self.now_ms, fencing_token=token))
            return
        if not self.exists or (token or 0) > (self.token or 0):
            self._settled()
        self.log.create(now_ms=self.now_ms, fencing_token=token, retention=RETENTION)
        self.token = token or self.token
        if not self.exists:
            self.exists, self.changed_ms = True, self.now_ms

    @rule(flush=FLUSHES, values=CHUNKS, token=TOKENS, off_by=OFF_BY, is_held=st.booleans())
    def append(
        self, flush: tuple[str, int], values: list[Any], token: int | None, off_by: int | None, is_held: bool
    ) -> None:
        self.now_ms += 1
        writer, skip = flush
        texts = [encode_json(value, name="value") for value in values]
        number = self.newest.get(writer, 0) + skip
        expected = None if off_by is None else self.last + 1 + off_by
        arguments: dict[str, Any] = {"writer": writer, "writer_sequence": number, "now_ms": self.now_ms}
        arguments |= {"fencing_token": token, "expected_sequence": expected, "is_held": is_held}

        def call() -> int:
            return self.log.append("\n".join(texts), **arguments).last_sequence

        if not self.exists:
            self._refused(StreamNotFoundError, call)
        elif self._is_stale(token):
            self._refused(StaleFencingTokenError, call)
        elif self.status != "active":
            self._refused(StreamClosedError, call)
        elif off_by:
            self._refused(SequenceConflictError, call)
        else:
            for text in texts:
                self.last += 1
                self.chunks[self.last] = text
            assert call() == self.last
            self.token, self.changed_ms = token or self.token, self.now_ms
            self.newest[writer] = number
            self.results[writer, number] = self.last
            self.bodies[writer, number] = "\n".join(texts)
            self.shown.append((writer, number))
            if not is_held or sum(len(self.bodies[flush]) for flush in self.shown) >= MAX_BLOCK_BYTES:
                self._settled()

    @precondition(lambda self: self.exists and self.shown)
    @rule()
    def store(self) -> None:
        assert self.log.store_held(now_ms=self.now_ms) is True
        self._settled()

    @precondition(lambda self: self.exists and not self.shown)
    @rule()
    def rest(self) -> None:
        """Pass time without new chunks, so that the ceiling falls. From then on a restart skips no number."""
        assert self.log.store_held(now_ms=self.now_ms) is False
        assert not self.log.has_held()

    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        newest = [flush for flush in sorted(self.results) if self.newest[flush[0]] == flush[1]]
        known = [flush for flush in newest if flush in self.bodies]
        if known and self.exists:
            writer, number = data.draw(st.sampled_from(known))
            again = self.log.append(
                self.bodies[writer, number], writer=writer, writer_sequence=number, now_ms=self.now_ms, is_held=True
            )
            assert again.is_repetition
            assert again.last_sequence == self.results[writer, number]

    @rule(status=st.sampled_from(["completed", "stopped"]), output=st.sampled_from(["null", '{"a":1}']), token=TOKENS)
    def end(self, status: str, output: str, token: int | None) -> None:
        def call() -> bool:
            return self.log.end(status=status, output=output, now_ms=self.now_ms, fencing_token=token)

        if self.exists and self.outcome is not None and not self._is_stale(token):
            if self.outcome == (status, output):
                self._does_nothing(call, token)
            else:
                self._refused(StreamClosedError, call)
        # Otherwise most runs end at once.
        elif (not self.exists or self._is_stale(token) or self.last > 8) and self._does(call, token):
            self.status, self.outcome = "ended", (status, output)

    @rule(token=TOKENS, to_paused=st.booleans())
    def pause_or_resume(self, token: int | None, to_paused: bool) -> None:
        call = self.log.pause if to_paused else self.log.resume
        wanted = "paused" if to_paused else "active"

        def change() -> bool:
            return call(now_ms=self.now_ms, fencing_token=token)

        if self.exists and self.outcome is not None and not self._is_stale(token):
            self._refused(StreamClosedError, change)
        elif self.exists and self.status == wanted:
            self._does_nothing(change, token)
        elif self._does(change, token):
            self.status = wanted

    @rule(token=TOKENS, is_deletion=st.booleans())
    def empty(self, token: int | None, is_deletion: bool) -> None:
        self.names += 1
        commit, call = Commit(f"n{self.names}"), self.log.delete if is_deletion else self.log.reset

        def change() -> bool:
            return call(commit=commit, now_ms=self.now_ms, fencing_token=token)

        if self._does(change, token):
            self._emptied(exists=not is_deletion)
            assert change() is False

    @precondition(lambda self: self.exists)
    @rule(token=TOKENS, data=st.data())
    def truncate(self, token: int | None, data: st.DataObject) -> None:
        floor = data.draw(st.integers(1, self.last + 3))

        def change() -> bool:
            return self.log.truncate(first_sequence=floor, now_ms=self.now_ms, fencing_token=token)

        if min(floor, self.last + 1) <= self.first:
            self._does_nothing(change, token)
        elif self._does(change, token, is_change_of_time=False):
            self.first = min(floor, self.last + 1)
            self.chunks = {sequence: text for sequence, text in self.chunks.items() if sequence >= self.first}

    @rule(span_ms=st.sampled_from([0, 500, 1_500]))
    def expire(self, span_ms: int) -> None:
        """Check that the stream is gone after its time since the end, or after the longer one since the last change."""
        self.now_ms += span_ms
        if self.exists:
            due_ms = self.changed_ms + (10_000 if self.outcome is None else 1_000)
            assert self.log.expire(now_ms=self.now_ms) is (self.now_ms >= due_ms)
            if self.now_ms >= due_ms:
                self._emptied(exists=False)

    @rule(data=st.data(), max_bytes=st.sampled_from([1, 50, 300_000, 10_000_000]))
    def read(self, data: st.DataObject, max_bytes: int) -> None:
        position = data.draw(st.integers(0, self.last))
        if not self.exists:
            self._refused(StreamNotFoundError, lambda: self.log.read(position, max_bytes=max_bytes))
            return
        if position < self.first - 1:
            self._refused(StreamTruncatedError, lambda: self.log.read(position, max_bytes=max_bytes))
            return
        seen: dict[int, str] = {}
        at = position
        while at < self.last:
            page = self.log.read(at, max_bytes=max_bytes)
            assert page.first_sequence > at
            texts = page.body.split("\n") if page.count else []
            assert len(texts) == page.count
            assert texts or page.last_sequence == self.last
            seen |= dict(enumerate(texts, page.first_sequence))
            at = page.last_sequence
        assert seen == {sequence: text for sequence, text in self.chunks.items() if sequence > position}

    @invariant()
    def head_agrees(self) -> None:
        assert (self.log.head() is not None) == self.exists
        if not self.exists:
            return
        head = self.log.existing_head()
        assert (head.first_sequence, head.last_sequence) == (self.first, self.last)
        assert (head.fencing_token, head.status) == (self.token, self.status)
        assert head.is_closed == (self.outcome is not None)
        assert self.log.chunk_count() == len(self.chunks)
        ends = {writer: self.results[writer, n] for writer, n in self.newest.items() if (writer, n) in self.results}
        assert self.log.writer_count() == sum(end >= self.first for end in ends.values())
        if not self.log.has_held():
            assert head == StreamLog(self.sql, "s").existing_head()

    def teardown(self) -> None:
        self.sql.close()

    def _does(self, call: Any, token: int | None, *, is_change_of_time: bool = True) -> bool:
        """Return whether a change that the stream's state allows has happened. Check that any other change is refused rightly."""
        if not self.exists:
            self._refused(StreamNotFoundError, call)
        elif self._is_stale(token):
            self._refused(StaleFencingTokenError, call)
        else:
            assert call() is True
            self.token = token or self.token
            self._settled()
            if is_change_of_time:
                self.changed_ms = self.now_ms
            return True
        return False

    def _does_nothing(self, call: Any, token: int | None) -> None:
        """Check that the call changes at most the fence."""
        if self._is_stale(token):
            self._refused(StaleFencingTokenError, call)
            return
        if (token or 0) > (self.token or 0):
            self._settled()
        assert call() is False
        self.token = token or self.token

    def _settled(self) -> None:
        if self.shown:
            self.changed_ms = max(self.changed_ms, self.now_ms)
        self.shown = []

    def _emptied(self, *, exists: bool) -> None:
        self.chunks, self.first = {}, self.last + 1
        self.status, self.outcome, self.exists = "active", None, exists
        self.changed_ms = self.now_ms
        self._settled()

    def _is_stale(self, token: int | None) -> bool:
        return token is not None and self.token is not None and token < self.token

    def _refused(self, error: type[Exception], call: Any) -> None:
        before = self.log.head()
        try:
            call()
        except error:
            assert self.log.head() == before
        else:
            raise AssertionError(f"{error.__name__} was not raised")


LogMachine.TestCase.settings = settings(max_examples=length(60, 300), stateful_step_count=length(30, 60), deadline=None)
TestLog = LogMachine.TestCase
