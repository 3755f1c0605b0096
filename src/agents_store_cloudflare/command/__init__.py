"""The command for operators: look into a D1 database, check it, migrate it, copy it. It is never imported inside a Worker."""

from agents_store_cloudflare.command.program import main
from agents_store_cloudflare.command.remote import RemoteDatabase

__all__ = ["RemoteDatabase", "main"]
