"""Cloudflare's platform behind the package's seams: the only code that imports `js` and `pyodide`.

Modules that clients load on CPython too (`d1`, `http`, `namespace`, `raw`, `values`) import JavaScript's names where they use them. No
module global holds a JavaScript object that belongs to a request.
"""
