"""`python -m agents_store_cloudflare.testing.history FILE.jsonl …`: check recorded histories."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.testing.history.checker import check_history
from agents_store_cloudflare.testing.history.operations import read_history

__all__ = ["main"]

MOST_SHOWN = 50


def main(arguments: Sequence[str] | None = None) -> int:
    """Check each file. Return 0 without violations, 1 with violations, and 2 if a file cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m agents_store_cloudflare.testing.history")
    parser.add_argument("file", type=Path, nargs="+", help="a history: JSON Lines, one operation a line")
    return max(_check(path) for path in parser.parse_args(arguments).file)


def _check(path: Path) -> int:
    try:
        operations = read_history(path)
        violations = check_history(operations)
    except (OSError, InvalidArgumentError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 2
    for violation in violations[:MOST_SHOWN]:
        print(f"{path}: {violation}")
    found = "no violation" if not violations else f"violations: {len(violations):,}"
    print(f"{path}: {len(operations):,} operations, {found}")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
