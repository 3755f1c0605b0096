"""Read a Worker's wrangler configuration and turn it into the one that a staged copy runs with."""

import json
import os
import re
import tomllib
from copy import deepcopy
from pathlib import Path
from typing import Any

# The locally assembled bundle is workerd's `dev` bundle. These flags select it instead of the bundle that the compatibility date
# implies. They must never reach a deployed Worker.
LOCAL_FLAGS = (
    "python_workers_development",
    "experimental",
    "no_python_workers_20250116",
    "no_python_workers_20260610",
    "no_python_workers_314",
)
STAGED_MAIN = "worker"
CONFIG_NAMES = ("wrangler.toml", "wrangler.jsonc", "wrangler.json")
_STRING_OR_COMMENT = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_STRING_OR_LAST_COMMA = re.compile(r'("(?:\\.|[^"\\])*")|,(?=\s*[}\]])')


class ConfigError(Exception):
    """The wrangler configuration cannot be served by the local runtime."""


def official_runtime() -> bool:
    """Return whether `RUNTIME=official` asks for the stock runtime, downloaded by wrangler itself."""
    runtime = os.environ.get("RUNTIME", "local")
    if runtime not in {"local", "official"}:
        raise ConfigError(f"RUNTIME is {runtime!r}; it may be 'local' (the default) or 'official'.")
    return runtime == "official"


def config_file(path: Path) -> Path:
    """Return the configuration file of `path`: the file itself, or the file in a Worker's folder."""
    if not path.is_dir():
        return path
    for name in CONFIG_NAMES:
        if (path / name).is_file():
            return path / name
    raise ConfigError(
        f"{path} has none of {', '.join(CONFIG_NAMES)}; CONFIG names a Worker's folder or its wrangler.toml."
    )


def read_config(path: Path) -> dict[str, Any]:
    """Return the parsed configuration from `wrangler.toml`, `.json` or `.jsonc`, with `main` checked to exist."""
    if not path.is_file():
        raise ConfigError(f"{path} does not exist; CONFIG names the wrangler.toml of a Worker folder.")
    text = path.read_text()
    if path.suffix == ".toml":
        config = tomllib.loads(text)
    else:
        config = json.loads(_STRING_OR_LAST_COMMA.sub(r"\1", _STRING_OR_COMMENT.sub(r"\1", text)))
    if not (path.parent / config.get("main", "")).is_file():
        raise ConfigError(f"{path}: `main` = {config.get('main')!r} is not a file.")
    if "build" in config:
        raise ConfigError(f"{path}: a [build] section is not supported: the local runtime vendors packages itself.")
    return config


def is_python(config: dict[str, Any]) -> bool:
    """Return whether the Worker's entry module is Python; a JavaScript Worker is served as it is."""
    return str(config["main"]).endswith(".py")


def staged_config(config: dict[str, Any], folder: Path, *, official: bool) -> dict[str, Any]:
    """Return the configuration for a staged copy: same Worker, paths that still lead to `folder`, local flags added."""
    staged = deepcopy(config)
    staged["main"] = f"{STAGED_MAIN}/{Path(config['main']).name}"
    for section in [staged, *staged.get("env", {}).values()]:
        _point_back(section, folder)
        inherits = section is not staged and "compatibility_flags" not in section
        if is_python(config) and not official and not inherits:
            flags = section.get("compatibility_flags", [])
            section["compatibility_flags"] = list(dict.fromkeys([*flags, *LOCAL_FLAGS]))
    return staged


def _point_back(section: dict[str, Any], folder: Path) -> None:
    for database in section.get("d1_databases", []):
        migrations = folder / database.get("migrations_dir", "migrations")
        if migrations.is_dir():
            database["migrations_dir"] = str(migrations)
    if "directory" in section.get("assets", {}):
        section["assets"]["directory"] = str(folder / section["assets"]["directory"])
