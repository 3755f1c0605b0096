"""How long the long tests are: short in `make test`, at full length in `make soak`."""

import os

__all__ = ["length"]


def length(short: int, long: int) -> int:
    """`long` under `make soak`, `short` otherwise."""
    return long if os.environ.get("SOAK") else short
