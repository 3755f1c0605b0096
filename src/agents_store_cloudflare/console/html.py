"""Makes HTML by function calls, one for each element. Texts are escaped by default.

A template library would be a dependency of every Worker, with escaping rules of its own. The console needs only elements,
attributes and text, and one rule: a text is escaped unless it is `Markup`. Only this module makes `Markup`.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Final, TypeAlias

from agents_store_cloudflare.console.text import visible

__all__ = ["Child", "Markup", "document", "element", "joined"]


class Markup(str):
    """Text that is HTML already. `element` and `joined` make it. Never make it from a text that somebody else wrote."""

    __slots__ = ()


Child: TypeAlias = "Markup | str | int | Iterable[Child] | None"
"""A child of an element: an element, a text, a number, None, or a list of them."""

_VOID: Final = frozenset({"br", "col", "hr", "input", "link", "meta", "wbr"})


def element(tag: str, *children: Child, **attributes: str | int | bool | None) -> Markup:
    """Return the element with its children, all texts escaped and their control characters shown.

    Args:
        tag: the name of the element. It must be a constant of the program, never a text from outside.
        children: its children.
        attributes: its attributes. A trailing underscore is dropped (`class_`), other underscores become hyphens (`aria_label`).
            True means an attribute without a value. None and False leave the attribute out.
    """
    start = "".join(_attribute(name, value) for name, value in attributes.items())
    if tag in _VOID:
        return Markup(f"<{tag}{start}>")
    return Markup(f"<{tag}{start}>{joined(*children)}</{tag}>")


def joined(*children: Child) -> Markup:
    """Return the children one after another. Texts are escaped."""
    return Markup("".join(map(_child, children)))


def document(*children: Child, language: str = "en") -> str:
    """Return a whole page."""
    return f"<!doctype html>\n{element('html', *children, lang=language)}"


def _child(child: Child) -> str:
    match child:
        case None:
            return ""
        case Markup():
            return child
        case str():
            return html.escape(visible(child), quote=False)
        case int():
            return str(child)
        case _:
            return joined(*child)


def _attribute(name: str, value: str | int | bool | None) -> str:  # noqa: FBT001 - True is an attribute without a value
    if value is None or value is False:
        return ""
    written = name.rstrip("_").replace("_", "-")
    # The browser sends a value back, as a link or a form field, so it must not be changed here.
    return f" {written}" if value is True else f' {written}="{html.escape(str(value))}"'
