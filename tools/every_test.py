"""Run every test: the whole suite on this Python and, beside it, the host tests on the other Pythons.

Each of the two keeps one core busy, and the suite also waits for Workers, so together they take little longer than the suite alone.
The suite's output is shown, so that pytest's summary comes last. The other's output is in a file, shown if it failed.
"""

import subprocess
import sys
import threading

from tools.places import ROOT, RUNTIME

LOG = RUNTIME / "host_tests.log"


def main() -> int:
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with LOG.open("w") as output:
        command = [sys.executable, "-m", "tools.host_tests"]
        beside = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        teller = threading.Thread(target=_tell_the_end, args=(beside,))
        teller.start()
        try:
            code = subprocess.run([sys.executable, "-m", "pytest"], cwd=ROOT, check=False).returncode
        except BaseException:
            beside.terminate()
            raise
        teller.join()
    if beside.returncode != 0:
        print(LOG.read_text(), flush=True)
        print(f"host tests on another Python failed with exit code {beside.returncode}; see above", file=sys.stderr)
    return code or beside.returncode


def _tell_the_end(beside: subprocess.Popen[bytes]) -> None:
    """Print the last line of the other run as soon as it ends. This is long before the suite's summary."""
    beside.wait()
    *_, last = ["", *LOG.read_text().splitlines()]
    print(f"\n{last}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
