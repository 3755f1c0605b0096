"""Take the pictures of the operator's console that docs/console.md shows: `make screenshots`."""

import sys
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, sync_playwright

from tests.end_to_end.browsing import OPTIONS
from tests.end_to_end.console_site import CONFIG, planted
from tools.browser import browser_executable
from tools.local_runtime import LocalRuntime
from tools.places import ROOT

FOLDER = ROOT / "docs" / "console"
PICTURES: tuple[tuple[str, str, int, int, Literal["light", "dark"]], ...] = (
    ("sessions", "/console", 1100, 640, "light"),
    ("hanging", "/console/session?id=beta/support-18", 1100, 700, "light"),
    ("compare", "/console/checkpoints?id=gamma/research", 1100, 520, "dark"),
    ("usage", "/console/usage?by=tenant", 1100, 560, "light"),
    ("phone", "/console/messages?id=gamma/research", 360, 720, "dark"),
)
"""Name, address, width and height in pixels, colour scheme."""


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with LocalRuntime(CONFIG) as runtime, sync_playwright() as playwright:
        planted(runtime, "demo")
        browser = playwright.chromium.launch(executable_path=browser_executable(), args=OPTIONS)
        for file in take_all(browser, runtime.url, FOLDER):
            print(f"screenshots: {file.relative_to(ROOT)}")
        browser.close()
    return 0


def take_all(browser: Browser, url: str, folder: Path) -> list[Path]:
    """Take each picture of the console at `url`, which shows what `planted(…, "demo")` plants, and return the files."""
    files: list[Path] = []
    for name, path, width, height, scheme in PICTURES:
        _take(browser, url + path, folder / f"{name}.png", (width, height), scheme)
        files.append(folder / f"{name}.png")
    return files


def _take(browser: Browser, address: str, file: Path, size: tuple[int, int], scheme: Literal["light", "dark"]) -> None:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    page = context.new_page()
    page.goto(address)
    page.wait_for_load_state("networkidle")
    page.screenshot(path=file)
    context.close()


if __name__ == "__main__":
    sys.exit(main())
