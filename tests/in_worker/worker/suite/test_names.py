"""The names of the package inside the Workers runtime, where the Durable Object classes can load."""

from typing import Any

import agents_store_cloudflare


def test_star_import_gives_the_servers_too() -> None:
    """`import *` in a Worker gives every seed name, and the servers as Durable Object classes."""
    from workers import DurableObject

    names: dict[str, Any] = {}
    exec("from agents_store_cloudflare import *", names)

    assert set(agents_store_cloudflare.__all__) <= set(names)
    for name in ("LockServer", "SessionServer", "StreamServer"):
        assert issubclass(names[name], DurableObject), name
