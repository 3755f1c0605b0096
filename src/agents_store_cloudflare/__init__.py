"""Durable storage for AI agents inside Cloudflare Python Workers.

State, messages, checkpoints and usage are in D1. Resumable streams and fenced locks are in Durable Objects.

This package has the names that an agent's author needs: stores, managers, servers, records, errors, migrations. Other names have
modules of their own:

- `agents_store_cloudflare.gateway`: streams over HTTP in a user's Worker.
- `agents_store_cloudflare.durable_streams`: the open Durable Streams protocol.
- `agents_store_cloudflare.budgets`: budgets and prices.
- `agents_store_cloudflare.costs`: the costs of the store's own work.
- `agents_store_cloudflare.console`: pages for operators, in a user's Worker.
- `agents_store_cloudflare.locks` and `.usage`: the objects and tools behind those two roles.
- `agents_store_cloudflare.testing`: everything above on CPython, in process.

The names of the first six modules can be imported from this package too. Each name loads its module when it is first asked for, so
that a Worker pays for the parts that it uses. Importing works on CPython: only `StreamServer`, `LockServer` and `SessionServer` need
the Workers runtime.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from agents_store_cloudflare.contract.lazy_names import lazy_names

if TYPE_CHECKING:
    from agents_store_cloudflare.budgets import (
        Budget as Budget,
        ModelPrice as ModelPrice,
        PriceBook as PriceBook,
        Reservation as Reservation,
        Settlement as Settlement,
        price_entry as price_entry,
    )
    from agents_store_cloudflare.console import OperatorConsole as OperatorConsole
    from agents_store_cloudflare.contract.arguments import UNSET, FencingToken, Unset
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
        MissingFencingTokenError,
        RunConflictError,
        RunNotFoundError,
        SequenceConflictError,
        SessionExistsError,
        SessionNotMovedError,
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
        TurnEndedError,
        TurnError,
        TurnRunningError,
        UsageError,
    )
    from agents_store_cloudflare.contract.homes import child_id, home_of
    from agents_store_cloudflare.contract.json_values import JsonObject, JsonValue, parse_json
    from agents_store_cloudflare.contract.locks import Lock, LockAcquireOptions, LockHolder, LockManager, LockSet
    from agents_store_cloudflare.contract.state.marks import ANY_VERSION, AnyVersion
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
    from agents_store_cloudflare.contract.state.store import StateStore
    from agents_store_cloudflare.contract.state.summaries import SessionSummary
    from agents_store_cloudflare.contract.streams.manager import (
        ResumableReaderOptions,
        ResumableStreamReader,
        ResumableStreamStatus,
        StreamManager,
        StreamReader,
        StreamWriter,
    )
    from agents_store_cloudflare.contract.streams.records import BufferOverflowEvent, StreamChunk, StreamInfo
    from agents_store_cloudflare.contract.turns import SweptTurns
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
    from agents_store_cloudflare.costs import (
        CLOUDFLARE_PRICES as CLOUDFLARE_PRICES,
        Cost as Cost,
        CostEstimate as CostEstimate,
        D1Cost as D1Cost,
        Meter as Meter,
        ObjectCost as ObjectCost,
        Prices as Prices,
        estimate as estimate,
    )
    from agents_store_cloudflare.durable_objects.lock_server import LockServer as LockServer
    from agents_store_cloudflare.durable_objects.session_server import SessionServer as SessionServer
    from agents_store_cloudflare.durable_objects.stream_server import StreamServer as StreamServer
    from agents_store_cloudflare.durable_streams import (
        DURABLE_STREAMS_REQUEST_HEADERS as DURABLE_STREAMS_REQUEST_HEADERS,
        DURABLE_STREAMS_RESPONSE_HEADERS as DURABLE_STREAMS_RESPONSE_HEADERS,
        DurableStreams as DurableStreams,
        StreamObject as StreamObject,
        SubscriptionOptions as SubscriptionOptions,
    )
    from agents_store_cloudflare.gateway import (
        Admits as Admits,
        Authorize as Authorize,
        CorsPolicy as CorsPolicy,
        GatewayFace as GatewayFace,
        HttpRequest as HttpRequest,
        HttpResponse as HttpResponse,
        SessionStates as SessionStates,
        StreamAction as StreamAction,
        StreamGateway as StreamGateway,
        StreamUrlSigner as StreamUrlSigner,
    )
    from agents_store_cloudflare.homes.options import SessionOptions
    from agents_store_cloudflare.homes.session_object import SessionObject as SessionObject
    from agents_store_cloudflare.locks.held_locks import HeldLocks as HeldLocks
    from agents_store_cloudflare.locks.lock_object import LockObject as LockObject
    from agents_store_cloudflare.locks.manager import DurableObjectLockManager
    from agents_store_cloudflare.locks.options import LockOptions
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
    from agents_store_cloudflare.state.options import StateStoreOptions, StoreLimits
    from agents_store_cloudflare.state.store import D1StateStore
    from agents_store_cloudflare.store import CloudflareStore, create_cloudflare_store
    from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
    from agents_store_cloudflare.streams.options import StreamOptions
    from agents_store_cloudflare.turns.turn import Turn
    from agents_store_cloudflare.usage.options import UsageOptions
    from agents_store_cloudflare.usage.otel import (
        OTEL_ATTRIBUTES as OTEL_ATTRIBUTES,
        otel_attributes as otel_attributes,
    )
    from agents_store_cloudflare.usage.store import D1UsageStore
    from agents_store_cloudflare.wiring import check_bindings

__all__ = [
    "ANY_VERSION",
    "CURRENT_SCHEMA_VERSION",
    "SCHEMA_MIGRATION_V1",
    "TABLE_NAMES",
    "UNSET",
    "AgentState",
    "AgentStatus",
    "AgentsStoreError",
    "AnyVersion",
    "BindingError",
    "BudgetExceededError",
    "BufferOverflowEvent",
    "CasResult",
    "Checkpoint",
    "CheckpointKeptError",
    "CheckpointNotFoundError",
    "CheckpointPage",
    "CloudflareStore",
    "D1StateError",
    "D1StateStore",
    "D1UsageStore",
    "DurableObjectLockManager",
    "DurableObjectStreamManager",
    "FencingToken",
    "InvalidArgumentError",
    "JsonObject",
    "JsonValue",
    "Lock",
    "LockAcquireOptions",
    "LockError",
    "LockHolder",
    "LockLostError",
    "LockManager",
    "LockNotAcquiredError",
    "LockOptions",
    "LockSet",
    "MergeChanges",
    "MergeResult",
    "Message",
    "MessagePage",
    "MigrationError",
    "MissingFencingTokenError",
    "PromoteResult",
    "ResumableReaderOptions",
    "ResumableStreamReader",
    "ResumableStreamStatus",
    "Run",
    "RunConflictError",
    "RunNotFoundError",
    "SequenceConflictError",
    "SessionExistsError",
    "SessionNotMovedError",
    "SessionOptions",
    "SessionPage",
    "SessionSummary",
    "SessionTree",
    "StagedChange",
    "StagingError",
    "StaleFencingTokenError",
    "StaleStateError",
    "StateNotFoundError",
    "StateSizeExceededError",
    "StateStore",
    "StateStoreOptions",
    "StoreLimits",
    "StreamChunk",
    "StreamChunkTooLargeError",
    "StreamClosedError",
    "StreamConnectionError",
    "StreamError",
    "StreamFailedError",
    "StreamInfo",
    "StreamManager",
    "StreamNotFoundError",
    "StreamOptions",
    "StreamReader",
    "StreamTruncatedError",
    "StreamWriter",
    "SubAgentStats",
    "SubSessionRef",
    "SubSessionRefNotFoundError",
    "SweptTurns",
    "TokenCounts",
    "ToolStats",
    "Turn",
    "TurnEndedError",
    "TurnError",
    "TurnRunningError",
    "Unset",
    "UsageEntry",
    "UsageError",
    "UsageOptions",
    "UsageRollup",
    "UsageSource",
    "UsageStore",
    "UsageTotals",
    "check_bindings",
    "child_id",
    "create_cloudflare_store",
    "drop_all_tables",
    "get_agents_migration_version",
    "get_agents_table_names",
    "home_of",
    "is_migrated",
    "parse_json",
    "run_migration",
]

if sys.platform == "emscripten":  # `import *` asks for every name; these three exist in the Workers runtime only
    __all__ += ["LockServer", "SessionServer", "StreamServer"]

_PARTS = (
    "budgets",
    "console",
    "costs",
    "durable_streams",
    "gateway",
    "locks",
    "migrations",
    "state",
    "streams",
    "turns",
    "usage",
)
_MODULES: dict[str, tuple[str, ...]] = {
    "budgets": ("Budget", "ModelPrice", "PriceBook", "Reservation", "Settlement", "price_entry"),
    "console": ("OperatorConsole",),
    "contract.arguments": ("UNSET", "FencingToken", "Unset"),
    "contract.errors": (
        "AgentsStoreError",
        "BindingError",
        "BudgetExceededError",
        "CheckpointKeptError",
        "CheckpointNotFoundError",
        "D1StateError",
        "InvalidArgumentError",
        "LockError",
        "LockLostError",
        "LockNotAcquiredError",
        "MigrationError",
        "MissingFencingTokenError",
        "RunConflictError",
        "RunNotFoundError",
        "SequenceConflictError",
        "SessionExistsError",
        "SessionNotMovedError",
        "StagingError",
        "StaleFencingTokenError",
        "StaleStateError",
        "StateNotFoundError",
        "StateSizeExceededError",
        "StreamChunkTooLargeError",
        "StreamClosedError",
        "StreamConnectionError",
        "StreamError",
        "StreamFailedError",
        "StreamNotFoundError",
        "StreamTruncatedError",
        "SubSessionRefNotFoundError",
        "TurnEndedError",
        "TurnError",
        "TurnRunningError",
        "UsageError",
    ),
    "contract.homes": ("child_id", "home_of"),
    "contract.state.summaries": ("SessionSummary",),
    "contract.json_values": ("JsonObject", "JsonValue", "parse_json"),
    "contract.locks": ("Lock", "LockAcquireOptions", "LockHolder", "LockManager", "LockSet"),
    "contract.state.marks": ("ANY_VERSION", "AnyVersion"),
    "contract.state.records": (
        "AgentState",
        "AgentStatus",
        "CasResult",
        "Checkpoint",
        "CheckpointPage",
        "MergeChanges",
        "MergeResult",
        "Message",
        "MessagePage",
        "PromoteResult",
        "Run",
        "SessionPage",
        "SessionTree",
        "StagedChange",
        "SubSessionRef",
    ),
    "contract.state.store": ("StateStore",),
    "contract.streams.manager": (
        "ResumableReaderOptions",
        "ResumableStreamReader",
        "ResumableStreamStatus",
        "StreamManager",
        "StreamReader",
        "StreamWriter",
    ),
    "contract.streams.records": ("BufferOverflowEvent", "StreamChunk", "StreamInfo"),
    "contract.turns": ("SweptTurns",),
    "contract.usage.records": (
        "SubAgentStats",
        "TokenCounts",
        "ToolStats",
        "UsageEntry",
        "UsageRollup",
        "UsageSource",
        "UsageTotals",
    ),
    "contract.usage.store": ("UsageStore",),
    "costs": ("CLOUDFLARE_PRICES", "Cost", "CostEstimate", "D1Cost", "Meter", "ObjectCost", "Prices", "estimate"),
    "durable_objects.lock_server": ("LockServer",),
    "durable_objects.session_server": ("SessionServer",),
    "durable_objects.stream_server": ("StreamServer",),
    "durable_streams": (
        "DURABLE_STREAMS_REQUEST_HEADERS",
        "DURABLE_STREAMS_RESPONSE_HEADERS",
        "DurableStreams",
        "StreamObject",
        "SubscriptionOptions",
    ),
    "gateway": (
        "Admits",
        "Authorize",
        "CorsPolicy",
        "GatewayFace",
        "HttpRequest",
        "HttpResponse",
        "SessionStates",
        "StreamAction",
        "StreamGateway",
        "StreamUrlSigner",
    ),
    "homes.options": ("SessionOptions",),
    "homes.session_object": ("SessionObject",),
    "locks.held_locks": ("HeldLocks",),
    "locks.lock_object": ("LockObject",),
    "locks.manager": ("DurableObjectLockManager",),
    "locks.options": ("LockOptions",),
    "migrations": (
        "CURRENT_SCHEMA_VERSION",
        "SCHEMA_MIGRATION_V1",
        "TABLE_NAMES",
        "drop_all_tables",
        "get_agents_migration_version",
        "get_agents_table_names",
        "is_migrated",
        "run_migration",
    ),
    "state.options": ("StateStoreOptions", "StoreLimits"),
    "state.store": ("D1StateStore",),
    "store": ("CloudflareStore", "create_cloudflare_store"),
    "streams.manager": ("DurableObjectStreamManager",),
    "streams.options": ("StreamOptions",),
    "turns.turn": ("Turn",),
    "usage.options": ("UsageOptions",),
    "usage.otel": ("OTEL_ATTRIBUTES", "otel_attributes"),
    "usage.store": ("D1UsageStore",),
    "wiring": ("check_bindings",),
}

if not TYPE_CHECKING:
    __getattr__ = lazy_names(__name__, _MODULES, parts=_PARTS)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PARTS, *(name for names in _MODULES.values() for name in names)})
