"""Serves the stored chunks of a stream to chat pages: as the Vercel AI SDK's UI message stream (v1) or as AG-UI."""

from __future__ import annotations

from agents_store_cloudflare.adapters.ui.messages import MessageStreams, ui_chunks
from agents_store_cloudflare.adapters.ui.stopping import request_stop, stop_requested

__all__ = ["MessageStreams", "request_stop", "stop_requested", "ui_chunks"]
