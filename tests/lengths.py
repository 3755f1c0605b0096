"""How long the long tests are: short in `make test`, at full length in `make soak`."""

import os

__all__ = ["length", "rounds"]


def length(short: int, long: int) -> int:
    """`long` under `make soak`, `short` otherwise."""
    return long if os.environ.get("SOAK") else short


def rounds(short: int, long: int) -> int:
    """As `length`, for tests that kill the runtime again and again. `ROUNDS` in the environment names another number."""
    return int(os.environ.get("ROUNDS") or length(short, long))
