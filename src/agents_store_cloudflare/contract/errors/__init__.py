"""Every exception of the package.

```text
AgentsStoreError
├── D1StateError                     the state store failed or refused the call
│   ├── StateNotFoundError          no such session
│   │   ├── CheckpointNotFoundError  it has no such checkpoint
│   │   └── RunNotFoundError         it has no such run
│   ├── SessionExistsError          create_session on an id in use
│   ├── SessionNotMovedError        D1 holds the session, so its home must not make another one
│   ├── StaleStateError             the stored state moved on: load again, redo, save
│   ├── StateSizeExceededError      over a StoreLimits value, nothing written
│   ├── StagingError                a staged change cannot be applied
│   ├── SubSessionRefNotFoundError  no such reference
│   ├── CheckpointKeptError         a kept checkpoint needs the messages to be dropped
│   └── RunConflictError            the gate of start_run did not hold
├── StreamError
│   ├── StreamConnectionError       the stream's object could not be reached, or stayed full
│   ├── StreamNotFoundError         no such stream
│   ├── StreamClosedError           ended, failed or paused: it takes no chunks
│   ├── StreamFailedError           what a reader gets after the last chunk of a failed stream
│   ├── StreamTruncatedError        the position asked for is below the retention floor
│   ├── StreamChunkTooLargeError    refused before a sequence is taken
│   └── SequenceConflictError       expected_sequence or from_sequence does not fit
├── LockError                       the lock's object could not be reached
│   ├── LockNotAcquiredError        held by somebody else
│   └── LockLostError               the block was cancelled, because its lock was lost
├── StaleFencingTokenError          a newer lock holder has written: stop, you lost the lock
├── UsageError                       the usage store failed or refused the call
│   └── BudgetExceededError         a reservation does not fit under its caps
├── TurnError                       a turn was not begun, or used in a wrong way
│   ├── TurnRunningError            a turn of this id runs: follow its stream
│   └── TurnEndedError              a turn of this id has ended: take its outcome
├── MigrationError
├── BindingError                    a binding of wrangler.toml is missing, exchanged or of a wrong class
└── InvalidArgumentError            also a ValueError: refused before anything is sent
    └── MissingFencingTokenError    a write was given None as its fencing token
```

The facts to act on are attributes. `facts()` returns them as the keyword arguments that build an equal error. So an error keeps
its class and its facts on the way from a Durable Object to the caller. Messages hold ids and sizes, never content.
"""

from __future__ import annotations

from agents_store_cloudflare.contract.errors.base import (
    ERRORS_BY_CODE,
    AgentsStoreError,
    BindingError,
    InvalidArgumentError,
    MigrationError,
    MissingFencingTokenError,
    StaleFencingTokenError,
)
from agents_store_cloudflare.contract.errors.state import (
    CheckpointKeptError,
    CheckpointNotFoundError,
    D1StateError,
    RunConflictError,
    RunNotFoundError,
    SessionExistsError,
    SessionNotMovedError,
    StagingError,
    StaleStateError,
    StateNotFoundError,
    StateSizeExceededError,
    SubSessionRefNotFoundError,
)
from agents_store_cloudflare.contract.errors.streams import (
    SequenceConflictError,
    StreamChunkTooLargeError,
    StreamClosedError,
    StreamConnectionError,
    StreamError,
    StreamFailedError,
    StreamNotFoundError,
    StreamTruncatedError,
)
from agents_store_cloudflare.contract.errors.work import (
    BudgetExceededError,
    LockError,
    LockLostError,
    LockNotAcquiredError,
    TurnEndedError,
    TurnError,
    TurnRunningError,
    UsageError,
)

__all__ = [
    "ERRORS_BY_CODE",
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
]
