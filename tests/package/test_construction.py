"""Stores and managers are made in one way: the binding, then all options at once or one by one."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from agents_store_cloudflare import (
    D1StateStore,
    D1UsageStore,
    DurableObjectLockManager,
    DurableObjectStreamManager,
    StateStoreOptions,
    StreamOptions,
    UsageOptions,
)
from agents_store_cloudflare.database.sqlite import SqliteDatabase
from agents_store_cloudflare.locks import LockOptions
from agents_store_cloudflare.locks.lock_object import LockObject
from agents_store_cloudflare.testing import LocalObjects

WAYS: list[tuple[Callable[..., object], Callable[..., object], Callable[[], object]]] = [
    (D1StateStore, StateStoreOptions, SqliteDatabase),
    (D1UsageStore, UsageOptions, SqliteDatabase),
    (DurableObjectStreamManager, StreamOptions, lambda: LocalObjects(LockObject)),
    (DurableObjectLockManager, LockOptions, lambda: LocalObjects(LockObject)),
]


@pytest.mark.parametrize(("kind", "options", "binding"), WAYS, ids=lambda value: getattr(value, "__name__", ""))
def test_options_come_at_once_or_one_by_one(
    kind: Callable[..., Any], options: Callable[..., object], binding: Callable[[], object]
) -> None:
    """The same setting takes effect both ways; both at once are refused, and so is a setting that does not exist."""
    logger = logging.getLogger("mine")
    kind(binding(), options=options(logger=logger))
    kind(binding(), logger=logger)
    with pytest.raises(TypeError, match="not both"):
        kind(binding(), options=options(), logger=logger)
    with pytest.raises(TypeError, match="no_such_setting"):
        kind(binding(), no_such_setting=1)
