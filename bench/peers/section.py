"""The part of docs/performance.md that sets the package beside what people take instead. It comes only from the published results."""

from collections.abc import Mapping
from typing import Any

from agents_store_cloudflare.contract.costs import Cost, D1Cost, ObjectCost
from agents_store_cloudflare.metering.costs import estimate
from bench.findings import Published
from bench.peers.chat import JOBS, MODEL_MS
from bench.sections import measured_on
from bench.verdicts import milliseconds

__all__ = ["dollars", "durable_section", "graph_section", "peers_section"]

GRAPH_COSTS = ("D1 round trips", "rows read", "written", "a million", "stored", "checkpoints kept")
DURABLE_HEAD = "| job | reference server | this package's Worker | ratio | lowest–highest |\n|---|--:|--:|--:|--:|"
COSTS = ("D1 trips", "object calls", "D1 rows read / written", "object rows", "a million")
KILOBYTE = 1024
LEDGER = "Trips, calls and rows are counted while the job is timed, a reader's job up to the chunk that it waits for."
STORED = (
    " *Stored* is what a session holds on disk afterwards, in D1 and in its objects, with its 20 older messages; the jobs without it "
    "store nothing, or are part of a turn."
)


def peers_section(run: Published) -> str:
    """A table for each job: times, waits in a row, and what it costs. Then what each side does."""
    sides = run["sides"]
    delays = [int(delay) for delay in next(iter(sides[0]["jobs"].values()))["medianMs"]]
    weighed = any(_is_weighed(side, job) for side in sides for job in side["jobs"])
    head = f"{measured_on(run)} The model takes {MODEL_MS:,.0f} ms of a turn; they are taken off. {LEDGER}{STORED * weighed}"
    tables = [
        _job_table(job, title, having, delays)
        for job, title in JOBS.items()
        if (having := [side for side in sides if job in side["jobs"]])
    ]
    notes = "\n".join(f"- **{side['name']}**: {side['note']}." for side in sides)
    return "\n\n".join([head, *tables, "What each does for it:", notes])


def graph_section(run: Published) -> str:
    """One table, and what each saver does for it."""
    savers = run["savers"]
    delays = [int(delay) for delay in savers[0]["medianMs"]]
    head = ["saver", *(f"{delay} ms" for delay in delays), "waits in a row", *GRAPH_COSTS]
    rows = [
        f"| {' | '.join(head)} |",
        f"|---|{'--:|' * (len(head) - 1)}",
        *(_graph_row(each, delays) for each in savers),
    ]
    notes = [f"- {saver['name']}: {saver['note']}." for saver in savers]
    return "\n".join([measured_on(run), "", *rows, "", *notes])


def durable_section(run: Published) -> str:
    """One table."""
    return "\n".join([measured_on(run), "", DURABLE_HEAD, *map(_durable_row, run["jobs"])])


def dollars(cost: Mapping[str, float]) -> str:
    """The list price of a million turns: rows and requests to objects, without the time that objects are awake."""
    counts = {name: round(value) for name, value in cost.items()}
    d1 = D1Cost(round_trips=counts["batches"], rows_read=counts["rowsRead"], rows_written=counts["rowsWritten"])
    objects = ObjectCost(
        calls=counts["calls"], rows_read=counts["objectRowsRead"], rows_written=counts["objectRowsWritten"]
    )
    return f"${estimate(Cost(d1=d1, objects=objects)).total / 1_000_000:,.2f}"


def _durable_row(entry: Published) -> str:
    ratio = entry["ratio"]
    times = [f"{milliseconds(entry[side])} ms" for side in ("nodeMs", "workerMs")]
    spread = f"{ratio['lowest']:.2f}–{ratio['highest']:.2f}"
    return f"| {' | '.join([entry['name'], *times, format(ratio['median'], '.2f'), spread])} |"


def _graph_row(saver: dict[str, Any], delays: list[int]) -> str:
    cost = saver["cost"]
    cells = [saver["name"], *(f"{milliseconds(saver['medianMs'][str(delay)])} ms" for delay in delays)]
    cells += [
        format(saver["waitsInARow"], ".1f"),
        *(f"{cost[name]:,}" for name in ("batches", "rowsRead", "rowsWritten")),
    ]
    objects = dict.fromkeys(("calls", "objectRowsRead", "objectRowsWritten"), 0)
    cells += [
        dollars({**cost, **objects}),
        f"{cost['storedBytes'] / KILOBYTE:,.0f} KB",
        f"{saver['checkpoints']} of {saver['allCheckpoints']}",
    ]
    return f"| {' | '.join(cells)} |"


def _is_weighed(side: Mapping[str, Any], job: str) -> bool:
    return "storedBytes" in side["jobs"][job].get("cost", {})


def _job_table(job: str, title: str, sides: list[dict[str, Any]], delays: list[int]) -> str:
    """Times and waits; then the columns that were counted."""
    counted = all("cost" in side["jobs"][job] for side in sides)
    weighed = counted and all(_is_weighed(side, job) for side in sides)
    head = [f"**{title[0].upper()}{title[1:]}**", *(f"{delay} ms" for delay in delays), "waits in a row"]
    head += [*COSTS] if counted else []
    head += ["stored"] if weighed else []
    rows = [f"| {' | '.join(head)} |", f"|---|{'--:|' * (len(head) - 1)}"]
    for side in sides:
        found = side["jobs"][job]
        cells = [side["name"]]
        cells += [f"{milliseconds(max(found['medianMs'][str(delay)], 0))} ms" for delay in delays]
        cells += [format(found["waitsInARow"], ".1f")]
        cells += _cost_cells(found["cost"]) if counted else []
        cells += [f"{found['cost']['storedBytes'] / KILOBYTE:,.0f} KB"] if weighed else []
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _cost_cells(cost: Mapping[str, float]) -> list[str]:
    pairs = (("rowsRead", "rowsWritten"), ("objectRowsRead", "objectRowsWritten"))
    rows = [" / ".join(f"{round(cost[name]):,}" for name in pair) for pair in pairs]
    return [*(f"{round(cost[name]):,}" for name in ("batches", "calls")), *rows, dollars(cost)]
