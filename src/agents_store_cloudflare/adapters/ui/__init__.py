"""Streams to chat pages: the Vercel AI SDK's UI message stream (v1) and AG-UI, over the stored chunks of a stream."""

from __future__ import annotations

from agents_store_cloudflare.adapters.ui.messages import MessageStreams, ui_chunks

__all__ = ["MessageStreams", "ui_chunks"]
