"""Run a command that never outlives the process that started this one.

The parent holds the other end of this process's standard input. When that end closes, for whatever reason, the whole
process group dies: wrangler, both of its workerd processes and this supervisor.
"""

import os
import signal
import subprocess
import sys
import threading


def _die_with_parent() -> None:
    sys.stdin.buffer.read()
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main() -> None:
    # A handler, since an ignored signal would stay ignored in the child: this process waits, the child ends.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: None)
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    child.wait()
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
