"""Copies whole sessions from one database into another: state, messages, checkpoints, staged changes, runs, references, usage,
streams.

A copy is a JSON object with the unchanged rows of the database. So it has the versions, fences and commit ids too. Sessions of one
database can become sessions in homes, and the other way round.
"""

from agents_store_cloudflare.transfer.any_copy import check_copy, import_copy
from agents_store_cloudflare.transfer.budgets import BudgetCopy, budget_roots, export_budgets, import_budgets
from agents_store_cloudflare.transfer.copies import FORMAT, SessionCopy
from agents_store_cloudflare.transfer.exporting import export_all, export_session
from agents_store_cloudflare.transfer.importing import import_session
from agents_store_cloudflare.transfer.lines import copies_of, lines_of
from agents_store_cloudflare.transfer.remains import export_remains, list_remains
from agents_store_cloudflare.transfer.renaming import names_in_homes

__all__ = [
    "FORMAT",
    "BudgetCopy",
    "SessionCopy",
    "budget_roots",
    "check_copy",
    "copies_of",
    "export_all",
    "export_budgets",
    "export_remains",
    "export_session",
    "import_budgets",
    "import_copy",
    "import_session",
    "lines_of",
    "list_remains",
    "names_in_homes",
]
