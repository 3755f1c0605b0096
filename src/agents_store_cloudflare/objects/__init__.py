"""The Durable Object seams: how a caller reaches an object, and what an object has of its platform.

Callers see an `ObjectNamespace`. The objects' own logic (`StreamObject`, `LockObject`) sees an `ObjectHost`. Below them is
either Cloudflare (`cloudflare/`) or one process of CPython (`testing.LocalObjects`). The logic cannot tell which.
"""

from agents_store_cloudflare.objects.host import EventBody, ObjectHost, ObjectLogic, ObjectSocket, Outbound, PullsFrames
from agents_store_cloudflare.objects.namespace import KeepsLines, ObjectCallError, ObjectNamespace, with_retry

__all__ = [
    "EventBody",
    "KeepsLines",
    "ObjectCallError",
    "ObjectHost",
    "ObjectLogic",
    "ObjectNamespace",
    "ObjectSocket",
    "Outbound",
    "PullsFrames",
    "with_retry",
]
