"""Random requests of the Durable Streams protocol: mostly nearly right, now and then nonsense. A seed gives one again."""

import json
import random
from typing import Any

__all__ = ["random_request"]

NAMES = [f"fuzz-{number}" for number in range(12)]
OFFSETS = [
    "-1",
    "now",
    "0" * 16 + "_" + "0" * 16,
    "0" * 15 + "1_" + "0" * 16,
    "9" * 16 + "_" + "9" * 16,
    "",
    "x",
    "-2",
    "0_0",
]
TYPES = [
    "application/json",
    "text/plain",
    "application/octet-stream",
    "APPLICATION/JSON; charset=utf-8",
    "text",
    "",
    "a/b/c",
]
NUMBERS = ["0", "1", "2", "3", "007", "-1", "1.5", "9007199254740991", "9007199254740993", "9" * 50, "", "١", "0x1"]
TIMES = [
    "2099-01-01T00:00:00Z",
    "2099-01-01T00:00:00+02:00",
    "1970-01-01T00:00:00Z",
    "2099-13-01T00:00:00Z",
    "now",
    "9999-12-31T23:59:59Z",
]
ACKS: list[Any] = [[], [{}], {}, [{"stream": "fuzz-1", "offset": "x"}], [5]]
TEXTS = ["a", "b", "ü", "x" * 300, "x" * 2_000, " ", "a,b", '"']


def random_request(seed: int) -> tuple[str, str, bytes | None, dict[str, str]]:
    """Return method, path below the prefix, body and headers."""
    dice = random.Random(seed)
    method = dice.choice(["PUT", "POST", "POST", "POST", "GET", "GET", "HEAD", "DELETE", "PATCH", "OPTIONS"])
    headers = _headers(dice)
    body = _body(dice) if method in ("PUT", "POST", "PATCH") and dice.random() < 0.9 else None
    return method, _path(dice) + _query(dice), body, headers


def _path(dice: random.Random) -> str:
    if dice.random() < 0.85:
        return dice.choice(NAMES)
    if dice.random() < 0.5:
        verb = dice.choice(["", "/ack", "/claim", "/release", "/callback", "/streams", "/streams/a%2Fb", "/nothing"])
        return f"__ds/subscriptions/{dice.choice(['a', 'b', '%20', 'x' * 200])}{verb}"
    return dice.choice(
        [
            "",
            "/",
            "a//b",
            "%",
            "%zz",
            "%00",
            "%ff%fe",
            "__x",
            "__ds",
            "__ds/",
            "__ds/jwks.json",
            "x" * 700,
        ]
    )


def _query(dice: random.Random) -> str:
    if dice.random() < 0.4:
        return ""
    parts: list[str] = []
    if dice.random() < 0.8:
        parts.append(f"offset={dice.choice(OFFSETS)}")
    # A live read is only asked for where nothing is waited for: at an offset that is wrong, or of data.
    if dice.random() < 0.1:
        parts.append(
            f"live={dice.choice(['never', '', 'sse', 'long-poll'])}" if "now" not in "".join(parts) else "live=x"
        )
    if dice.random() < 0.1:
        parts.append(f"cursor={dice.choice(['1', 'x', '9' * 40, ''])}")
    if dice.random() < 0.05:
        parts.append(dice.choice(["%", "offset=-1", "a=b", "&&&", "=", "offset=%ff"]))
    return "?" + "&".join(part for part in parts if "sse" not in part)


def _headers(dice: random.Random) -> dict[str, str]:
    headers: dict[str, str] = {}
    pools = {
        "Content-Type": (TYPES, 0.85),
        "Stream-TTL": (NUMBERS, 0.1),
        "Stream-Expires-At": (TIMES, 0.08),
        "Stream-Closed": (["true", "TRUE", "false", "1", ""], 0.1),
        "Stream-Seq": (TEXTS, 0.15),
        "Producer-Id": (TEXTS, 0.25),
        "Producer-Epoch": (NUMBERS, 0.25),
        "Producer-Seq": (NUMBERS, 0.25),
        "Stream-Forked-From": ([f"/v1/stream/{name}" for name in NAMES] + ["/", "x", "//[", "/v1/stream/"], 0.1),
        "Stream-Fork-Offset": (OFFSETS, 0.07),
        "Stream-Fork-Sub-Offset": (NUMBERS, 0.07),
        "If-None-Match": (['"a"', "*", "W/", ",,,"], 0.1),
        "Authorization": (["Bearer 1.w.x", "Bearer", "Basic x"], 0.1),
    }
    is_producer = dice.random() < 0.3
    for name, (values, share) in pools.items():
        if dice.random() < share or (is_producer and name.startswith("Producer")):
            headers[name] = dice.choice(values[:4] if dice.random() < 0.7 else values).encode().decode("latin-1")
    return headers


def _body(dice: random.Random) -> bytes:
    match dice.randrange(8):
        case 0:
            return dice.randbytes(dice.choice([0, 1, 10, 1_000, 70_000]))
        case 1:
            return dice.choice(
                [b"", b"[]", b"[[]]", b"{", b"nul", b"NaN", b"-", b'"\\u', b"\xef\xbb\xbf1", b"1 2", b"[1,]"]
            )
        case 2:
            depth = dice.choice([199, 200, 201, 1_000, 5_000, 100_000])
            return dice.choice(['{"a":', "[", '[{"":']).encode() * depth
        case 3:
            return json.dumps(_subscription(dice)).encode()
        case _:
            return json.dumps(_value(dice, 3)).encode()


def _value(dice: random.Random, depth: int) -> Any:
    if depth and dice.random() < 0.6:
        values = [_value(dice, depth - 1) for _ in range(dice.randrange(5))]
        return values if dice.random() < 0.5 else {str(key): value for key, value in enumerate(values)}
    return dice.choice(
        [None, True, 0, -1.5, 10**30, "", "é\U0001f600\x00", "x" * dice.choice([1, 1_000]), {"type": "text"}]
    )


def _subscription(dice: random.Random) -> dict[str, Any]:
    urls = [
        "http://127.0.0.1:9/",
        "https://10.0.0.1/",
        "https://[::1]/",
        "https://example.com\\@x",
        "ftp://x",
        5,
        "http://2130706433/",
    ]
    fields: dict[str, Any] = {
        "type": dice.choice(["webhook", "pull-wake", "x", None]),
        "pattern": dice.choice(["fuzz-*", "**", "a/**/b/*", "", 5, "*" * 500]),
        "streams": dice.choice([["fuzz-1"], [], "x", [5], ["__x"], ["a"] * 2_000]),
        "webhook": dice.choice([{"url": dice.choice(urls)}, {}, None, []]),
        "wake_stream": dice.choice(["fuzz-2", "", "__x", None]),
        "lease_ttl_ms": dice.choice([1_000, 0, 1.5, "x", 10**20]),
        "wake_id": "w",
        "generation": dice.choice([1, "1", None]),
        "acks": dice.choice(ACKS),
        "done": True,
        "worker": dice.choice(["w", "", 5]),
    }
    return {name: value for name, value in fields.items() if dice.random() < 0.7}
