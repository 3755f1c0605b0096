"""The operator's console: pages over the sessions, usage and budgets of a store, in a user's Worker."""

from agents_store_cloudflare.console.console import Action, AuthorizeConsole, OperatorConsole

__all__ = ["Action", "AuthorizeConsole", "OperatorConsole"]
