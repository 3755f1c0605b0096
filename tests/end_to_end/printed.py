"""Commands as pages print them: each is run, and must print what the page shows below it."""

import re
import subprocess

__all__ = ["run_printed"]

COMMAND = re.compile(r"\$ (curl [^\n]+)\n((?:(?!\$ |```)[^\n]*\n)*)")
TIME_IS_UP = 28
"""curl's status after --max-time, which ends a stream that stays open."""


def run_printed(text: str, url: str) -> int:
    """Run the curl lines of a page against a Worker at `url`, and return their number. "…" stands for anything."""
    commands = COMMAND.findall(text)
    for command, expected in commands:
        line = re.sub(r"http://localhost:\d+", url, command)
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode in (0, TIME_IS_UP), f"{command}\n{done.stderr}"
        place = 0
        for part in expected.strip().split("…"):
            found = done.stdout.find(part.strip(), place)
            assert found >= 0, f"{command}\nlacks {part!r}:\n{done.stdout}{done.stderr}"
            place = found + len(part.strip())
    return len(commands)
