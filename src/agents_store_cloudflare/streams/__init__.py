"""Streams: one append-only log per Durable Object, its logic (`StreamObject`), and the manager that users hold."""
