"""Homes: each tree of sessions in a Durable Object of its own, and in D1 what spans sessions."""
