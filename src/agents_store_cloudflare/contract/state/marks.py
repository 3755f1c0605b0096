"""`ANY_VERSION`: the mark that stands for every version."""

from __future__ import annotations

from enum import Enum
from typing import Final

__all__ = ["ANY_VERSION", "AnyVersion"]


class AnyVersion(Enum):
    """The type of `ANY_VERSION`."""

    ANY = "any"


ANY_VERSION: Final = AnyVersion.ANY
"""As `expected_version`: save whatever version is stored."""
