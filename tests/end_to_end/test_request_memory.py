"""The memory of the whole runtime while it takes the largest bodies: one, and two at once."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.end_to_end.durable_client import Streams
from tests.end_to_end.test_stream_load import memory_fields
from tools.local_runtime import LocalRuntime

pytestmark = [
    pytest.mark.runtime,
    pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's peaks of memory"),
]

CONFIG = Path(__file__).parents[2] / "examples/durable_streams/wrangler.toml"
TEXT = {"Content-Type": "text/plain"}
MEGABYTE = 1024 * 1024
BODY = "é" * (8 * MEGABYTE)
BODY_MB = 16


def _forget_peaks() -> None:
    for pid in memory_fields("VmRSS"):
        with suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text("5")


def _growth_mb(before: dict[int, float]) -> float:
    """The most that the processes of the runtime held since `_forget_peaks`, beyond what they held before."""
    return sum(peak - before.get(pid, 0) for pid, peak in memory_fields("VmHWM").items())


@pytest.mark.parametrize("bodies", [1, 2])
def test_the_memory_of_the_largest_bodies(tmp_path: Path, bodies: int) -> None:
    """DS-13: the process grows by less than four times the bodies, the platform's own copies of them included."""
    with LocalRuntime(CONFIG, persist=tmp_path, vars={"LONG_POLL_S": "2"}) as runtime:
        streams = Streams(runtime.url)
        for number in range(bodies):
            assert streams.create(f"s{number}", headers=TEXT).status == 201
            # What the runtime loads with its first large body is no part of a request.
            assert streams.append(f"s{number}", "x" * 2 * MEGABYTE, headers=TEXT).status == 204
        before = memory_fields("VmRSS")
        _forget_peaks()
        with ThreadPoolExecutor(bodies) as pool:
            sent = [pool.submit(streams.append, f"s{number}", BODY, TEXT) for number in range(bodies)]
            answers = [each.result().status for each in sent]
        growth_mb = _growth_mb(before)
    assert answers == [204] * bodies
    print(f"{bodies} bodies of {BODY_MB} MB: {growth_mb:.0f} MB, {growth_mb / BODY_MB / bodies:.2f} times the bodies")
    assert growth_mb < 4 * BODY_MB * bodies
