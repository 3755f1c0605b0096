"""The only code that imports `js`, `pyodide` and `workers`: Cloudflare's platform behind the package's seams.

The modules import JavaScript's names where they use them. So they import on CPython too, and no JavaScript object outlives a request
in a module global.
"""
