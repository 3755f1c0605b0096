"""The result of `create_writer` and `create_reader`: it can be awaited, or used in `async with`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Never, TypeVar

__all__ = ["Opening"]

T = TypeVar("T", bound="AbstractAsyncContextManager[Any]")


class Opening(Generic[T]):
    """Opens a writer or a reader when it is awaited or entered, not before."""

    def __init__(self, open_it: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._open_it = open_it
        self._opened: T | None = None

    def __await__(self) -> Generator[Any, None, T]:
        return self._open_it().__await__()

    def __getattr__(self, name: str) -> Never:
        """Raise an error that says: await the writer or reader before you use it.

        Raises:
            AttributeError: always.
        """
        raise AttributeError(
            f"it is not open yet, so it has no {name!r}: write `async with … as it:`, or `it = await …` and close it afterwards"
        )

    if not TYPE_CHECKING:  # a type checker refuses the loop by itself

        def __aiter__(self) -> Never:
            """Raise an error that says: await the reader before you loop over it.

            Raises:
                TypeError: always.
            """
            raise TypeError(
                "it is not open yet: write `async with … as reader:` and `async for chunk in reader:` inside"
            )

    async def __aenter__(self) -> T:
        self._opened = await self._open_it()
        return self._opened

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._opened is not None:
            await self._opened.__aexit__(kind, error, trace)
