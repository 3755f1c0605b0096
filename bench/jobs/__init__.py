"""The jobs: the input of both Workers, and the result that both must read back."""

from bench.jobs.job import TABLES, Floor, Job, Preparation, Target
from bench.jobs.others import lock_job, rollup_job, step_job, usage_job, waiters_job
from bench.jobs.state import checkpoint_job, load_job, page_job, promote_job, save_job
from bench.jobs.streams import fan_out_job, replay_job, write_job

__all__ = ["TABLES", "Floor", "Job", "Preparation", "Target", "all_jobs"]

ONE_STATEMENT = "with one statement for all"
SINGLE_CALL = Target(ratio=1.3, over="floor")


def all_jobs() -> list[Job]:
    """Return every job, in the order of the table."""
    save_20 = save_job(added=20, repetitions=20, target=Target(ratio=0.95))
    page = page_job(
        "page of 50 at message 10,000", count=12_000, offset=10_000, repetitions=40, target=Target(ratio=0.5)
    )
    write = write_job(count=1_000, flush_chunks=50, repetitions=3, target=Target(ratio=0.8))
    usage = usage_job(count=100, repetitions=10, target=Target(ratio=1.0))
    return [
        save_job(added=1, repetitions=40, target=SINGLE_CALL),
        save_20,
        save_20.beside_tuned(ONE_STATEMENT),
        load_job(count=200, repetitions=20, target=Target(ratio=1.5)),
        page_job("page of 50, the first", count=12_000, offset=0, repetitions=40, target=SINGLE_CALL),
        page,
        page.beside_tuned("by sequence"),
        checkpoint_job(stored=20, repetitions=20),
        promote_job(calls=5, repetitions=20),
        write,
        write.beside_tuned(ONE_STATEMENT),
        write_job(count=1_000, flush_chunks=1, repetitions=1),
        replay_job(count=1_000, repetitions=20, target=Target(ratio=1.0)),
        replay_job(count=10_000, repetitions=3),
        fan_out_job(readers=100, repetitions=20, target=Target(ratio=1.2)),
        lock_job(repetitions=40, target=SINGLE_CALL),
        waiters_job(waiters=100, repetitions=2),
        usage,
        usage.beside_tuned(ONE_STATEMENT),
        rollup_job(count=100_000, repetitions=40),
        step_job(chunk_count=400, repetitions=3, target=Target(ratio=1.0)),
    ]
