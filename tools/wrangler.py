"""Run wrangler as the local runtime needs it: its own Node, no questions, no telemetry, nothing shared."""

import os
import shutil
import subprocess
from pathlib import Path

from tools.places import NODE_BIN, ROOT
from tools.staging import stage
from tools.worker_config import official_runtime, read_config

QUIET = {
    "CI": "1",
    "WRANGLER_SEND_METRICS": "false",
    "WRANGLER_SEND_ERROR_REPORTS": "false",
    "WRANGLER_HIDE_BANNER": "true",
    # Without this every start tries to fetch `request.cf` from the network and warns when it cannot.
    "CLOUDFLARE_CF_FETCH_ENABLED": "false",
}


class WranglerError(Exception):
    """A wrangler command failed. The message holds its whole output."""


def wrangler_environment(stage_folder: Path) -> dict[str, str]:
    """Return the environment in which wrangler runs Node 22 and the assembled Python runtime."""
    environment = {**os.environ, **QUIET, "PATH": f"{NODE_BIN}{os.pathsep}{os.environ.get('PATH', '')}"}
    # Two Workers of one name may run at once: neither may find the other in wrangler's registry.
    environment["WRANGLER_REGISTRY_PATH"] = str(stage_folder / ".registry")
    environment["WRANGLER_LOG_PATH"] = str(stage_folder / ".logs")
    # Its temporary files are removed with the stage, even if it is killed.
    environment["TMPDIR"] = str(stage_folder / ".tmp")
    (stage_folder / ".tmp").mkdir(exist_ok=True)
    environment.pop("MINIFLARE_WORKERD_PATH", None)
    if not official_runtime():
        environment["MINIFLARE_WORKERD_PATH"] = str(ROOT / "tools" / "workerd")
    return environment


def dev_command(stage_folder: Path, *, port: int, persist: Path, variables: dict[str, str]) -> list[str]:
    """Return the command line that serves a staged Worker."""
    command = [str(NODE_BIN / "wrangler"), "dev", "--config", str(stage_folder / "wrangler.json")]
    command += ["--ip", "127.0.0.1", "--port", str(port), "--inspector-port", "0", "--persist-to", str(persist)]
    command += ["--show-interactive-dev-session=false"]
    for key, value in variables.items():
        command += ["--var", f"{key}:{value}"]
    return command


def wrangler(*args: str, config: Path, persist: Path) -> str:
    """Run one wrangler command against a Worker's configuration and state, and return what it printed.

    Example:
        wrangler("d1", "execute", "DB", "--local", "--command", "SELECT 1", config=config, persist=persist)

    Raises:
        WranglerError: The command failed.
    """
    folder = stage(config, with_packages=False)
    try:
        command = [str(NODE_BIN / "wrangler"), *args, "--config", str(folder / "wrangler.json")]
        command += ["--persist-to", str(persist.resolve())]
        done = subprocess.run(
            command, cwd=folder, env=wrangler_environment(folder), capture_output=True, text=True, check=False
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if done.returncode != 0:
        raise WranglerError(f"`wrangler {' '.join(args)}` failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def apply_migrations(config: Path, persist: Path) -> None:
    """Bring every D1 database whose configuration names a `migrations_dir` up to date in the local state."""
    for database in read_config(config).get("d1_databases", []):
        if "migrations_dir" in database:
            wrangler("d1", "migrations", "apply", database["binding"], "--local", config=config, persist=persist)
