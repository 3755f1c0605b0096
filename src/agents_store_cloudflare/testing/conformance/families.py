"""The ids of parent and child sessions, which are the one difference between D1 and homes in these tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

__all__ = ["Families"]


class Families:
    """The base of conformance classes with families of sessions."""

    @pytest.fixture
    def member(self) -> Callable[[str, str], str]:
        """Family and name -> a session id. Over homes a subclass names the members so that one home holds them."""
        return lambda family, name: f"{family}-{name}"
