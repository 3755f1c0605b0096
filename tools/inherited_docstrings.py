"""An extension of griffe, which reads the package for the reference.

With it a method without a docstring shows the inherited docstring.
"""

from typing import Any

import griffe

__all__ = ["InheritedDocstrings"]


class InheritedDocstrings(griffe.Extension):
    """Give methods the docstring of the base class that has one, as `inspect.getdoc` does."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Go through the classes of the package when it was read."""
        for module in _modules(pkg):
            for found in module.classes.values():
                if not found.is_alias:
                    _inherit(found)


def _modules(module: griffe.Module) -> list[griffe.Module]:
    below = [each for each in module.modules.values() if not each.is_alias]
    return [module, *(deeper for each in below for deeper in _modules(each))]


def _inherit(found: griffe.Class) -> None:
    for name, function in found.functions.items():
        if function.docstring is None and not (function.is_alias or name.startswith("_")):
            inherited = (base.members[name].docstring for base in found.mro() if name in base.members)
            function.docstring = next((docstring for docstring in inherited if docstring is not None), None)
