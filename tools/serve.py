"""Serve one Worker in the foreground: `python -m tools.serve --config path/to/wrangler.toml --port 8787`."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from tools.local_runtime import LocalRuntime, RuntimeStartError, apply_migrations
from tools.places import RUNTIME
from tools.requirements import RequirementsError
from tools.vendor import VendorError
from tools.wheel import WheelError
from tools.worker_config import ConfigError, config_file, read_config
from tools.wrangler import WranglerError

HIGHEST_PORT = 65_535


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        _serve(options)
    except KeyboardInterrupt:
        print("\nserve: stopped")
    except (ConfigError, RequirementsError, RuntimeStartError, VendorError, WheelError, WranglerError) as error:
        print(f"serve: {error}", file=sys.stderr)
        return 1
    return 0


def _serve(options: argparse.Namespace) -> None:
    config = config_file(options.config)
    name = read_config(config).get("name", "worker")
    persist = options.persist or RUNTIME / "state" / f"{name}-{options.port}"
    if options.migrate:
        apply_migrations(config, persist)
    runtime = LocalRuntime(config, persist=persist, vars=dict(options.var), port=options.port, echo=True)
    with runtime:
        print(
            f"serve: {config} answers on {runtime.url} (state in {persist}; edits reload; Ctrl-C ends it)", flush=True
        )
        runtime.wait()
        raise RuntimeStartError("the runtime ended by itself")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _port(text: str) -> int:
    if text.isdecimal() and 1 <= int(text) <= HIGHEST_PORT:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no port from 1 to {HIGHEST_PORT}")


def _variable(text: str) -> tuple[str, str]:
    key, colon, value = text.partition(":")
    if not key or not colon:
        raise argparse.ArgumentTypeError(f"{text!r} is no KEY:VALUE")
    return key, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--config", type=Path, required=True, help="a Worker's folder, or its wrangler.toml, .json or .jsonc"
    )
    parser.add_argument("--port", type=_port, default=8787)
    parser.add_argument("--persist", type=Path, help="folder for D1 and Durable Object state")
    parser.add_argument(
        "--var", action="append", type=_variable, default=[], metavar="KEY:VALUE", help="may be given many times"
    )
    parser.add_argument("--no-migrate", dest="migrate", action="store_false", help="leave D1 migrations to the Worker")
    return parser


if __name__ == "__main__":
    sys.exit(main())
