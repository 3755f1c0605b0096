"""Objects that are only used with `async with`. Every other use raises an error that shows the right line."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Never, TypeVar

__all__ = ["AsyncBlock", "Block"]

T = TypeVar("T")


class AsyncBlock:
    """The base of such objects. An await, a `with` and a loop raise a TypeError that shows the right line."""

    use: ClassVar[str]
    """The line that enters the block."""

    if not TYPE_CHECKING:  # a type checker refuses these uses by itself

        def __await__(self) -> Never:
            raise TypeError(f"it is a block and cannot be awaited: write `{self.use}`")

        def __enter__(self) -> Never:
            raise TypeError(f"the block is asynchronous: write `{self.use}`")

        def __exit__(self, *_: object) -> Never:
            raise NotImplementedError

        def __aiter__(self) -> Never:
            raise TypeError(f"it is a block and no loop: write `{self.use}`")


class Block(AsyncBlock, AbstractAsyncContextManager[T]):
    """A context manager that can only be used with `async with`. A subclass gives the line of its use.

    Args:
        inner: the context manager that enters and leaves.
    """

    def __init__(self, inner: AbstractAsyncContextManager[T]) -> None:
        self._inner = inner

    async def __aenter__(self) -> T:
        return await self._inner.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._inner.__aexit__(kind, error, trace)
