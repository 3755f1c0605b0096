"""The first lines of docs/performance.md: what is fast, what is not, and why. Every number comes from the published results."""

from collections.abc import Mapping
from statistics import median

from bench.findings import Published

__all__ = ["summary_section"]

BATCH, CALL = "an empty D1 batch", "an empty call of a Durable Object"
TURN, AT_MS = "chat_turn", "20"


def summary_section(run: Published, parts: Mapping[str, Published]) -> str:
    """Three points. A part that was never measured leaves its point out."""
    return "\n".join([*_turns(parts.get("peers")), _single_calls(run), *_border(run)])


def _turns(peers: Published | None) -> list[str]:
    if peers is None:
        return []
    found = [(side["name"], side["jobs"][TURN]) for side in peers["sides"] if TURN in side["jobs"]]
    words = [f"{name} {job['medianMs'][AT_MS]:,.0f} ms and {job['waitsInARow']:.1f} waits" for name, job in found]
    fewest = min(found, key=lambda side: side[1]["waitsInARow"])[0]
    line = (
        "- **What a user feels is waits in a row**, and a turn by this package has few. A chat's turn of 400 chunks behind "
        f"{AT_MS} ms of network, without the model's time: {'; '.join(words)}. {fewest} waits least of all; the reason stands below."
    )
    return [line]


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
