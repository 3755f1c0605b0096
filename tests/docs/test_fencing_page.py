"""docs/fencing.md does what it says."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/fencing.md"


def test_its_program_runs() -> None:
    """LK-4, ST-11: The page's program shows the refused write, and the stored state."""
    [program] = [
        code
        for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
        if "asyncio.run" in code
    ]
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert re.fullmatch(r"refused: token \d+, the store has seen \d+", first)
    assert second == "B was here"
