"""Adapters: storage for other frameworks on D1. Import each adapter by its own name. It needs its framework installed."""
