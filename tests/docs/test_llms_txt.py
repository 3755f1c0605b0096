"""docs/llms.txt, for programs that write code: its links lead somewhere, and its code is the package's."""

import re

import agents_store_cloudflare
from agents_store_cloudflare import CloudflareStore, D1StateStore, Turn, testing
from tools.places import ROOT

DOCS = ROOT / "docs"
TEXT = (DOCS / "llms.txt").read_text(encoding="utf-8")


def test_every_page_of_the_site_is_named() -> None:
    """The file names exactly the pages of the navigation."""
    named = set(re.findall(r"\]\(([^)]+)\)", TEXT))
    navigation = set(re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    pages = {page for page in navigation if not page.startswith("reference/")} - {"index.md"}
    assert named == pages | {"reference/index.md"}
    assert all((DOCS / page).exists() for page in named)


def test_the_names_exist() -> None:
    """Names in code belong to the package, because a program would copy a wrong name."""
    owners = [agents_store_cloudflare, testing, CloudflareStore, D1StateStore, Turn]
    known = {name for owner in owners for name in dir(owner)} | {"LockServer", "StreamServer"}
    calls = set(re.findall(r"`(?:await )?(?:store\.|turn\.)?(\w+)[`(]", TEXT))
    assert calls - known <= {"fencing_token", "new_sqlite_classes", "workers"}
