r"""The WebSocket wire of a stream. The object sends frames and receives acknowledgements. A socket's attachment holds all facts
about its listener.

```text
to the client    text messages of one or more lines, a frame each:
                 {"event":"chunk","id":7,"data":{"type":"text",…}}
                 {"event":"end","data":{"status":"completed","output":…}}     then a close with code 1000
                 {"event":"ack"}     answer with the text `ack`, when everything before it is dealt with
from the client  `ack`, after an `ack` frame; `ping` at any time: the platform answers `pong` by itself
```

The platform does not say how many sent bytes still wait in its memory. So the object asks a client for an `ack` every 128 KB. A
client with more than 256 KB without an `ack` gets no frames: it is behind, and gets the log from its place when its `ack` comes. A
short answer needs no `ack`. Only an append or an `ack` wakes a hibernating object.
"""

from __future__ import annotations

import json
import secrets
from typing import Final, Self

from agents_store_cloudflare.objects import ObjectSocket
from agents_store_cloudflare.streams.subscription import Place

__all__ = ["ACKNOWLEDGEMENT", "SocketSink", "socket_frame"]

ACKNOWLEDGEMENT: Final = "ack"
WINDOW_BYTES: Final = 256 * 1024
MARK_BYTES: Final = WINDOW_BYTES // 2
NORMAL_CLOSURE: Final = 1000
POLICY_VIOLATION: Final = 1008
TRY_AGAIN_LATER: Final = 1013
MOST_UNASKED: Final = 32
"""The number of acknowledgements that a client may send without a request. Each of them wakes the object."""
_MARK: Final = '{"event":"ack"}'


def socket_frame(event: str, data: str, sequence: int | None = None, /) -> str:
    """Return one frame: a JSON object and a newline. JSON text holds no raw newline itself."""
    id_member = "" if sequence is None else f'"id":{sequence},'
    return f'{{"event":"{event}",{id_member}"data":{data}}}\n'


class SocketSink:
    """A `FrameSink` over one hibernatable socket. It sends at most 256 KB and one page without an `ack` of the client.

    Attributes:
        key: names the socket among the sockets of its object.
        stream_id: the stream that the client listens to.
        place: the listener's place that the attachment holds.
    """

    def __init__(self, socket: ObjectSocket, stream_id: str, *, key: str, place: Place) -> None:
        self._socket = socket
        self._owed_bytes = 0  # bytes sent since the last `ack`
        self._bytes_after_mark: int | None = None  # None when no `ack` was asked for
        self._unasked = 0
        self.key: str = key
        self.stream_id: str = stream_id
        self.place: Place = place

    @classmethod
    def fresh(cls, socket: ObjectSocket, stream_id: str, place: Place) -> Self:
        """Return the sink of a new socket."""
        return cls(socket, stream_id, key=secrets.token_hex(8), place=place)

    @classmethod
    def restored(cls, socket: ObjectSocket) -> Self:
        """Return the sink of a socket, from its attachment, after the object has slept.

        Raises:
            ValueError, KeyError, TypeError: another version of this code has written the attachment.
        """
        kept = json.loads(socket.attachment())
        place = Place(kept["sequence"], kept["incarnation"], kept["isLive"], kept["wasCaughtUp"], kept["untilMs"])
        sink = cls(socket, kept["streamId"], key=kept["key"], place=place)
        sink._owed_bytes, sink._bytes_after_mark = kept["owedBytes"], kept["bytesAfterMark"]
        sink._unasked = kept["unasked"]
        return sink

    def push(self, frames: str) -> bool:
        """Send frames if the client is not too far behind. The `ack` frame goes first, so that nothing follows the last frames."""
        if self._owed_bytes >= MARK_BYTES and self._bytes_after_mark is None:
            self._socket.send(_MARK)
            self._bytes_after_mark = 0
        if self._owed_bytes >= WINDOW_BYTES or not self._socket.send(frames.removesuffix("\n")):
            return False
        size_bytes = len(frames.encode())
        self._owed_bytes += size_bytes
        if self._bytes_after_mark is not None:
            self._bytes_after_mark += size_bytes
        return True

    def remember(self, place: Place) -> None:
        """Keep the listener's place in the socket's attachment, which outlives the object's memory."""
        self.place = place
        kept = {
            "key": self.key,
            "streamId": self.stream_id,
            "sequence": place.sequence,
            "incarnation": place.incarnation,
            "isLive": place.is_live,
            "wasCaughtUp": place.was_caught_up,
            "untilMs": place.until_ms,
            "owedBytes": self._owed_bytes,
            "bytesAfterMark": self._bytes_after_mark,
            "unasked": self._unasked,
        }
        self._socket.attach(json.dumps(kept))

    def has_read(self) -> bool:
        """Return True: an idle open socket costs nothing, so it may stay open."""
        return True

    def acknowledge(self) -> bool:
        """Count an `ack`. Return False if the client was not asked for it."""
        if self._bytes_after_mark is None:
            self._unasked += 1
            return False
        self._owed_bytes, self._bytes_after_mark, self._unasked = self._bytes_after_mark, None, 0
        return True

    def is_pestering(self) -> bool:
        """Return whether the client has sent too many acknowledgements without a request."""
        return self._unasked > MOST_UNASKED

    def break_off(self) -> None:
        """Close the socket, so that the client comes back."""
        self._socket.close(TRY_AGAIN_LATER, "nothing was read; connect again")

    def refuse(self) -> None:
        """Close the socket, because the client's permission is over."""
        self._socket.close(POLICY_VIOLATION, "the permission is over")

    def close(self) -> None:
        """Close the socket after the last frame."""
        self._socket.close(NORMAL_CLOSURE, "nothing follows")
