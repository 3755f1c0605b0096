"""Homes: each tree of sessions lives in a Durable Object of its own. D1 keeps the directory, usage and budgets."""
