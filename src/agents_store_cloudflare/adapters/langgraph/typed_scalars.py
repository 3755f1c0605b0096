"""Writes and reads values of the standard library that JSON does not have."""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import fractions
import ipaddress
import math
import pathlib
import re
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any, Final

from agents_store_cloudflare.adapters.langgraph.kinds import is_a, kind_of

__all__ = ["SCALAR_TYPES", "pack_scalar", "unpack_scalar"]

_PATHS = {each.__name__: each for each in (pathlib.PurePosixPath, pathlib.PureWindowsPath)}
_ADDRESSES = {
    each.__name__: each
    for each in (
        ipaddress.IPv4Address,
        ipaddress.IPv4Interface,
        ipaddress.IPv4Network,
        ipaddress.IPv6Address,
        ipaddress.IPv6Interface,
        ipaddress.IPv6Network,
    )
}


def _float(value: float) -> Any:
    return value if math.isfinite(value) else _tagged("float", repr(value))


def _tagged(tag: str, *parts: object) -> dict[str, list[object]]:
    return {"$": [tag, *parts]}


def _datetime(value: dt.datetime) -> Any:
    zone = value.tzinfo
    if isinstance(zone, zoneinfo.ZoneInfo) and zone.key:
        return _tagged("datetime", value.replace(tzinfo=None).isoformat(), value.fold, zone.key)
    return _tagged("datetime", value.isoformat(), *([value.fold] if value.fold else []))


def _time(value: dt.time) -> Any:
    zone = value.tzinfo
    if isinstance(zone, zoneinfo.ZoneInfo) and zone.key:
        return _tagged("time", value.replace(tzinfo=None).isoformat(), value.fold, zone.key)
    return _tagged("time", value.isoformat(), *([value.fold] if value.fold else []))


def _timezone(value: dt.timezone) -> Any:
    name = value.tzname(None)
    offset = value.utcoffset(None).total_seconds()
    return (
        _tagged("timezone", offset)
        if name == str(dt.timezone(value.utcoffset(None)))
        else _tagged("timezone", offset, name)
    )


_PACKERS: Final[dict[type, Callable[[Any], Any]]] = {
    float: _float,
    bytes: lambda value: _tagged("bytes", base64.b64encode(value).decode()),
    bytearray: lambda value: _tagged("bytearray", base64.b64encode(value).decode()),
    complex: lambda value: _tagged("complex", repr(value.real), repr(value.imag)),
    dt.datetime: _datetime,
    dt.date: lambda value: _tagged("date", value.isoformat()),
    dt.time: _time,
    dt.timedelta: lambda value: _tagged("timedelta", value.days, value.seconds, value.microseconds),
    dt.timezone: _timezone,
    uuid.UUID: lambda value: _tagged("uuid", str(value)),
    decimal.Decimal: lambda value: _tagged("decimal", str(value)),
    fractions.Fraction: lambda value: _tagged("fraction", str(value)),
    range: lambda value: _tagged("range", value.start, value.stop, value.step),
}
SCALAR_TYPES: Final = frozenset(_PACKERS)
"""The types whose values hold no other objects."""


def pack_scalar(value: Any) -> Any:
    """Return the JSON form of the value; None for a value of another type."""
    if packer := _PACKERS.get(kind_of(value)):
        return packer(value)
    if is_a(value, zoneinfo.ZoneInfo) and value.key:
        return _tagged("zone", value.key)
    if is_a(value, re.Pattern):
        return _tagged("pattern", _pattern_source(value.pattern), value.flags)
    if is_a(value, pathlib.PurePath):
        family = "PureWindowsPath" if is_a(value, pathlib.PureWindowsPath) else "PurePosixPath"
        return _tagged("path", family, is_a(value, pathlib.Path), str(value))
    if (name := kind_of(value).__name__) in _ADDRESSES and kind_of(value) is _ADDRESSES[name]:
        return _tagged("address", name, str(value))
    return None


def _pattern_source(source: str | bytes) -> Any:
    return source if isinstance(source, str) else _tagged("bytes", base64.b64encode(source).decode())


def unpack_scalar(tag: str, parts: list[Any]) -> Any:
    """Return the value of a tag and its parts; None for a tag of another kind."""
    maker = _MAKERS.get(tag)
    return None if maker is None else maker(*parts)


def _bytearray_of(text: str) -> bytearray:
    return bytearray(base64.b64decode(text))


def _complex_of(real: str, imaginary: str) -> complex:
    return complex(float(real), float(imaginary))


def _address_of(name: str, text: str) -> object:
    return _ADDRESSES[name](text)


def _datetime_of(text: str, fold: int = 0, zone: str | None = None) -> dt.datetime:
    value = dt.datetime.fromisoformat(text).replace(fold=fold)
    return value if zone is None else value.replace(tzinfo=zoneinfo.ZoneInfo(zone))


def _time_of(text: str, fold: int = 0, zone: str | None = None) -> dt.time:
    value = dt.time.fromisoformat(text).replace(fold=fold)
    return value if zone is None else value.replace(tzinfo=zoneinfo.ZoneInfo(zone))


def _timezone_of(offset: float, *name: str) -> dt.timezone:
    return dt.timezone(dt.timedelta(seconds=offset), *name)


def _path_of(family: str, concrete: bool, text: str) -> pathlib.PurePath:  # noqa: FBT001 - as stored
    # A path of another operating system becomes a pure path, because this system cannot use it.
    here = type(pathlib.PurePath()).__name__
    return pathlib.Path(text) if concrete and family == here else _PATHS[family](text)


_MAKERS: Final[dict[str, Callable[..., Any]]] = {
    "float": float,
    "bytes": base64.b64decode,
    "bytearray": _bytearray_of,
    "complex": _complex_of,
    "datetime": _datetime_of,
    "date": dt.date.fromisoformat,
    "time": _time_of,
    "timedelta": dt.timedelta,
    "timezone": _timezone_of,
    "zone": zoneinfo.ZoneInfo,
    "uuid": uuid.UUID,
    "decimal": decimal.Decimal,
    "fraction": fractions.Fraction,
    "range": range,
    "pattern": re.compile,
    "path": _path_of,
    "address": _address_of,
}
