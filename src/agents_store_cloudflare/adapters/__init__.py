"""Adapters: the storage of other frameworks, on D1. Each is imported by its own name and needs its framework installed."""
