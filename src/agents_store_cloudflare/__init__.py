"""Durable storage for AI agents inside Cloudflare Python Workers.

State, messages and checkpoints in D1; resumable streams and fenced locks in Durable Objects; usage accounting. Everything public
is here; `agents_store_cloudflare.testing` is imported by its name. Importing works on CPython: only `StreamServer` and
`LockServer` need the Workers runtime, and they load when they are first asked for.
"""
