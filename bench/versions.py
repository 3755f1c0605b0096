"""Another version of the package beside this one: its own bench Worker, of its own checkout, in the same pairs."""

import shutil
import subprocess
import sys
import tarfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from statistics import median

from bench.findings import Published
from bench.jobs import Job
from bench.running import run_jobs
from bench.sections import measured_on, row
from bench.verdicts import milliseconds
from bench.workers import BenchError
from tools.places import ROOT, RUNTIME, VENV_PYTHON, exclusive

__all__ = ["checked_out", "is_address", "named", "run_versions", "served_at", "versions_entry", "versions_section"]

LINKED = (".venv", "node_modules", ".runtime/pyodide")
"""What both checkouts share: the pinned tools and the runtime."""

SERVES = """
import sys
from pathlib import Path
from tools.local_runtime import LocalRuntime
with LocalRuntime(Path("bench/python_worker/wrangler.toml").resolve()) as runtime:
    print(runtime.url, flush=True)
    sys.stdin.read()
"""
HEAD = "| job | other version | this version | ratio | lowest–highest |\n|---|--:|--:|--:|--:|"


def run_versions(jobs: Sequence[Job], pairs: int, against: str) -> tuple[Published, list[str]]:
    """Every job by both versions.

    Args:
        against: a git ref of this repository, such as the tag of the last release; or the address of a served Worker.
    """
    with served_at(against) as url:
        entries, failures = run_jobs(jobs, pairs, url)
    found, failures = versions_entry(jobs, entries, failures)
    return {"rounds": pairs, **named(against), **found}, failures


def versions_entry(
    jobs: Sequence[Job], entries: Sequence[Published], failures: list[str]
) -> tuple[Published, list[str]]:
    """The compared jobs, as a published run has them. A job that is newer than the other version is named, and hides no other.

    Returns:
        The jobs; the errors if there is none.
    """
    if not entries:
        return {}, failures
    for failure in failures:
        print(f"bench: not compared: {failure}", file=sys.stderr)
    compared = {entry["name"] for entry in entries}
    return {"jobs": list(entries), "leftOut": [job.name for job in jobs if job.name not in compared]}, []


def named(against: str, root: Path = ROOT) -> Published:
    """Say what the other version is: its commit and that commit's date, and whether anything is released yet.

    Args:
        against: an address, of which nothing more is known, or a git ref.
        root: the checkout.
    """
    if is_address(against):
        return {"against": against}
    commit, date = _git(root, "log", "-1", "--format=%h %cs", against, "--").split()
    return {"against": against, "commit": commit, "date": date, "isReleased": bool(_git(root, "tag", "--list"))}


def is_address(against: str) -> bool:
    """Return whether `--against` names a served Worker, not a git ref."""
    return against.startswith(("http://", "https://"))


@contextmanager
def served_at(against: str) -> Generator[str]:
    """Give the address of the other version's Worker. The Worker of a git ref is built and served inside the block.

    Raises:
        BenchError: there is no such ref, or its Worker did not start.
    """
    if is_address(against):
        yield against
        return
    command = [str(VENV_PYTHON), "-c", SERVES]
    with subprocess.Popen(
        command, cwd=checked_out(against), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield _address(process, against)
        finally:
            process.communicate()  # its standard input ends, and so does the Worker


def checked_out(ref: str, root: Path = ROOT, places: Path = RUNTIME / "versions") -> Path:
    """Return a folder with the files of a git ref, which uses this checkout's tools and runtime.

    Args:
        ref: a commit, a branch or a tag.
        root: the checkout.
        places: the folder of such folders.

    Raises:
        BenchError: there is no such ref.
    """
    command = ["git", "rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}"]
    found = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if found.returncode:
        raise BenchError(f"--against takes an address or a git ref; {ref!r} is neither: {found.stderr.strip()}")
    commit = found.stdout.strip()
    folder = places / commit
    with exclusive("versions"):
        if not folder.exists():
            files = subprocess.run(["git", "archive", commit], cwd=root, capture_output=True, check=True).stdout
            unfinished = folder.with_suffix(".part")
            shutil.rmtree(unfinished, ignore_errors=True)  # of a call that was interrupted
            with tarfile.open(fileobj=BytesIO(files)) as archive:
                archive.extractall(unfinished, filter="data")
            (unfinished / ".runtime").mkdir()
            for name in LINKED:
                (unfinished / name).symlink_to(root / name)
            unfinished.rename(folder)
    return folder


def versions_section(run: Published) -> str:
    """What the other version is, the jobs that changed in every pair, and one table."""
    lines = [f"{measured_on(run)} {_other(run)} {_changed(run['jobs'])}", "", HEAD, *map(_version_row, run["jobs"])]
    if run.get("leftOut"):
        lines += ["", f"Not compared, since one of the two cannot do it: {'; '.join(run['leftOut'])}."]
    return "\n".join(lines)


def _other(run: Published) -> str:
    if "commit" not in run:
        return f"The other version is `{run['against']}`."
    against, commit = run["against"], run["commit"]
    is_same = against.startswith(commit) or commit.startswith(against)
    name = f"`{against}`" if is_same else f"`{against}`, commit `{commit}`"
    unreleased = "" if run["isReleased"] else " No version is released yet, so an earlier commit stands in its place."
    return f"The other version is {name} of {run['date']}.{unreleased}"


def _changed(entries: Sequence[Published]) -> str:
    """The middle of the ratios, and the jobs whose pairs all say the same."""
    slower = [entry["name"] for entry in entries if entry["ratio"]["lowest"] > 1]
    faster = [entry["name"] for entry in entries if entry["ratio"]["highest"] < 1]
    middle = median(entry["ratio"]["median"] for entry in entries)
    return (
        f"Below 1 this version is faster; the middle of {len(entries)} jobs is **{middle:.2f}**. "
        f"Slower in every pair: {'; '.join(slower) or 'none'}. Faster in every pair: {'; '.join(faster) or 'none'}."
    )


def _version_row(entry: Published) -> str:
    ratio = entry["ratio"]
    times = [f"{milliseconds(entry[side]['medianMs'])} ms" for side in ("javascript", "python")]
    return row([entry["name"], *times, f"**{ratio['median']:.2f}**", f"{ratio['lowest']:.2f}–{ratio['highest']:.2f}"])


def _address(process: "subprocess.Popen[str]", ref: str) -> str:
    for line in process.stdout or ():
        if is_address(line):
            return line.strip()
        print(f"bench: {ref}: {line}", end="", flush=True)
    raise BenchError(f"the Worker of {ref} did not start; its output stands above")


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()
