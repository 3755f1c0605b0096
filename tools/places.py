"""The places of generated files, a lock for concurrent processes, and a fingerprint of their sources."""

import fcntl
import hashlib
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUNTIME = ROOT / ".runtime"
NODE_MODULES = ROOT / "node_modules"
NODE_BIN = NODE_MODULES / ".bin"
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
BUNDLE = RUNTIME / "pyodide" / "pyodide_dev.capnp.bin"


@contextmanager
def exclusive(name: str) -> Generator[None, None, None]:
    """Hold the machine-wide lock to generate `name`. A second process waits, and then finds it made."""
    folder = RUNTIME / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def out_of_date(stamp: Path, key: str) -> Generator[bool, None, None]:
    """Give the block whether `stamp` names another key. If the block does not raise, the stamp names this key afterwards.

    Args:
        stamp: the file.
        key: a `fingerprint` of all that the made thing depends on.
    """
    is_old = not stamp.exists() or stamp.read_text() != key
    yield is_old
    if is_old:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(key)


def fingerprint(*texts: str, paths: Iterable[Path] = ()) -> str:
    """Return a short hash of the texts and of every file (name and content) under the paths that exist."""
    digest = hashlib.sha256("\0".join(texts).encode())
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"\0{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]
