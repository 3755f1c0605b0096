"""JavaScript's globals, as Pyodide gives them: without types."""

from typing import Any

def __getattr__(name: str) -> Any: ...
