"""A service that speaks OpenAI's chat completions, streamed, as far as the example Worker asks for it."""

import json
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

KEY = "stub-key"


class OpenAIStub:
    """The requests to the stub, in order, and its answers: first a search, then a few words."""

    answer = ("Locks ", "are ", "leases – ", "see ", "README.md.")

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[dict[str, Any]] = []

    def deltas(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Return the deltas of one completion: a tool call in four pieces if the question comes last, otherwise the answer."""
        yield {"role": "assistant", "content": ""}
        if request["messages"][-1]["role"] == "user":
            function = {"name": "search_docs", "arguments": ""}
            yield {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]}
            for piece in ('{"qu', 'ery": "fencing', ' tokens"}'):
                yield {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}
        else:
            for word in self.answer:
                yield {"content": word}

    def usage(self) -> dict[str, Any]:
        """Return the usage that each completion reports."""
        return {
            "prompt_tokens": 100,
            "completion_tokens": 10,
            "total_tokens": 110,
            "prompt_tokens_details": {"cached_tokens": 64},
            "completion_tokens_details": {"reasoning_tokens": 3},
        }


class _Handler(BaseHTTPRequestHandler):
    stub: ClassVar[OpenAIStub]
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path != "/v1/chat/completions" or self.headers["authorization"] != f"Bearer {KEY}":
            self.send_error(401)
            return
        request = json.loads(body)
        self.stub.requests.append(request)
        if request["messages"][-1]["content"] == "Please FAIL":
            self.send_error(400)
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        reason = "tool_calls" if request["messages"][-1]["role"] == "user" else "stop"
        for delta in self.stub.deltas(request):
            self._event(choices=[{"index": 0, "delta": delta, "finish_reason": None}])
        self._event(choices=[{"index": 0, "delta": {}, "finish_reason": reason}])
        self._event(choices=[], usage=self.stub.usage())
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _event(self, **parts: Any) -> None:
        event = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "stub-model", **parts}
        # Cut in the middle of a character or not: the Worker's transport may not care.
        data = f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode()
        half = len(data) // 2
        self._chunk(data[:half])
        self._chunk(data[half:])

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Keep the tests' output clean."""


@contextmanager
def openai_stub() -> Generator[OpenAIStub]:
    """Serve a stub on a free port of 127.0.0.1."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    stub = OpenAIStub(f"http://127.0.0.1:{server.server_port}/v1")
    server.RequestHandlerClass = type("_BoundHandler", (_Handler,), {"stub": stub})
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
