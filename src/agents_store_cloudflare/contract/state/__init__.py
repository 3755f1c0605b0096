"""The contract of a state store: its protocol and its records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents_store_cloudflare.contract.lazy_names import lazy_names

if TYPE_CHECKING:
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
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "marks": ("ANY_VERSION", "AnyVersion"),
            "records": (
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
                "StoredHistory",
                "SubSessionRef",
            ),
            "store": ("StateStore",),
        },
    )

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
