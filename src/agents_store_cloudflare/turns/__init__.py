"""Turns: lock, load, stream, save, checkpoint, usage and release as one block, over the roles' calls."""

from agents_store_cloudflare.turns.block import TurnBlock
from agents_store_cloudflare.turns.options import TurnOptions
from agents_store_cloudflare.turns.sweeping import sweep_turns
from agents_store_cloudflare.turns.turn import Turn

__all__ = ["Turn", "TurnBlock", "TurnOptions", "sweep_turns"]
