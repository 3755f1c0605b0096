"""The published Python client: creates, appends, follows live by SSE and long-poll, resumes. Runs in an environment of its own."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from durable_streams import DurableStream, StreamExistsError, StreamNotFoundError, stream

ROOT = f"{os.environ['STREAMS_URL']}/v1/stream"
NAME = f"python-{time.time_ns()}"


def followed(url: str, offset: str, live: str, count: int) -> tuple[list[Any], str]:
    """Return the first `count` items, and the offset after them."""
    items: list[Any] = []
    place = offset
    with stream(url, offset=offset, live=live, timeout=20.0) as response:
        for batch in response.iter_events(mode="json"):
            items += batch.data
            place = batch.next_offset
            if len(items) >= count:
                break
    return items, place


def numbers(*values: int) -> list[dict[str, int]]:
    return [{"n": value} for value in values]


def later(act: Iterator[object]) -> threading.Thread:
    """Call the function after a moment, while a reader waits for its effect."""

    def run() -> None:
        time.sleep(0.5)
        for _ in act:
            pass

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def main() -> int:
    url = f"{ROOT}/{NAME}"
    with DurableStream.create(url, content_type="application/json") as handle:
        for value in (1, 2):
            handle.append({"n": value})
        assert followed(url, "-1", "sse", 2)[0] == numbers(1, 2)
        writing = later(handle.append({"n": value}) for value in (3, 4))
        items, place = followed(url, "-1", "sse", 4)
        writing.join()
        assert items == numbers(1, 2, 3, 4), items
        writing = later(handle.append({"n": value}) for value in (5, 6))
        items, place = followed(url, place, "long-poll", 2)
        writing.join()
        assert items == numbers(5, 6), items
        with stream(url, offset=place, live=False) as response:
            assert response.read_json() == []
        with stream(url, live=False) as response:
            assert response.read_json() == numbers(1, 2, 3, 4, 5, 6)
        try:
            DurableStream.create(url, content_type="text/plain")
        except StreamExistsError:
            pass
        else:
            raise AssertionError("a stream of another type was created over this one")
        handle.delete()
    try:
        stream(url, live=False)
    except StreamNotFoundError:
        pass
    else:
        raise AssertionError("a deleted stream was read")
    print("python client: created, appended, followed by SSE and long-poll, resumed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
