"""docs/performance.md and its figures. Their generated parts come only from the published results."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bench.findings import Published
from bench.homes import homes_section
from bench.part_plots import capacity_svg, load_svg, peers_svg
from bench.peers.section import durable_section, graph_section, peers_section
from bench.plot import growth_svg, ratios_svg
from bench.sections import cpu_section, imports_section, load_section, long_section, row
from bench.summary import summary_section
from bench.verdicts import floor_verdict, growth_verdict, is_met, javascript_verdict, milliseconds
from bench.versions import versions_section
from tools.places import ROOT

__all__ = [
    "FIGURES",
    "PAGE",
    "PARTS",
    "PART_FIGURES",
    "RESULTS_FILE",
    "not_measured",
    "page_with",
    "publish",
    "publish_part",
    "published",
    "published_parts",
    "rewrite_page",
]

PAGE = ROOT / "docs/performance.md"
RESULTS = Path(__file__).parent / "results"
RESULTS_FILE = RESULTS / "latest.json"
FIGURES: Mapping[Path, Callable[[Published], str]] = {
    ROOT / "docs/performance.svg": ratios_svg,
    ROOT / "docs/performance-growth.svg": growth_svg,
}
PART_FIGURES: Mapping[Path, Callable[[Mapping[str, Published]], str]] = {
    ROOT / "docs/performance-peers.svg": lambda parts: peers_svg(parts["peers"]),
    ROOT / "docs/performance-load.svg": lambda parts: load_svg(parts["load"]),
    ROOT / "docs/performance-capacity.svg": lambda _parts: capacity_svg(),
}
KILOBYTE = 1024
MEGABYTE = 1024 * KILOBYTE
MEMORY_BOUND_KB = 512


def publish(run: Published) -> None:
    """Store the run as the published run, and write the page and its figures from it."""
    _keep(run, RESULTS_FILE)
    rewrite_page()


def publish_part(name: str, run: Published) -> None:
    """Keep the run of one part as the published one, and write the page from it.

    Args:
        name: a key of `PARTS`.
    """
    _keep(run, PARTS[name].file)
    rewrite_page()


def _keep(run: Published, file: Path) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n")


def rewrite_page() -> None:
    """Write the page and its figures from the published runs."""
    run, parts = published(), published_parts()
    PAGE.write_text(page_with(run, parts, PAGE.read_text()))
    for file, figure in FIGURES.items():
        file.write_text(figure(run))
    for file, part_figure in PART_FIGURES.items():
        file.write_text(part_figure(parts))


def published() -> Published:
    """Return the run that was published last."""
    run: Published = json.loads(RESULTS_FILE.read_text())
    return run


def published_parts() -> Mapping[str, Published]:
    """The runs of the parts that are measured by themselves, as they were published last."""
    return {name: json.loads(part.file.read_text()) for name, part in PARTS.items() if part.file.exists()}


def page_with(run: Published, parts: Mapping[str, Published], page: str) -> str:
    """Return the page with new sections. Text that was written by hand stays."""
    page = _with_section(page, "summary", summary_section(run, parts))
    for name, section in SECTIONS.items():
        page = _with_section(page, name, section(run))
    for name, part in PARTS.items():
        text = part.section(parts[name]) if name in parts else not_measured(name)
        page = _with_section(page, name, text)
    return page


def not_measured(name: str) -> str:
    """Return the words for a part without a published run.

    Args:
        name: a key of `PARTS`.
    """
    against = " --against REF" if name == "versions" else ""
    return f'Not measured yet: `make bench ARGS="--part {name}{against}"` measures it.'


def _with_section(page: str, name: str, section: str) -> str:
    before, rest = page.split(f"<!-- {name} -->\n")
    _, after = rest.split(f"<!-- /{name} -->\n")
    return f"{before}<!-- {name} -->\n\n{section}\n\n<!-- /{name} -->\n{after}"


def machine_section(run: Published) -> str:
    """Return the section about the time, the machine and the versions."""
    machine, versions = run["machine"], run["versions"]
    when = datetime.fromisoformat(run["when"])
    names = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"Measured on {when:%Y-%m-%d} in {run['pairs']} pairs, on {machine['cores']} cores of an {machine['cpu']} "
        f"({machine['architecture']}), load {machine['loadBefore']} before it began; {names}."
    )


def jobs_section(run: Published) -> str:
    """Return every job beside JavaScript and beside its floor, and how many targets are met."""
    verdicts = [is_met(entry) for entry in run["jobs"]]
    missed = [entry["name"] for entry in run["jobs"] if is_met(entry) is False]
    tally = f"{verdicts.count(True)} of {len(verdicts) - verdicts.count(None)} targets are met."
    if missed:
        tally += f" Missed: {'; '.join(missed)}."
    return "\n".join([JOBS_HEAD, *map(_job_row, run["jobs"]), "", tally])


def growth_section(run: Published) -> str:
    """Return every series with its exponent."""
    return "\n".join([GROWTH_HEAD, *map(_growth_row, run["growth"])])


def platform_section(run: Published) -> str:
    """Return the section about the costs of the platform's own steps."""
    return "\n".join([PLATFORM_HEAD, *map(_platform_row, run["platform"])])


def waiting_section(run: Published) -> str:
    """Return each job's time in its parts."""
    return "\n".join([WAITING_HEAD, *map(_waiting_row, run["waiting"])])


def first_request_section(run: Published) -> str:
    """Return the extra time, and its spread."""
    first = run["firstRequest"]
    return (
        f"The package adds **{first['extraMedianMs']:,.0f} ms** (median of {first['starts']} pairs, "
        f"{first['extraLowestMs']:,.0f} to {first['extraHighestMs']:,.0f}): from the start of the local runtime to the first answer "
        f"it takes {first['importingMedianMs']:,.0f} ms with it and {first['emptyMedianMs']:,.0f} ms without."
    )


def memory_section(run: Published) -> str:
    """Return the memory of a stream on both sides, beside its bound, and the memory after an eviction."""
    memory = run["memory"]
    per_stream_kb = memory["pythonBytesPerStream"] / KILOBYTE
    verdict = "met" if per_stream_kb <= MEMORY_BOUND_KB else "missed"
    return (
        f"**{per_stream_kb:.0f} KB** a stream, bound: {MEMORY_BOUND_KB} KB ({verdict}); "
        f"{memory['javascriptBytesPerStream'] / KILOBYTE:.0f} KB on the JavaScript side. {memory['streams']:,} streams take the process "
        f"from {memory['beforeBytes'] / MEGABYTE:.0f} MB to {memory['afterBytes'] / MEGABYTE:.0f} MB, with {memory['living']:,} stream "
        f"objects in the interpreter. After a pause in which the runtime evicts idle objects, and {memory['touchedAgain']} streams "
        f"touched again, {memory['livingLater']:,} are in the interpreter and the process has {memory['laterBytes'] / MEGABYTE:.0f} MB."
    )


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the page that is measured by itself."""

    file: Path
    section: Callable[[Published], str]


PARTS: Mapping[str, Part] = {
    "peers": Part(RESULTS / "peers.json", peers_section),
    "homes": Part(RESULTS / "homes.json", homes_section),
    "graph": Part(RESULTS / "graph.json", graph_section),
    "durable": Part(RESULTS / "durable.json", durable_section),
    "cpu": Part(RESULTS / "cpu.json", cpu_section),
    "imports": Part(RESULTS / "imports.json", imports_section),
    "load": Part(RESULTS / "load.json", load_section),
    "long": Part(RESULTS / "long.json", long_section),
    "versions": Part(RESULTS / "versions.json", versions_section),
}
SECTIONS: Mapping[str, Callable[[Published], str]] = {
    "machine": machine_section,
    "jobs": jobs_section,
    "growth": growth_section,
    "waiting": waiting_section,
    "platform": platform_section,
    "first request": first_request_section,
    "memory": memory_section,
}
JOBS_HEAD = (
    "| job | JavaScript | Python | ratio | lowest–highest | target | floor | JavaScript | Python | over floor | target |\n"
    "|---|--:|--:|--:|--:|---|---|--:|--:|--:|---|"
)
GROWTH_HEAD = "| job | sizes | times | exponent | target |\n|---|--:|--:|--:|---|"
WAITING_HEAD = "| job | Python | waiting for D1 | for objects | Python in the Worker |\n|---|--:|--:|--:|--:|"
PLATFORM_HEAD = "| step | JavaScript | Python |\n|---|--:|--:|"


def _job_row(entry: Published) -> str:
    ratio, floor = entry["ratio"], entry["floor"]
    cells = [
        entry["name"],
        f"{milliseconds(entry['javascript']['medianMs'])} ms",
        f"{milliseconds(entry['python']['medianMs'])} ms",
        f"**{ratio['median']:.2f}**",
        f"{ratio['lowest']:.2f}–{ratio['highest']:.2f}",
        javascript_verdict(entry),
        floor["calls"],
        f"{milliseconds(floor['javascriptMs'])} ms",
        f"{milliseconds(floor['pythonMs'])} ms",
        f"{floor['ratio']['median']:.2f}",
        floor_verdict(entry),
    ]
    return row(cells)


def _growth_row(entry: Published) -> str:
    sizes = ", ".join(f"{size:,}" for size in entry["sizes"])
    times = ", ".join(map(milliseconds, entry["medianMs"]))
    return row(
        [entry["name"], f"{sizes} {entry['unit']}", f"{times} ms", f"{entry['exponent']:.2f}", growth_verdict(entry)]
    )


def _waiting_row(entry: Published) -> str:
    own_ms = entry["elapsedMs"] - entry["d1Ms"] - entry["objectsMs"]
    waits = [f"{milliseconds(entry[part])} ms" if entry[part] else "" for part in ("d1Ms", "objectsMs")]
    return row([entry["name"], f"{milliseconds(entry['elapsedMs'])} ms", *waits, f"{milliseconds(max(own_ms, 0))} ms"])


def _platform_row(entry: Published) -> str:
    javascript = "" if entry["javascriptUs"] is None else f"{microseconds(entry['javascriptUs'])} µs"
    return row([entry["name"], javascript, f"{microseconds(entry['pythonUs'])} µs"])


def microseconds(value: float) -> str:
    """Return the microseconds with only the significant digits."""
    return milliseconds(value)
