"""Where webhooks may go, and which paths a pattern covers."""

import pytest

from agents_store_cloudflare.durable_streams.refusals import Refusal
from agents_store_cloudflare.durable_streams.subscriptions.globs import matches
from agents_store_cloudflare.durable_streams.subscriptions.targets import check_addresses, check_target, host_to_resolve

REFUSED = [
    "http://example.com/", "ftp://example.com/", "https://localhost/", "https://a.localhost/", "https://127.0.0.1/",
    "https://127.1/", "https://0x7f.1/", "https://2130706433/", "https://0177.0.0.1/", "https://10.0.0.1/", "https://192.168.1.1/",
    "https://172.16.0.1/", "https://169.254.169.254/latest", "https://100.64.0.1/", "https://0.0.0.0/", "https://224.0.0.1/",
    "https://[::1]/", "https://[::]/", "https://[fe80::1]/", "https://[fd00::1]/", "https://[::ffff:10.0.0.1]/",
    "https://[64:ff9b::a00:1]/", "https://[2002:a00:1::]/", "https://[2001:0:1::]/", "https://metadata.google.internal/",
    "https://printer.local/", "https://intranet/", "https://user:password@example.com/", "https://example.com\\@10.0.0.1/",
    "https://exämple.com/", "https://example.com\n/", "https:///path", "https://example.com:99999/", "https://example.1/",
    "https://example.com./", "//example.com", "", None, 5, ["https://example.com"], "https://" + "a" * 3_000 + ".com/",
]  # fmt: skip


@pytest.mark.parametrize("url", REFUSED)
def test_refused(url: object) -> None:
    """DS-16: Any address is refused that is, or could be read as, no public https address."""
    with pytest.raises(Refusal) as refused:
        check_target(url, allow_loopback=False)
    assert (refused.value.status, refused.value.code) == (400, "WEBHOOK_URL_REJECTED")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.com/hook?x=1", "example.com"),
        ("https://a-b.example.co.uk:8443/", "a-b.example.co.uk"),
        ("https://93.184.216.34/", None),
        ("https://[2606:4700::1111]/", None),
    ],
)
def test_taken(url: str, name: str | None) -> None:
    """DS-16: Public names and addresses are accepted. The addresses of a name are checked."""
    assert check_target(url, allow_loopback=False) == url
    assert host_to_resolve(url, allow_loopback=False) == name


@pytest.mark.parametrize("url", ["http://localhost:9/", "http://127.0.0.1:9/", "http://127.0.0.9/", "http://[::1]:9/"])
def test_loopback_for_development(url: str) -> None:
    """DS-16: With the option, addresses of this machine alone are accepted too."""
    assert check_target(url, allow_loopback=True) == url
    assert host_to_resolve(url, allow_loopback=True) is None
    for other in ("http://10.0.0.1/", "http://example.com/", "http://169.254.169.254/"):
        with pytest.raises(Refusal):
            check_target(other, allow_loopback=True)


@pytest.mark.parametrize("address", ["10.0.0.1", "::1", "169.254.169.254", "::ffff:127.0.0.1", "no address"])
def test_resolved_addresses(address: str) -> None:
    """DS-16: A name is refused if one of its addresses is not public."""
    with pytest.raises(Refusal):
        check_addresses(["93.184.216.34", address])


@pytest.mark.parametrize(
    ("pattern", "fitting", "others"),
    [
        ("events/*", ["events/a", "events/"], ["events", "events/a/b", "x/events/a"]),
        ("events/**", ["events", "events/a", "events/a/b"], ["event", "x/events"]),
        ("**/log", ["log", "a/log", "a/b/log"], ["a/logs", "log/a"]),
        ("a/**/z*y", ["a/zy", "a/b/c/z-y"], ["a/z", "a/zy/b"]),
        ("exact", ["exact"], ["Exact", "exact/"]),
        ("*a*b*", ["ab", "xaxbx"], ["ba", "a"]),
    ],
)
def test_patterns(pattern: str, fitting: list[str], others: list[str]) -> None:
    """DS-15: `*` matches within a segment, `**` over segments."""
    assert [path for path in fitting + others if matches(pattern, path)] == fitting


def test_a_pattern_takes_no_time() -> None:
    """DS-13: Every pattern matches every path quickly."""
    assert not matches("/".join(["**", "*a*a*a*"] * 100), "/".join(["a" * 100] * 200) + "/b")
