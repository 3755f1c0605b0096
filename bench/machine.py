"""The machine and the versions that the numbers depend on."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tools.places import NODE_MODULES

__all__ = ["machine", "versions"]

NPM_PACKAGES = ("workerd", "wrangler", "pyodide")


def machine() -> dict[str, Any]:
    """Return the facts of the machine that the numbers depend on, without names and paths."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "loadBefore": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    """Return the versions of the package, of the runtime and of its tools."""
    node = {name: json.loads((NODE_MODULES / name / "package.json").read_text())["version"] for name in NPM_PACKAGES}
    return {"agents-store-cloudflare": version("agents-store-cloudflare"), **node}


def _cpu_model() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or "unknown"
