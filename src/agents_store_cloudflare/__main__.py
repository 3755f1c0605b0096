"""`python -m agents_store_cloudflare`."""

from __future__ import annotations

import sys

from agents_store_cloudflare.command import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
