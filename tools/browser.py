"""The browser of the end-to-end tests: a Chromium that an npm package ships, or one that the machine has."""

import os
import shutil
import subprocess
from pathlib import Path

from tools.places import NODE_BIN, ROOT, RUNTIME, exclusive

FOLDER = RUNTIME / "browser"
UNPACK = (
    'import("@sparticuz/chromium").then(async ({default: chromium}) => console.log(await chromium.executablePath()))'
)
INSTALLED = ("chromium", "chromium-browser", "google-chrome")


class BrowserError(Exception):
    """The tests found no browser that they can start on this machine."""


def browser_executable() -> Path:
    """Return the path of a Chromium: the one that `CHROMIUM` names, or the npm package's (Linux, x64), or an installed one.

    Raises:
        BrowserError: there is none.
    """
    if named := os.environ.get("CHROMIUM"):
        return Path(named)
    unpacked = _unpacked()
    if unpacked is not None:
        return unpacked
    for name in INSTALLED:
        if found := shutil.which(name):
            return Path(found)
    raise BrowserError("no Chromium starts here; install one and name it: CHROMIUM=/path/to/chromium make test")


def _unpacked() -> Path | None:
    """Return the npm package's Chromium, unpacked once; None if it does not start."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with exclusive("browser"):
        command = [str(NODE_BIN / "node"), "--input-type=module", "-e", UNPACK]
        environment = {**os.environ, "TMPDIR": str(FOLDER)}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return None
        path = Path(done.stdout.strip())
    started = subprocess.run([str(path), "--version"], capture_output=True, check=False)
    return path if started.returncode == 0 else None
