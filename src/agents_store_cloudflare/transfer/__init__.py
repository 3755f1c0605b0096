"""Sessions copied whole from one database into another: state, messages, checkpoints, staged changes, runs, references, usage, streams.

A copy is a JSON object that holds the rows of the database as they are, so that versions, fences and commit ids come back too.
"""

from agents_store_cloudflare.transfer.copies import FORMAT, SessionCopy
from agents_store_cloudflare.transfer.exporting import export_session
from agents_store_cloudflare.transfer.importing import check_import, import_session
from agents_store_cloudflare.transfer.lines import copies_of, lines_of

__all__ = ["FORMAT", "SessionCopy", "check_import", "copies_of", "export_session", "import_session", "lines_of"]
