"""`make costs`: measure every public call in the real runtime; write the table of docs/costs.md and the lines of the docstrings."""

from tests.costs.table import PAGE, measured, page_with
from tools.docstring_costs import write_summaries

page = page_with(measured(), PAGE.read_text())
PAGE.write_text(page)
write_summaries(page)
