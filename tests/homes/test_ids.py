"""Where a session lives, by its id."""

import pytest
from hypothesis import given, strategies as st

from agents_store_cloudflare import InvalidArgumentError, child_id, home_of


@pytest.mark.parametrize(
    ("session_id", "home"),
    [
        ("ada", "ada"),
        ("ada/1", "ada/1"),
        ("ada//research", "ada"),
        ("ada//research//1", "ada"),
        ("ada///x", "ada"),
        ("ada//", "ada"),
        ("https://example.org/a//b", "https://example.org/a//b"),
        ("ada//https://example.org", "ada"),
        (":", ":"),
        ("://", "://"),
    ],
)
def test_the_home_of_an_id(session_id: str, home: str) -> None:
    """HM-1: The home is the text before the first `//`. An id with `://` before any other `//` is its own home."""
    assert home_of(session_id) == home


@pytest.mark.parametrize("session_id", ["//x", "//", "///"])
def test_an_empty_home(session_id: str) -> None:
    """HM-1: an id whose home would be empty is refused."""
    with pytest.raises(InvalidArgumentError, match="begins with '//'"):
        home_of(session_id)


@pytest.mark.parametrize("session_id", ["", "a\n", "__x", "a" * 513])
def test_what_is_no_id(session_id: str) -> None:
    """HM-1: A text that is not a valid id has no home."""
    with pytest.raises(InvalidArgumentError):
        home_of(session_id)


@given(st.text("ab/:", min_size=1, max_size=8), st.text("ab/:", min_size=1, max_size=8))
def test_a_child_lives_with_its_parent(parent: str, name: str) -> None:
    """HM-1: `child_id` gives an id of the parent's home, or refuses."""
    try:
        made = child_id(parent, name)
    except InvalidArgumentError:
        assert parent.startswith("//") or "://" in f"{parent}//" or parent.endswith("/")
        return
    assert home_of(made) == home_of(parent)
    assert made == f"{parent}//{name}"


def test_a_child_id_that_is_too_long() -> None:
    """HM-1: A child id over 512 bytes of UTF-8 is refused."""
    assert len(child_id("a" * 509, "b")) == 512
    with pytest.raises(InvalidArgumentError, match="513 bytes"):
        child_id("a" * 509, "é")
