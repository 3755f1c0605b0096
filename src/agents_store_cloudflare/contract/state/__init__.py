"""The contract of a state store: its protocol and its records."""

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
    StoredHistory,
    SubSessionRef,
)
from agents_store_cloudflare.contract.state.store import StateStore

__all__ = [
    "ANY_VERSION",
    "AgentState",
    "AgentStatus",
    "AnyVersion",
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
    "StateStore",
    "StoredHistory",
    "SubSessionRef",
]
