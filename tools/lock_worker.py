"""Write a Worker's `requirements.lock`: every package that its `pyproject.toml` needs inside Pyodide, with hashes."""

import sys
from pathlib import Path

from tools.requirements import ALWAYS, OWN_PACKAGE, nearest_pyproject, project_dependencies
from tools.vendor import resolve
from tools.worker_config import read_config


def main() -> int:
    config = Path(sys.argv[1]).resolve()
    project = nearest_pyproject(config.parent, (config.parent / read_config(config)["main"]).parent)
    if project is None:
        print(f"lock_worker: no pyproject.toml between {config.parent} and its entry module", file=sys.stderr)
        return 1
    wanted = [line for name, line in project_dependencies(project).items() if name != OWN_PACKAGE]
    pins = resolve([*wanted, *(f"{name}=={version}" for name, (version, _) in ALWAYS.items())])
    lock = project.with_name("requirements.lock")
    heading = "# Wheels for Pyodide (CPython 3.14, Emscripten). Regenerate with `make lock-worker CONFIG=…`.\n"
    lock.write_text(heading + "\n".join(pins) + "\n")
    print(f"lock_worker: {lock} holds {len(pins)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
