"""Shared by every test."""

import pytest

pytest.register_assert_rewrite("agents_store_cloudflare.testing")
