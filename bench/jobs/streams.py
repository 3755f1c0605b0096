"""The jobs on streams."""

from bench.jobs.job import Floor, Job, Preparation, Target
from bench.jobs.material import chunks

__all__ = ["fan_out_job", "replay_job", "write_job"]


def write_job(*, count: int, flush_chunks: int, repetitions: int, target: Target | None = None) -> Job:
    """Write a new stream."""
    stream = chunks(count)
    pieces = "one by one" if flush_chunks == 1 else f"in {flush_chunks}s"
    return Job(
        name=f"stream: write {count:,} chunks {pieces}",
        kind="stream_write",
        repetitions=repetitions,
        input={"chunks": stream, "flushChunks": flush_chunks},
        expected={"chunks": stream},
        floor=Floor(calls=-(-count // flush_chunks)),
        target=target,
    )


def replay_job(*, count: int, repetitions: int, target: Target | None = None) -> Job:
    """Read a stored stream from its beginning."""
    stream = chunks(count)
    stream_id = f"to-replay-{count}"
    return Job(
        name=f"stream: replay {count:,} chunks",
        kind="stream_replay",
        repetitions=repetitions,
        input={"stream": stream_id, "count": count},
        expected={"chunks": stream},
        floor=Floor(calls=1),
        target=target,
        preparations=(Preparation(kind="stream", input={"stream": stream_id, "chunks": stream}),),
    )


def fan_out_job(*, readers: int, repetitions: int, target: Target | None = None) -> Job:
    """Append one chunk. The job is done when the last of the live readers has it. They are on hibernating WebSockets."""
    [chunk] = chunks(1)
    return Job(
        name=f"stream: one chunk to {readers:,} live readers",
        kind="fan_out",
        repetitions=repetitions,
        input={"readers": readers, "chunk": chunk},
        expected={"chunks": [chunk] * readers},
        floor=Floor(calls=1),
        target=target,
    )
