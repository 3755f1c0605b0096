"""What `make serve` is asked for is checked before anything starts."""

import subprocess
from pathlib import Path

import pytest

from tools.serve import main

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--port", "0"], "'0' is no port from 1 to 65535"),
        (["--port", "65536"], "'65536' is no port"),
        (["--port=-1"], "'-1' is no port"),
        (["--port", "eight"], "'eight' is no port"),
        (["--var", "TOKEN_DELAY"], "'TOKEN_DELAY' is no KEY:VALUE"),
        (["--var", ":1"], "':1' is no KEY:VALUE"),
    ],
)
def test_wrong_options_are_named(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The reason is one line."""
    with pytest.raises(SystemExit) as ended:
        main(["--config", "nowhere", *arguments])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("target", ["serve", "lock-worker"])
def test_a_folder_may_have_a_space(target: str) -> None:
    """make hands the folder on as one word."""
    done = subprocess.run(
        ["make", "-n", target, "CONFIG=../my agent", "PERSIST=a b"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "'../my agent'" in done.stdout
    assert target != "serve" or "--persist 'a b'" in done.stdout
