"""The ids of parent and child sessions. In these tests only they are different for D1 and homes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

__all__ = ["Families"]


class Families:
    """The base of conformance classes with families of sessions."""

    @pytest.fixture
    def member(self) -> Callable[[str, str], str]:
        """Return the session id of a name in a family. Over homes a subclass makes names that put a family into one home."""
        return lambda family, name: f"{family}-{name}"
