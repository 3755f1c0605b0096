"""Start the example Worker and run the published suite and both published clients against it, then the clients of the AI SDK and of AG-UI
against a chat Worker, then the suite of LangGraph on `D1Saver`, then the stores of the harness of pydantic-ai beside its own, then the
kits that compare an adapter's store with that of its framework.

`python -m conformance [vitest arguments]`, e.g. `-t "Long-Poll"`. The first run installs their packages below
`.runtime/conformance`, from the locks of this folder.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from conformance.environments import run_alone
from conformance.kits import kits
from conformance.langgraph_suite import langgraph
from tools.local_runtime import LocalRuntime
from tools.npm_packages import LOCK_FILES, install_npm_packages
from tools.places import NODE_BIN, ROOT, RUNTIME, exclusive, fingerprint, out_of_date

HERE = Path(__file__).parent
INSTALLED = RUNTIME / "conformance"
VENV = INSTALLED / "venv"
LOCKED = (*LOCK_FILES, "requirements.lock")
PROGRAMS = ("suite.test.mjs", "typescript_client.mjs", "ai_client.mjs", "ag_ui_client.mjs")
CONFIG = ROOT / "examples/durable_streams/wrangler.toml"
PAGES = ROOT / "tests/end_to_end/ui_worker/wrangler.toml"
VARIABLES = {"LONG_POLL_S": "4", "SUBSCRIPTIONS": "development"}
WHOLE_SUITE = 338
TEST_TIMEOUT_MS = "60000"


def main() -> int:
    with exclusive("conformance"):
        _install()
        environment = {**os.environ, "PATH": f"{NODE_BIN}:{os.environ['PATH']}"}
        with LocalRuntime(CONFIG, vars=VARIABLES) as runtime:
            environment["STREAMS_URL"] = runtime.url
            is_suite_passed = _suite(environment, sys.argv[1:])
            are_clients_served = _clients(environment) if len(sys.argv) == 1 else True
        is_page_served = _page(environment) if len(sys.argv) == 1 else True
        is_graph_kept = langgraph() if len(sys.argv) == 1 else True
        is_harness_served = run_alone(HERE / "pydantic_ai_harness/kit.py") if len(sys.argv) == 1 else True
        are_kits_passed = kits() if len(sys.argv) == 1 else True
    is_passed = [is_suite_passed, are_clients_served, is_page_served, is_graph_kept, is_harness_served, are_kits_passed]
    return 0 if all(is_passed) else 1


def _install() -> None:
    """Install the suite and the clients if the locks have changed since the last time."""
    key = fingerprint(sys.version, paths=[HERE / name for name in LOCKED])
    with out_of_date(INSTALLED / "stamp", key) as is_old:
        if is_old:
            print("conformance: installing the published suite and clients …", flush=True)
            install_npm_packages(HERE, INSTALLED)
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
            install = [str(VENV / "bin/python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
            subprocess.run([*install, "--require-hashes", "-r", str(HERE / "requirements.lock")], check=True)
    for name in PROGRAMS:
        shutil.copy(HERE / name, INSTALLED / name)


def _suite(environment: dict[str, str], arguments: list[str]) -> bool:
    """Return whether every test passed. Without arguments, all tests must exist and run."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        reporters = ["--reporter=default", "--reporter=json", f"--outputFile.json={report}"]
        timeouts = ["--testTimeout", TEST_TIMEOUT_MS, "--hookTimeout", TEST_TIMEOUT_MS]
        command = [
            str(INSTALLED / "node_modules/.bin/vitest"),
            "run",
            "suite.test.mjs",
            *reporters,
            *timeouts,
            *arguments,
        ]
        subprocess.run(command, cwd=INSTALLED, env=environment, check=False)
        counts: dict[str, int] = json.loads(report.read_text()) if report.exists() else {}
    passed, failed = counts.get("numPassedTests", 0), counts.get("numFailedTests", 0)
    print(
        f"conformance: {passed} of {counts.get('numTotalTests', 0)} tests of the suite passed, {failed} failed",
        flush=True,
    )
    return failed == 0 and passed > 0 and (bool(arguments) or passed == WHOLE_SUITE)


def _clients(environment: dict[str, str]) -> bool:
    """Return whether both clients succeeded."""
    commands = (
        [str(NODE_BIN / "node"), str(INSTALLED / "typescript_client.mjs")],
        [str(VENV / "bin/python"), str(HERE / "python_client.py")],
    )
    codes = [subprocess.run(command, env=environment, check=False).returncode for command in commands]
    return codes == [0, 0]


def _page(environment: dict[str, str]) -> bool:
    """Return whether the clients of the AI SDK and of AG-UI got each complete message."""
    with LocalRuntime(PAGES) as runtime:
        told = {**environment, "CHAT_URL": runtime.url}
        commands = [[str(NODE_BIN / "node"), str(INSTALLED / name)] for name in ("ai_client.mjs", "ag_ui_client.mjs")]
        return [subprocess.run(command, env=told, check=False).returncode for command in commands] == [0, 0]


if __name__ == "__main__":
    sys.exit(main())
