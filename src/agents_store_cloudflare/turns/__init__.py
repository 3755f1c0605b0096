"""Turns: one block does lock, load, stream, save, checkpoint, usage and release, by calls to the stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents_store_cloudflare.contract.lazy_names import lazy_names

if TYPE_CHECKING:
    from agents_store_cloudflare.turns.block import TurnBlock
    from agents_store_cloudflare.turns.options import TurnOptions
    from agents_store_cloudflare.turns.sweeping import sweep_turns
    from agents_store_cloudflare.turns.turn import Turn
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "block": ("TurnBlock",),
            "options": ("TurnOptions",),
            "sweeping": ("sweep_turns",),
            "turn": ("Turn",),
        },
    )

__all__ = ["Turn", "TurnBlock", "TurnOptions", "sweep_turns"]
