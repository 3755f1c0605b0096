"""Shared by every test."""

import pytest

for role in ("state", "stream", "lock", "usage"):
    pytest.register_assert_rewrite(f"agents_store_cloudflare.testing.{role}_conformance")
