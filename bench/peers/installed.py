"""The npm packages of the peers, and the Worker that is bundled with them."""

import shutil
import subprocess
from pathlib import Path

from tools.places import NODE_BIN, RUNTIME, exclusive, fingerprint

__all__ = ["INSTALLED", "agents_worker", "installed"]

HERE = Path(__file__).parent
LOCKED = ("package.json", "package-lock.json")
SOURCES = HERE / "agents_worker"
INSTALLED = RUNTIME / "peers"
REQUIRE = 'import { createRequire } from "node:module"; const require = createRequire("/");'


def agents_worker() -> Path:
    """Return the configuration of the bundled Worker that uses Cloudflare's `agents`. Installs the packages when the lock changed."""
    installed()
    with exclusive("peers"):
        worker = INSTALLED / "agents_worker"
        shutil.rmtree(worker, ignore_errors=True)
        shutil.copytree(SOURCES, INSTALLED / "source", dirs_exist_ok=True)
        _bundle(INSTALLED / "source" / "chat.js", worker / "chat.js")
        shutil.copy(SOURCES / "wrangler.toml", worker)
    return worker / "wrangler.toml"


def installed() -> None:
    """Install the packages if the lock has changed since the last time."""
    with exclusive("peers"):
        _install()


def _install() -> None:
    INSTALLED.mkdir(parents=True, exist_ok=True)
    stamp, key = INSTALLED / "stamp", fingerprint(paths=[HERE / name for name in LOCKED])
    if stamp.exists() and stamp.read_text() == key:
        return
    print("bench: installing the peers' packages …", flush=True)
    for name in LOCKED:
        shutil.copy(HERE / name, INSTALLED)
    command = ["npm", "ci", "--legacy-peer-deps", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(command, cwd=INSTALLED, check=True)
    stamp.write_text(key)


def _bundle(source: Path, target: Path) -> None:
    """One module. `mime-types` asks for "path" by its old name."""
    command = [
        str(NODE_BIN / "esbuild"),
        str(source),
        "--bundle",
        "--format=esm",
        "--target=es2022",
        f"--outfile={target}",
    ]
    command += ["--external:cloudflare:*", "--external:node:*", "--alias:path=node:path", f"--banner:js={REQUIRE}"]
    subprocess.run([*command, "--conditions=workerd,worker,import", "--log-level=error"], check=True)
