"""The installed package is completely typed, by pyright's own count."""

import os
import subprocess
from pathlib import Path

from tools.places import NODE_BIN, VENV


def test_every_public_symbol_has_a_known_type(tmp_path: Path) -> None:
    """`pyright --verifytypes` finds nothing ambiguous or unknown."""
    done = subprocess.run(
        ["pyright", "--verifytypes", "agents_store_cloudflare", "--ignoreexternal"],
        cwd=tmp_path,  # away from the project's own configuration
        env={
            **os.environ,
            "PATH": f"{VENV / 'bin'}{os.pathsep}{NODE_BIN}{os.pathsep}{os.environ['PATH']}",
            "VIRTUAL_ENV": str(VENV),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "Type completeness score: 100%" in done.stdout
