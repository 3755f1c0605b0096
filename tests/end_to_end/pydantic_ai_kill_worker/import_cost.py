"""What a framework's import brings in, the first time in a Worker's life."""

import importlib
import sys
import time

__all__ = ["import_cost"]

_costs: dict[str, float] = {}


def import_cost(*names: str) -> dict[str, float]:
    """Import modules; how many came with them the first time, and how many seconds that took."""
    if not _costs:
        before, begin_s = len(sys.modules), time.time()
        for name in names:
            importlib.import_module(name)
        _costs.update(modules=len(sys.modules) - before, seconds=time.time() - begin_s)
    return _costs
