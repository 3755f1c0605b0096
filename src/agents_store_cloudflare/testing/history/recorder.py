"""Writes a history while it happens."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock as Mutex
from types import TracebackType
from typing import Self

from agents_store_cloudflare.testing.history.operations import Kind, Outcome, Value

__all__ = ["Recorder"]


class Recorder:
    """Appends operations to a file, also from several threads.

    Call `start = recorder.now()` before a call, and record its outcome afterwards:

        >>> start = recorder.now()
        >>> try:
        ...     await state_store.save_state(session_id, state, fencing_token=lock)
        ... except StaleFencingTokenError:
        ...     outcome = "refused"
        ... except AgentsStoreError as error:
        ...     outcome = "unknown" if error.outcome_unknown else "refused"
        ... else:
        ...     outcome = "ok"
        >>> recorder.add("write", outcome, start, resource=session_id, token=lock.fencing_token, value=value)

    Args:
        path: the file, which is made if it does not exist.
        now: the clock of `start` and `end`. It must never go back.
    """

    def __init__(self, path: str | Path, *, now: Callable[[], int] = time.monotonic_ns) -> None:
        self.now = now
        self._file = Path(path).open("a", encoding="utf-8")  # noqa: SIM115 - the file stays open until `close`
        self._mutex = Mutex()
        self.count: int = 0

    def add(
        self,
        op: Kind,
        outcome: Outcome,
        start: int,
        *,
        key: str | None = None,
        resource: str | None = None,
        session: str | None = None,
        token: int | None = None,
        value: Value = None,
        values: Sequence[Value] | None = None,
        valid_until: int | None = None,
        clock: int | None = None,
        client: str | None = None,
    ) -> None:
        """Append one operation, which ends now. A field that is None is left out, except `value`."""
        given = {
            "key": key,
            "resource": resource,
            "session": session,
            "token": token,
            "values": values,
            "valid_until": valid_until,
            "clock": clock,
            "client": client,
        }
        fields: dict[str, object] = {"op": op, "outcome": outcome, "start": start, "end": self.now()}
        fields |= {name: each for name, each in given.items() if each is not None}
        if op in ("write", "read", "enter", "commit", "close"):
            fields["value"] = value
        line = json.dumps(fields, ensure_ascii=False) + "\n"
        with self._mutex:
            self._file.write(line)
            self.count += 1

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
