"""Stands in for an agent. The same task always gets the same steps."""

from collections.abc import Iterator

__all__ = ["steps_of"]

STEPS = (
    "Read the task: {task}",
    "Collect what is known.",
    "Compare the sources.",
    "Write a draft.",
    "Check the draft.",
    "Done: {task}",
)


def steps_of(task: str) -> Iterator[str]:
    """Yield one sentence for each step."""
    for step in STEPS:
        yield step.format(task=task)
