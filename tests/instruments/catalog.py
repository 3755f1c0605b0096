"""The roles that the instruments work on."""

from tests.instruments.lock_operations import LOCKS
from tests.instruments.state_operations import STATE
from tests.instruments.store_operations import STORE
from tests.instruments.stream_operations import STREAMS
from tests.instruments.subscription_operations import SUBSCRIPTIONS
from tests.instruments.usage_operations import USAGE

__all__ = ["ROLES"]

ROLES = (STATE, USAGE, STREAMS, LOCKS, STORE, SUBSCRIPTIONS)
