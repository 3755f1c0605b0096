"""Stage a Worker in a folder of its own, so that nothing writes into the user's folder and servers never collide."""

import filecmp
import itertools
import json
import os
import shutil
from pathlib import Path

from tools.places import RUNTIME
from tools.requirements import worker_requirements
from tools.vendor import vendor
from tools.worker_config import STAGED_MAIN, is_python, official_runtime, read_config, staged_config

STAGES = RUNTIME / "stages"
NOT_THE_WORKERS = shutil.ignore_patterns(".*", "__pycache__", "node_modules", "python_modules")
_numbers = itertools.count(1)


def stage(config: Path, *, with_packages: bool = True) -> Path:
    """Return a fresh folder holding a runnable copy of the Worker; this process owns it and removes it."""
    config = config.resolve()
    parsed = read_config(config)
    main = config.parent / parsed["main"]
    folder = STAGES / f"{parsed.get('name', 'worker')}-{os.getpid()}-{next(_numbers)}"
    shutil.rmtree(folder, ignore_errors=True)
    _remove_abandoned()
    shutil.copytree(main.parent, folder / STAGED_MAIN, ignore=NOT_THE_WORKERS)
    if (config.parent / ".dev.vars").exists():
        shutil.copy(config.parent / ".dev.vars", folder)
    generated = staged_config(parsed, config.parent, official=official_runtime())
    (folder / "wrangler.json").write_text(json.dumps(generated, indent=2))
    if with_packages and is_python(parsed):
        vendor(worker_requirements(config, main), folder / "python_modules")
    return folder


def follow_edits(config: Path, folder: Path) -> list[Path]:
    """Copy the latest edits of a Worker's folder into its staged copy. Returns the files that were copied or removed."""
    config = config.resolve()
    source, copy = (config.parent / read_config(config)["main"]).parent, folder / STAGED_MAIN
    there, staged = _files(source), _files(copy)
    changed = [
        name for name in there if name not in staged or not filecmp.cmp(source / name, copy / name, shallow=True)
    ]
    for name in changed:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / name, copy / name)
    gone = sorted(staged - there)
    for name in gone:
        (copy / name).unlink()
    return [*changed, *gone]


def _files(folder: Path) -> set[Path]:
    """Return the files of a Worker's folder, relative to it, without what a staged copy leaves out."""
    found: set[Path] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        left_out = NOT_THE_WORKERS(parent, [*folders, *names])
        folders[:] = [name for name in folders if name not in left_out]
        found |= {(Path(parent) / name).relative_to(folder) for name in names if name not in left_out}
    return found


def _remove_abandoned() -> None:
    """Remove the stages of processes that were killed before they could remove them."""
    for folder in STAGES.glob("*-*-*"):
        owner = int(folder.name.split("-")[-2])
        try:
            os.kill(owner, 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except PermissionError:
            continue
