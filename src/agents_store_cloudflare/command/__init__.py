"""What an operator does on the host: look into a D1 database, check it, migrate it, take a copy. Never imported inside a Worker."""

from agents_store_cloudflare.command.program import main
from agents_store_cloudflare.command.remote import RemoteDatabase

__all__ = ["RemoteDatabase", "main"]
