"""The Durable Object seams: `ObjectNamespace` for callers, `ObjectHost` for the logic inside an object.

Below them is either Cloudflare (`cloudflare/`) or one process of CPython (`testing.LocalObjects`). The logic (`StreamObject`,
`LockObject`) is the same on both.
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
