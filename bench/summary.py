"""The first lines of docs/performance.md: what is fast, what is not, and why. Every number comes from the published results."""

from collections.abc import Mapping
from statistics import median

from bench.findings import Published
from bench.peers.section import dollars

__all__ = ["summary_section"]

BATCH, CALL = "an empty D1 batch", "an empty call of a Durable Object"
TURN, AT_MS = "chat_turn", "20"


def summary_section(run: Published, parts: Mapping[str, Published]) -> str:
    """A few points. A part that was never measured leaves its point out."""
    peers = parts.get("peers")
    points = [
        *_turns(peers),
        *_money(peers),
        _single_calls(run),
        *_border(run),
        *_load(parts.get("load"), parts.get("long")),
    ]
    return "\n".join([*points, _first_request(run)])


def _turns(peers: Published | None) -> list[str]:
    if peers is None:
        return []
    found = _turns_of(peers)
    words = [f"{name} {job['medianMs'][AT_MS]:,.0f} ms and {job['waitsInARow']:.1f} waits" for name, job in found]
    fewest = min(found, key=lambda side: side[1]["waitsInARow"])[0]
    line = (
        "- **What a user feels is waits in a row**, and a turn by this package has few. A chat's turn of 400 chunks behind "
        f"{AT_MS} ms of network, without the model's time: {'; '.join(words)}. {fewest} waits least of all; the reason stands below."
    )
    return [line]


def _turns_of(peers: Published) -> list[tuple[str, Published]]:
    return [(side["name"], side["jobs"][TURN]) for side in peers["sides"] if TURN in side["jobs"]]


def _money(peers: Published | None) -> list[str]:
    if peers is None:
        return []
    prices = "; ".join(f"{name} {dollars(job['cost'])}" for name, job in _turns_of(peers))
    return [f"- **Rows are what costs.** A million of these turns, without the time that objects are awake: {prices}."]


def _load(load: Published | None, long: Published | None) -> list[str]:
    """How much one local process answers, and whether anything grows."""
    if load is None:
        return []
    last = load["steps"][-1]
    line = (
        f"- **One local process** answers {last['answered']:,.0f} turns of 20 chunks a second when {last['offered']:,.0f} are begun, half "
        f"of them within {last['p50Ms']:,.0f} ms, {last['errors']:,} with an error."
    )
    if long is not None:
        grows = any(each["grows"] for each in long["memory"])
        line += f" In {long['seconds'] / 60:.0f} minutes of load memory {'grows' if grows else 'levels off'}."
    return [line]


def _first_request(run: Published) -> str:
    return (
        f"- **A cold start** takes {run['firstRequest']['extraMedianMs']:,.0f} ms longer with the package in the local runtime, which "
        "imports it in the first request; Cloudflare imports it when a Worker is deployed."
    )


def _single_calls(run: Published) -> str:
    ratios = {entry["name"]: entry["ratio"]["median"] for entry in run["jobs"]}
    slowest = max(ratios, key=lambda name: ratios[name])
    return (
        f"- **Single calls are slower than in JavaScript.** Without a network between, the middle of {len(ratios)} jobs takes "
        f"{median(ratios.values()):.2f} times as long, and the slowest {ratios[slowest]:.2f} times ({slowest}). Each line stands below."
    )


def _border(run: Published) -> list[str]:
    steps = {entry["name"]: entry for entry in run["platform"]}
    if BATCH not in steps or CALL not in steps:
        return []
    batch, call = steps[BATCH], steps[CALL]
    line = (
        f"- **Why: the border.** {BATCH[0].upper()}{BATCH[1:]} takes {batch['pythonUs']:,.0f} µs from Python and "
        f"{batch['javascriptUs']:,.0f} from JavaScript, {CALL} {call['pythonUs']:,.0f} and {call['javascriptUs']:,.0f}. No library "
        "changes that, so the package crosses the border seldom: one batch a call, one row a flush."
    )
    return [line]
