"""Serve any Worker folder with the real runtime, from tests, benches and the command line.

Example:
    with LocalRuntime(Path("examples/research_agent/wrangler.toml"), persist=tmp_path) as runtime:
        urlopen(runtime.url)
        runtime.kill()      # as a machine fails: SIGKILL to wrangler and workerd at once
        runtime.restart()   # same URL, same state
"""

import atexit
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.error import HTTPError
from urllib.request import urlopen

from tools.staging import follow_edits, stage
from tools.wrangler import apply_migrations, dev_command, wrangler, wrangler_environment

__all__ = ["LocalRuntime", "RuntimeStartError", "apply_migrations", "wrangler"]

GRACE_S = 5.0
READY = "Ready on "
"""The line that wrangler prints when the Worker is loaded. A request would reach the Worker, and might change its data."""

POLL_S = 0.1
EDITS_POLL_S = 0.5
PORT_RELEASE_S = 2.0
TAIL_LINES = 40
MISSING_MODULE = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")
ANSI_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class RuntimeStartError(Exception):
    """The Worker did not come up; the message ends with the last lines that the runtime printed."""


class LocalRuntime:
    """One Worker served on 127.0.0.1. All its processes end with this process, however this one ends."""

    def __init__(
        self,
        config: Path,
        *,
        persist: Path | None = None,
        vars: Mapping[str, str] | None = None,  # noqa: A002 - wrangler's own word
        port: int | None = None,
        ready_path: str | None = None,
        deadline_s: float = 240.0,
        echo: bool = False,
    ) -> None:
        """Prepare a Worker; nothing runs before `start()` or `with`.

        Args:
            config: The Worker's `wrangler.toml`, `.json` or `.jsonc`.
            persist: Folder for D1 and Durable Object state; by default a temporary folder, which `close()` removes.
            vars: Added to the Worker's `[vars]`.
            port: By default a free port. It stays the same over restarts.
            ready_path: Requested once the Worker is loaded, to warm it up. Without it no request reaches the Worker.
            deadline_s: How long one start may take before it counts as failed.
            echo: Print the runtime's output instead of keeping it in `log()`.
        """
        self._config = config
        self._persist = persist
        self._vars = dict(vars or {})
        self._port = port or _free_port()
        self._ready_path = ready_path
        self._deadline_s = deadline_s
        self._echo = echo
        self._begins_at = 0
        self._stage: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address of the Worker, without a slash at the end."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def process_id(self) -> int:
        """The process above all of the runtime's. Only a started runtime has one."""
        if self._process is None:
            raise RuntimeError("this runtime is not started")
        return self._process.pid

    def log(self) -> Path:
        """Return the file with the runtime's output over all restarts. `close()` removes it."""
        return self._staged() / "runtime.log"

    def persist(self) -> Path:
        """Return the folder that holds the state, for `wrangler(..., persist=)`."""
        return self._persist.resolve() if self._persist else self._staged() / "state"

    def start(self) -> None:
        """Serve the Worker and return once it is loaded.

        Raises:
            RuntimeStartError: The port is taken, or it ended, or did not answer before the deadline.
        """
        if self._process is not None:
            raise RuntimeError("this runtime is started already")
        _await_free(self._port)
        folder = self._staged()
        command = dev_command(folder, port=self._port, persist=self.persist(), variables=self._vars)
        supervisor = [sys.executable, str(Path(__file__).with_name("supervisor.py"))]
        with self.log().open("ab") as log:
            self._begins_at = log.tell()
            self._process = subprocess.Popen(
                [*supervisor, *command],
                cwd=folder,
                env=wrangler_environment(folder),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if self._echo:
            threading.Thread(target=self._print_log, args=(self._process,), daemon=True).start()
        try:
            self._await_ready(self._process)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End the Worker as Ctrl-C does."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End the Worker as a failing machine does: SIGKILL to wrangler and workerd at once."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Serve the same staged Worker again, on the same port and the same state."""
        self.stop()
        self.start()

    def wait(self) -> None:
        """Block until the runtime ends by itself. Meanwhile wrangler reloads the Worker after each edit of its folder."""
        while self._process is not None and self._process.poll() is None:
            time.sleep(EDITS_POLL_S)
            follow_edits(self._config, self._staged())

    def close(self) -> None:
        """Stop, and remove the staged copy, its log and a temporary state folder."""
        self.stop()
        atexit.unregister(self.close)
        if self._stage is not None:
            shutil.rmtree(self._stage, ignore_errors=True)
            self._stage = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _staged(self) -> Path:
        if self._stage is None:
            self._stage = stage(self._config)
            atexit.register(self.close)
        return self._stage

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self._deadline_s
        while process.poll() is None:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise self._no_answer()
            if READY in self._printed():
                return self._warm_up(left_s)
            time.sleep(POLL_S)
        raise RuntimeStartError(f"the runtime ended before it answered\n{self._tail()}")

    def _warm_up(self, timeout_s: float) -> None:
        """Send the caller's request, so that the Worker has answered once. Any answer is accepted."""
        if self._ready_path is None:
            return
        try:
            with suppress(HTTPError), urlopen(self.url + self._ready_path, timeout=timeout_s):
                pass
        except TimeoutError:
            raise self._no_answer() from None

    def _no_answer(self) -> RuntimeStartError:
        return RuntimeStartError(f"no answer from {self.url} within {self._deadline_s:.0f} s\n{self._tail()}")

    def _end(self, signal_number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        _signal_group(process, signal_number)
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            _signal_group(process, signal.SIGKILL)
            process.wait()
        if process.stdin is not None:
            process.stdin.close()

    def _printed(self) -> str:
        """Return the runtime's output since its last start."""
        with self.log().open("rb") as log:
            log.seek(self._begins_at)
            return ANSI_COLOUR.sub("", log.read().decode(errors="replace"))

    def _print_log(self, process: subprocess.Popen[bytes]) -> None:
        with self.log().open(errors="replace") as log:
            log.seek(self._begins_at)
            has_ended = False
            while not has_ended:
                has_ended = process.poll() is not None  # checked before the last read, so that no output is lost
                print(log.read(), end="", flush=True)
                time.sleep(POLL_S)

    def _tail(self) -> str:
        text = self._printed()
        lines = "(its output is above)" if self._echo else "\n".join(text.splitlines()[-TAIL_LINES:])
        missing = MISSING_MODULE.findall(text)
        return f"{lines}\n\n{_missing_remedy(missing[-1], self._config)}" if missing else lines


def _missing_remedy(module: str, config: Path) -> str:
    project = config.parent / "pyproject.toml"
    state = "add it to the dependencies in" if project.exists() else "no dependencies are named: make"
    return f"The Worker imports {module!r}, which is not installed for it: {state} {project}."


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def _await_free(port: int) -> None:
    """Refuse a port that another program holds: wrangler would fail, but that program would answer in its place.

    A killed workerd takes a moment to free its port, so a single refusal is not final.
    """
    deadline = time.monotonic() + PORT_RELEASE_S
    while not _is_free(port):
        if time.monotonic() > deadline:
            raise RuntimeStartError(f"port {port} is taken by another program")
        time.sleep(POLL_S)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # The option of servers: connections that a killed server has left do not block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
