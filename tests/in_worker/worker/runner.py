"""pytest inside the Worker: runs node ids on the real bindings and collects the reports."""

import contextlib
import inspect
import io
import sys
from pathlib import Path
from typing import Any

import pytest
from pyodide.ffi import run_sync

WORKER = Path(__file__).parent
# A Worker has no folder to cache in, no file descriptors to capture, no signals to dump a traceback at.
OPTIONS = (
    *("--rootdir", str(WORKER), "-p", "no:cacheprovider", "-p", "no:faulthandler", "--capture=sys"),
    # Frameworks bring plugins of pytest along.
    "--disable-plugin-autoload",
    # The conformance classes drop writers and locks on purpose, as Workers that die do.
    *("-W", "error", "-W", "ignore::ResourceWarning", "--strict-markers", "-q"),
)


class _Plugin:
    """Gives the tests their bindings, runs async ones, and keeps what pytest reports."""

    def __init__(self, env: Any) -> None:
        self._env = env
        self.reports: list[dict[str, Any]] = []
        self._config: pytest.Config | None = None

    @pytest.fixture
    def env(self) -> Any:
        """The Worker's bindings."""
        return self._env

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any], request: Any) -> Any:
        if not inspect.iscoroutinefunction(fixturedef.func):
            return None
        named = {name: request.getfixturevalue(name) for name in fixturedef.argnames}
        made = run_sync(fixturedef.func(**named))
        fixturedef.cached_result = (made, fixturedef.cache_key(request), None)
        return made

    def pytest_configure(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        if not inspect.iscoroutinefunction(pyfuncitem.obj):
            return None
        names = inspect.signature(pyfuncitem.obj).parameters
        run_sync(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._keep(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._keep(report)

    def _keep(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        assert self._config is not None
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self.reports.append(data)


def run_tests(node_ids: list[str], env: Any) -> dict[str, Any]:
    """Run the tests; the exit code of pytest and all its reports."""
    sys.dont_write_bytecode = True
    plugin = _Plugin(env)
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        code = pytest.main([*OPTIONS, *(str(WORKER / node_id) for node_id in node_ids)], [plugin])
    return {"exit_code": int(code), "reports": plugin.reports, "output": output.getvalue()}
