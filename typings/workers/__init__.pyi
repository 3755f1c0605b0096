"""What this project uses of the Workers SDK; the package's own types need modules that exist inside Workers only."""

from typing import Any

env: Any

class WorkerEntrypoint:
    ctx: Any
    env: Any
    def __init__(self, ctx: Any, env: Any) -> None: ...

class DurableObject:
    ctx: Any
    env: Any
    def __init__(self, ctx: Any, env: Any) -> None: ...

class WorkflowEntrypoint:
    ctx: Any
    env: Any
    def __init__(self, ctx: Any, env: Any) -> None: ...

class Request:
    url: str
    method: str
    headers: Any
    js_object: Any
    async def text(self) -> str: ...

class Response:
    def __init__(self, body: object = ..., *, status: int = ..., headers: object = ...) -> None: ...

async def fetch(resource: object, **options: Any) -> Any: ...
