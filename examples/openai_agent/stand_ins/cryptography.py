"""Stands for `cryptography`, which only Pyodide's own index has: the names that `mcp` imports and the SDK does not use."""

import sys
from types import ModuleType

__path__: list[str] = []


def _module(name: str, *names: str) -> None:
    made = ModuleType(f"{__name__}.{name}")
    made.__path__ = []
    for each in names:
        setattr(made, each, type(each, (Exception,), {}))
    sys.modules[made.__name__] = made


def __getattr__(name: str) -> object:
    if name == "x509":  # how `jwt` finds out that there is no cryptography
        raise ModuleNotFoundError(name)
    raise AttributeError(name)


_module("exceptions", "InvalidTag")
for _package in ("hazmat", "hazmat.primitives", "hazmat.primitives.ciphers", "hazmat.primitives.kdf"):
    _module(_package)
_module("hazmat.primitives.ciphers.aead", "AESGCM")
_module("hazmat.primitives.hashes", "SHA256")
_module("hazmat.primitives.kdf.hkdf", "HKDF")
