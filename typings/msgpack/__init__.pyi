from collections.abc import Callable
from typing import Any, NamedTuple

class UnpackException(Exception): ...

class ExtType(NamedTuple):
    code: int
    data: bytes

def packb(o: Any, *, use_bin_type: bool = ...) -> bytes: ...
def unpackb(
    packed: Any,
    *,
    raw: bool = ...,
    strict_map_key: bool = ...,
    object_pairs_hook: Callable[[list[tuple[Any, Any]]], Any] = ...,
    ext_hook: Callable[[int, bytes], Any] = ...,
) -> Any: ...
