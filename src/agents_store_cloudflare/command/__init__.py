"""The command for operators: it shows, checks, migrates and copies a D1 database. It is never imported inside a Worker."""

from agents_store_cloudflare.command.program import main
from agents_store_cloudflare.command.remote import RemoteDatabase

__all__ = ["RemoteDatabase", "main"]
