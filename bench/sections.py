"""The sections of docs/performance.md that are measured by themselves: CPU, imports, load. They come only from the published results."""

from datetime import datetime

from bench.findings import Published
from bench.imports import PROFILED
from bench.verdicts import milliseconds

__all__ = ["cpu_section", "imports_section", "load_section", "long_section", "measured_on", "row"]

KILOBYTE = 1024
MEGABYTE = 1024 * KILOBYTE
CPU_HEAD = "| job | JavaScript | Python | ratio |\n|---|--:|--:|--:|"
SHARES = {
    "border": "border to JavaScript",
    "json": "JSON",
    "checksum": "checksum",
    "package": "package",
    "others": "event loop, others",
}
SHARES_HEAD = (
    f"| job | Python in the Worker | target | {' | '.join(SHARES.values())} | Python calls |\n"
    f"|---|--:|---|{'--:|' * len(SHARES)}--:|"
)
SHARES_TEXT = (
    "*Python in the Worker* is the time that is not waiting, by a clock around the bindings; the conversions of the bindings count as "
    "waiting. The target is two thirds of an earlier time. The shares come from a profile, which sees conversions too and slows short "
    "calls down. *Border*: values that cross to and from JavaScript. *JSON*: text to values and back, with the checks. *Checksum*: the "
    "messages that a state already has must be unchanged. Border, JSON and checksum are the floor: C code on the caller's data. "
    "*Python calls* is exact: the functions of the package that one call enters, on CPython; a test holds these numbers "
    "(`tests/costs/test_python_calls.py`)."
)
FLOOR_HEAD = (
    "| job | what is sent | Python, this package | bare Python | whole call, this package | bare Python | JavaScript |\n"
    "|---|---|--:|--:|--:|--:|--:|"
)
FLOOR_TEXT = (
    "The floor in the same rounds: *bare Python* sends the same statements and calls by the raw bindings, without the package. For each "
    "trip it encodes the JSON that goes out in one step, and decodes what comes back in one step; it makes no SQL, checks nothing and "
    "returns plain lists. Both *Python* columns are by the same clock, and a *whole call* has the border and the waiting too. JavaScript "
    "is the other Worker's way to do the job."
)
IMPORTS_HEAD = "| a Worker that uses | modules | source | Python objects | time |\n|---|--:|--:|--:|--:|"
PROFILE_HEAD = "| folder | modules | source | time | of all |\n|---|--:|--:|--:|--:|"
SLOWEST = 8
LOAD_HEAD = (
    "| clients | turns a second, offered | answered | p50 | p95 | p99 | errors | memory before | after |\n"
    "|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
)
LONG_HEAD = (
    "| memory of | at the beginning | when the last third begins | at the end | a minute, in the last third |\n"
    "|---|--:|--:|--:|--:|"
)


def measured_on(run: Published) -> str:
    """When and where a part was measured, in how many rounds if it says so, and whether the machine had other work."""
    machine = run["machine"]
    rounds = f" in {run['rounds']} rounds" if run.get("rounds", 1) > 1 else ""
    when = datetime.fromisoformat(run["when"])
    measured = f"Measured on {when:%Y-%m-%d}{rounds}, on {machine['cores']} cores of an {machine['cpu']}."
    load = machine.get("loadBefore", 0)
    if load <= machine["cores"]:
        return measured
    return f"{measured} The machine had other work (load {load} before it began): its times are too long, counts and memory hold."


def row(cells: list[str]) -> str:
    """One row of a table."""
    return f"| {' | '.join(cells)} |".replace("  ", " ")


def cpu_section(run: Published) -> str:
    """Every job's CPU time on both sides; then the parts of Python's time in the six jobs with a target."""
    lines = [measured_on(run), "", CPU_HEAD, *map(_cpu_row, run["jobs"])]
    if "shares" in run:
        lines += ["", SHARES_TEXT, "", SHARES_HEAD, *map(_shares_row, run["shares"])]
        lines += _floor_lines([entry for entry in run["shares"] if "bare" in entry])
    return "\n".join(lines)


def imports_section(run: Published) -> str:
    """What each use of the package loads; then where the time of one use goes, module by module."""
    lines = [measured_on(run), "", IMPORTS_HEAD, *map(_imports_row, run["uses"])]
    return "\n".join([*lines, *_profile_lines(run.get("profile", []))])


def _profile_lines(modules: list[Published]) -> list[str]:
    """The slowest modules; then the folders that all of them lie in."""
    if not modules:
        return []
    whole_ms = sum(module["ownMs"] for module in modules)
    folders: dict[str, list[Published]] = {}
    for module in modules:
        _, *inner = module["name"].split(".")
        folders.setdefault(f"`{inner[0]}`" if inner[1:] else "the others", []).append(module)
    text = (
        f"The profile of *{PROFILED}*, each module without those that it imports: {len(modules)} modules take {whole_ms:,.0f} ms, and no "
        f"module more than {modules[0]['ownMs'] / whole_ms:.0%} of it. The slowest: "
    )
    slowest = "; ".join(
        f"`{module['name'].split('.', 1)[-1]}` {milliseconds(module['ownMs'])} ms" for module in modules[:SLOWEST]
    )
    by_time = sorted(folders.items(), key=lambda folder: -sum(module["ownMs"] for module in folder[1]))
    return ["", f"{text}{slowest}.", "", PROFILE_HEAD, *(_profile_row(*folder, whole_ms) for folder in by_time)]


def _profile_row(folder: str, modules: list[Published], whole_ms: float) -> str:
    own_ms, size_bytes = (sum(module[part] for module in modules) for part in ("ownMs", "bytes"))
    return row(
        [folder, f"{len(modules)}", f"{size_bytes / KILOBYTE:,.0f} KB", f"{own_ms:,.0f} ms", f"{own_ms / whole_ms:.0%}"]
    )


def load_section(run: Published) -> str:
    """The steps of the load, and the idle listeners."""
    listeners = run["listeners"]
    grown_kb = (listeners["idleBytes"] - listeners["beforeBytes"]) / listeners["listeners"] / KILOBYTE
    told = (
        f"**{listeners['listeners']:,} listeners**, each on a stream of its own, hold {grown_kb:.0f} KB each while they are idle. "
        f"One chunk into each stream, 50 writers at once: the last listener has its chunk after {listeners['seconds']:.1f} s."
    )
    return "\n".join([measured_on(run), "", LOAD_HEAD, *map(_load_row, run["steps"]), "", told])


def long_section(run: Published) -> str:
    """Whether times and memory grow in a long run, which process grows, and from what that follows."""
    times = [" / ".join(f"{milliseconds(each)} ms" for each in run[part]) for part in ("firstThirdMs", "lastThirdMs")]
    growing = [each["name"] for each in run["memory"] if each["grows"]]
    verdict = f"Memory **grows**: {'; '.join(growing)}." if growing else "Memory **does not grow**."
    head = (
        f"{measured_on(run)} {run['turnsASecond']} turns a second for {run['seconds'] / 60:.0f} minutes, {run['errors']:,} errors. "
        f"p50 / p95 / p99 in the first third {times[0]}, in the last third {times[1]}. {verdict} A line goes through a sample each ten "
        "seconds of the last third; memory grows if the line rises by more than a twentieth."
    )
    return "\n".join([head, "", LONG_HEAD, *map(_long_row, run["memory"])])


def _long_row(entry: Published) -> str:
    sizes = entry["bytes"]
    places = (0, len(sizes) * 2 // 3, -1)
    rise = f"{entry['bytesAMinute'] / MEGABYTE:+.2f} MB"
    return row([entry["name"], *(f"{sizes[place] / MEGABYTE:,.0f} MB" for place in places), rise])


def _cpu_row(entry: Published) -> str:
    times = [f"{milliseconds(entry[side])} ms" for side in ("javascriptMs", "pythonMs")]
    return row([entry["name"], *times, f"**{entry['ratio']:.2f}**"])


def _shares_row(entry: Published) -> str:
    parts = entry["partsMs"]
    profiled_ms = sum(parts.values())
    shares = [f"{parts[part] / profiled_ms:.0%}" for part in SHARES]
    verdict = "met" if round(entry["pythonMs"], 2) <= entry["mostMs"] else "missed"
    own = [f"{milliseconds(entry['pythonMs'])} ms", f"≤ {entry['mostMs']:.2f} {verdict}"]
    return row([entry["name"], *own, *shares, f"{entry['calls']:,}"])


def _floor_lines(entries: list[Published]) -> list[str]:
    return ["", FLOOR_TEXT, "", FLOOR_HEAD, *map(_floor_row, entries)] if entries else []


def _floor_row(entry: Published) -> str:
    bare = entry["bare"]
    names = {"batches": "D1 trips", "statements": "statements", "calls": "object calls"}
    sent = [f"{name}: {bare[count]:g}" for count, name in names.items() if bare[count]]
    times = (entry["pythonMs"], bare["pythonMs"], entry["wholeMs"], bare["wholeMs"], entry["javascriptMs"])
    return row([entry["name"], ", ".join(sent), *(f"{milliseconds(each)} ms" for each in times)])


def _imports_row(entry: Published) -> str:
    sizes = [f"{entry[size] / KILOBYTE:,.0f} KB" for size in ("bytes", "heapBytes")]
    return row([entry["name"], f"{entry['modules']:,}", *sizes, f"{entry['medianMs']:,.0f} ms"])


def _load_row(entry: Published) -> str:
    times = [f"{milliseconds(entry[cut])} ms" for cut in ("p50Ms", "p95Ms", "p99Ms")]
    sizes = [f"{entry[size] / MEGABYTE:,.0f} MB" for size in ("beforeBytes", "afterBytes")]
    rates = [f"{entry[rate]:.1f}" for rate in ("offered", "answered")]
    return row([f"{entry['clients']}", *rates, *times, f"{entry['errors']:,}", *sizes])
