"""The npm packages of the peers, and the Worker that is bundled with them."""

import shutil
import subprocess
from pathlib import Path

from tools.npm_packages import LOCK_FILES, install_npm_packages
from tools.places import NODE_BIN, RUNTIME, exclusive, fingerprint, out_of_date

__all__ = ["INSTALLED", "agents_worker", "installed"]

HERE = Path(__file__).parent
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
    key = fingerprint(paths=[HERE / name for name in LOCK_FILES])
    with exclusive("peers"), out_of_date(INSTALLED / "stamp", key) as is_old:
        if is_old:
            print("bench: installing the peers' packages …", flush=True)
            install_npm_packages(HERE, INSTALLED, "--legacy-peer-deps")


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
