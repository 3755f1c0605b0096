"""Durable storage for AI agents inside Cloudflare Python Workers.

State, messages and checkpoints in D1; resumable streams and fenced locks in Durable Objects; usage accounting. Everything public
is here; `agents_store_cloudflare.testing` is imported by its name. Importing works on CPython: only `StreamServer` and
`LockServer` need the Workers runtime, and they load when they are first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from agents_store_cloudflare.contract.costs import Cost, CostEstimate, D1Cost, ObjectCost, Prices
from agents_store_cloudflare.contract.errors import (
    AgentsStoreError,
    BindingError,
    BudgetExceededError,
    CheckpointKeptError,
    CheckpointNotFoundError,
    D1StateError,
    InvalidArgumentError,
    LockError,
    LockLostError,
    LockNotAcquiredError,
    MigrationError,
    RunConflictError,
    RunNotFoundError,
    SequenceConflictError,
    SessionExistsError,
    StagingError,
    StaleFencingTokenError,
    StaleStateError,
    StateNotFoundError,
    StateSizeExceededError,
    StreamChunkTooLargeError,
    StreamClosedError,
    StreamConnectionError,
    StreamError,
    StreamFailedError,
    StreamNotFoundError,
    StreamTruncatedError,
    SubSessionRefNotFoundError,
    UsageError,
)
from agents_store_cloudflare.contract.json_values import JsonObject, JsonValue, parse_json
from agents_store_cloudflare.contract.locks import Lock, LockAcquireOptions, LockManager, LockSet
from agents_store_cloudflare.contract.state.records import (
    AgentState,
    AgentStatus,
    CasResult,
    Checkpoint,
    CheckpointPage,
    MergeChanges,
    MergeResult,
    Message,
    MessagePage,
    PromoteResult,
    Run,
    SessionPage,
    SessionTree,
    StagedChange,
    SubSessionRef,
)
from agents_store_cloudflare.contract.state.store import ANY_VERSION, UNSET, AnyVersion, StateStore, Unset
from agents_store_cloudflare.contract.streams.manager import (
    ResumableReaderOptions,
    ResumableStreamReader,
    ResumableStreamStatus,
    StreamManager,
    StreamReader,
    StreamWriter,
)
from agents_store_cloudflare.contract.streams.records import BufferOverflowEvent, StreamChunk, StreamInfo
from agents_store_cloudflare.contract.usage.budgets import Budget, ModelPrice, PriceBook, Reservation, Settlement
from agents_store_cloudflare.contract.usage.records import (
    SubAgentStats,
    TokenCounts,
    ToolStats,
    UsageEntry,
    UsageRollup,
    UsageSource,
    UsageTotals,
)
from agents_store_cloudflare.contract.usage.store import UsageStore
from agents_store_cloudflare.durable_streams.face import (
    DURABLE_STREAMS_REQUEST_HEADERS,
    DURABLE_STREAMS_RESPONSE_HEADERS,
    DurableStreams,
)
from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.durable_streams.subscriptions.routes import SubscriptionOptions
from agents_store_cloudflare.gateway import (
    Admits,
    Authorize,
    CorsPolicy,
    GatewayFace,
    StreamAction,
    StreamGateway,
    StreamUrlSigner,
)
from agents_store_cloudflare.locks import (
    DurableObjectLockManager,
    HeldLocks,
    LockObject,
    LockOptions,
)
from agents_store_cloudflare.metering.costs import CLOUDFLARE_PRICES, estimate
from agents_store_cloudflare.metering.meter import Meter
from agents_store_cloudflare.migrations import (
    CURRENT_SCHEMA_VERSION,
    SCHEMA_MIGRATION_V1,
    TABLE_NAMES,
    drop_all_tables,
    get_agents_migration_version,
    get_agents_table_names,
    is_migrated,
    run_migration,
)
from agents_store_cloudflare.objects.http_messages import HttpRequest, HttpResponse
from agents_store_cloudflare.state import (
    D1StateStore,
    StateStoreOptions,
    StoreLimits,
)
from agents_store_cloudflare.store import (
    CloudflareStore,
    create_cloudflare_store,
)
from agents_store_cloudflare.streams.manager import (
    DurableObjectStreamManager,
)
from agents_store_cloudflare.streams.options import (
    StreamOptions,
)
from agents_store_cloudflare.usage import (
    OTEL_ATTRIBUTES,
    D1UsageStore,
    UsageOptions,
    otel_attributes,
    price_entry,
)
from agents_store_cloudflare.wiring import check_bindings

if TYPE_CHECKING:
    from agents_store_cloudflare.durable_objects.lock_server import LockServer
    from agents_store_cloudflare.durable_objects.stream_server import StreamServer

__all__ = [
    "ANY_VERSION",
    "CLOUDFLARE_PRICES",
    "CURRENT_SCHEMA_VERSION",
    "DURABLE_STREAMS_REQUEST_HEADERS",
    "DURABLE_STREAMS_RESPONSE_HEADERS",
    "OTEL_ATTRIBUTES",
    "SCHEMA_MIGRATION_V1",
    "TABLE_NAMES",
    "UNSET",
    "Admits",
    "AgentState",
    "AgentStatus",
    "AgentsStoreError",
    "AnyVersion",
    "Authorize",
    "BindingError",
    "Budget",
    "BudgetExceededError",
    "BufferOverflowEvent",
    "CasResult",
    "Checkpoint",
    "CheckpointKeptError",
    "CheckpointNotFoundError",
    "CheckpointPage",
    "CloudflareStore",
    "CorsPolicy",
    "Cost",
    "CostEstimate",
    "D1Cost",
    "D1StateError",
    "D1StateStore",
    "D1UsageStore",
    "DurableObjectLockManager",
    "DurableObjectStreamManager",
    "DurableStreams",
    "GatewayFace",
    "HeldLocks",
    "HttpRequest",
    "HttpResponse",
    "InvalidArgumentError",
    "JsonObject",
    "JsonValue",
    "Lock",
    "LockAcquireOptions",
    "LockError",
    "LockLostError",
    "LockManager",
    "LockNotAcquiredError",
    "LockObject",
    "LockOptions",
    "LockServer",
    "LockSet",
    "MergeChanges",
    "MergeResult",
    "Message",
    "MessagePage",
    "Meter",
    "MigrationError",
    "ModelPrice",
    "ObjectCost",
    "PriceBook",
    "Prices",
    "PromoteResult",
    "Reservation",
    "ResumableReaderOptions",
    "ResumableStreamReader",
    "ResumableStreamStatus",
    "Run",
    "RunConflictError",
    "RunNotFoundError",
    "SequenceConflictError",
    "SessionExistsError",
    "SessionPage",
    "SessionTree",
    "Settlement",
    "StagedChange",
    "StagingError",
    "StaleFencingTokenError",
    "StaleStateError",
    "StateNotFoundError",
    "StateSizeExceededError",
    "StateStore",
    "StateStoreOptions",
    "StoreLimits",
    "StreamAction",
    "StreamChunk",
    "StreamChunkTooLargeError",
    "StreamClosedError",
    "StreamConnectionError",
    "StreamError",
    "StreamFailedError",
    "StreamGateway",
    "StreamInfo",
    "StreamManager",
    "StreamNotFoundError",
    "StreamObject",
    "StreamOptions",
    "StreamReader",
    "StreamServer",
    "StreamTruncatedError",
    "StreamUrlSigner",
    "StreamWriter",
    "SubAgentStats",
    "SubSessionRef",
    "SubSessionRefNotFoundError",
    "SubscriptionOptions",
    "TokenCounts",
    "ToolStats",
    "Unset",
    "UsageEntry",
    "UsageError",
    "UsageOptions",
    "UsageRollup",
    "UsageSource",
    "UsageStore",
    "UsageTotals",
    "check_bindings",
    "create_cloudflare_store",
    "drop_all_tables",
    "estimate",
    "get_agents_migration_version",
    "get_agents_table_names",
    "is_migrated",
    "otel_attributes",
    "parse_json",
    "price_entry",
    "run_migration",
]

_OBJECT_CLASSES = {"LockServer": "lock_server", "StreamServer": "stream_server"}


def __getattr__(name: str) -> object:
    """Load a Durable Object class when it is first asked for."""
    if name not in _OBJECT_CLASSES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f"{__name__}.durable_objects.{_OBJECT_CLASSES[name]}")
    except ModuleNotFoundError as error:
        if error.name not in {"js", "pyodide", "workers"}:
            raise
        raise ImportError(
            f"{name} is a Durable Object class and needs the Workers runtime; on CPython use "
            "agents_store_cloudflare.testing.LocalObjects"
        ) from error
    return getattr(module, name)
