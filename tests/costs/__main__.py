"""`make costs`: measure every public call in the real runtime and rewrite the table of docs/costs.md. Read the difference."""

from tests.costs.table import PAGE, measured, page_with

PAGE.write_text(page_with(measured(), PAGE.read_text()))
