"""Enter every platform's binary into package-lock.json, also binaries that the used registry does not have.

npm leaves an optional dependency out of the lock when it cannot fetch its metadata, and `npm ci` then refuses the whole
lock on every platform. Such a package is entered by its exact version, without an integrity hash.
"""

import json
from pathlib import Path
from typing import Any

CPUS = {"64": "x64", "arm64": "arm64", "x64": "x64"}
SYSTEMS = {"darwin": "darwin", "linux": "linux", "windows": "win32"}


def missing_platforms(lock: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the lock entries that workerd's optional dependencies lack, by their path in the lock."""
    packages = lock["packages"]
    entries: dict[str, dict[str, Any]] = {}
    for name, version in packages["node_modules/workerd"].get("optionalDependencies", {}).items():
        path = f"node_modules/{name}"
        if path not in packages:
            _, system, cpu = name.rsplit("-", 2)
            entries[path] = {
                "version": version,
                "cpu": [CPUS[cpu]],
                "dev": True,
                "license": "Apache-2.0",
                "optional": True,
                "os": [SYSTEMS[system]],
                "engines": packages["node_modules/workerd"]["engines"],
            }
    return entries


def main() -> None:
    path = Path(__file__).parents[1] / "package-lock.json"
    lock = json.loads(path.read_text())
    added = missing_platforms(lock)
    lock["packages"] = dict(sorted({**lock["packages"], **added}.items()))
    path.write_text(json.dumps(lock, indent=2) + "\n")
    print("\n".join(f"entered {name} without a hash" for name in added) or "package-lock.json is complete")


if __name__ == "__main__":
    main()
