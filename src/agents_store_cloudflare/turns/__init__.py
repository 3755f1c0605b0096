"""Turns: one block does lock, load, stream, save, checkpoint, usage and release, by calls to the stores."""

from agents_store_cloudflare.turns.block import TurnBlock
from agents_store_cloudflare.turns.options import TurnOptions
from agents_store_cloudflare.turns.sweeping import sweep_turns
from agents_store_cloudflare.turns.turn import Turn

__all__ = ["Turn", "TurnBlock", "TurnOptions", "sweep_turns"]
