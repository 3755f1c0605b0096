"""docs/performance.md and its figures are what the published results generate."""

import copy
import json
import xml.etree.ElementTree as ET

import pytest

from bench.__main__ import parts_of
from bench.findings import Published
from bench.growth import all_series
from bench.jobs import all_jobs
from bench.page import FIGURES, PAGE, PARTS, SECTIONS, page_with, published, published_parts
from bench.plot import LogScale, growth_svg, ratios_svg
from bench.summary import summary_section
from tests.bench.results import run

SVG = "{http://www.w3.org/2000/svg}"


def test_the_page_is_what_the_published_run_generates() -> None:
    """`make bench ARGS=--page` writes the page from bench/results/latest.json, so nobody edits a number."""
    assert PAGE.read_text() == page_with(published(), published_parts(), PAGE.read_text())


@pytest.mark.parametrize("file", FIGURES, ids=lambda file: file.stem)
def test_the_figures_are_what_the_published_run_generates(file: object) -> None:
    """The figures come from the published run, like the page."""
    path = next(each for each in FIGURES if each == file)
    assert path.read_text() == FIGURES[path](published())


def test_the_published_run_has_every_job_and_every_series() -> None:
    """The published run has every job, at least seven pairs and fifteen starts."""
    results = published()

    assert [entry["name"] for entry in results["jobs"]] == [job.name for job in all_jobs()]
    assert [entry["name"] for entry in results["growth"]] == [series.name for series in all_series()]
    assert results["pairs"] >= 7
    assert results["firstRequest"]["starts"] >= 15


def test_the_page_shows_every_number_of_its_run() -> None:
    """The page shows met and missed targets, exponents, and the costs of import and memory. Text written by hand stays."""
    page = page_with(run(), published_parts(), PAGE.read_text())

    assert "| save | 2.00 ms | 2.00 ms | **1.00** | 0.50–1.50 | ≤ 0.8 missed | 1 D1 batch |" in page
    assert "0 of 1 targets are met. Missed: save." in page
    assert "| load | 1, 10, 100 messages | 1.00, 10.0, 100 ms | 1.00 | ≤ 1.1 met |" in page
    assert "| an empty D1 batch | 900 µs | 1,200 µs |\n| a call | | 1.25 µs |" in page
    assert "| save | 2.50 ms | 1.75 ms | | 0.75 ms |" in page
    assert "**60 ms** (median of 3 pairs, 50 to 70)" in page
    assert "**410 KB** a stream, bound: 512 KB (met); 293 KB on the JavaScript side." in page
    assert "## What was tried" in page


def test_another_run_is_another_page() -> None:
    """Each section follows its own numbers."""
    page = page_with(run(), published_parts(), PAGE.read_text())
    for change in ("pairs", "jobs", "growth", "platform", "waiting", "firstRequest", "memory"):
        other = copy.deepcopy(run())
        _alter(other, change)
        assert page_with(other, published_parts(), page) != page, change
    assert page_with(run(), published_parts(), page) == page


def test_the_first_points_follow_their_numbers() -> None:
    """They are generated too. A part that was never measured leaves its point out."""
    parts = copy.deepcopy(dict(published_parts()))
    before = summary_section(run(), parts)
    parts["long"]["memory"][0]["grows"] = True
    parts["load"]["steps"][-1]["answered"] = 12_345.0
    parts["peers"]["sides"][0]["jobs"]["chat_turn"]["cost"]["rowsWritten"] = 1_000
    after = summary_section(run(), parts)

    assert "memory levels off" in before
    assert "memory grows" in after
    assert "answers 12,345 turns" in after
    assert "this package, D1 $1,0" in after
    assert len(summary_section(run(), {}).splitlines()) == len(before.splitlines()) - 3


def test_one_command_measures_every_part() -> None:
    """The half hour and the other version are asked for by their options."""
    assert parts_of(minutes=30, against="v1") == list(PARTS)
    assert set(PARTS) - set(parts_of(minutes=None, against="")) == {"long", "versions"}


def test_a_page_without_its_places_is_refused() -> None:
    """A section cannot be dropped silently."""
    for name in SECTIONS:
        with pytest.raises(ValueError, match="unpack"):
            page_with(run(), published_parts(), PAGE.read_text().replace(f"<!-- {name} -->\n", ""))


def test_the_ratios_figure_has_a_row_for_each_job() -> None:
    """The point is at the ratio, the stroke at the target. The colour shows whether the target is met."""
    figure = ET.fromstring(ratios_svg(run()))
    points = figure.findall(f"{SVG}circle")
    targets = [line for line in figure.findall(f"{SVG}line") if line.get("class") == "target"]
    one = next(line for line in figure.findall(f"{SVG}line") if line.get("class") == "one")

    assert [point.get("class") for point in points] == ["missed", "stated"]
    assert all(point.get("cx") == one.get("x1") for point in points)
    assert [float(target.get("x1", "")) < float(one.get("x1", "")) for target in targets] == [True]


def test_the_growth_figure_has_a_line_for_each_series() -> None:
    """Linear growth follows the dashed line."""
    figure = ET.fromstring(growth_svg(run()))
    [line] = figure.findall(f"{SVG}polyline")
    dashed = next(each for each in figure.findall(f"{SVG}line") if each.get("stroke-dasharray"))
    first, *_, last = (line.get("points") or "").split()

    assert first == f"{dashed.get('x1')},{dashed.get('y1')}"
    assert last == f"{dashed.get('x2')},{dashed.get('y2')}"


@pytest.mark.parametrize("file", FIGURES, ids=lambda file: file.stem)
def test_figures_are_readable_on_light_and_on_dark_ground(file: object) -> None:
    """Each figure has colours for both backgrounds, no background of its own, and a title. Names are escaped."""
    path = next(each for each in FIGURES if each == file)
    results = run()
    results["jobs"][0]["name"] = results["growth"][0]["name"] = "a < b & c"
    text = FIGURES[path](results)

    assert "prefers-color-scheme: dark" in text
    assert "<rect" not in text
    assert any("a < b & c" in (each.text or "") for each in ET.fromstring(text).iter(f"{SVG}text"))
    assert ET.fromstring(text).find(f"{SVG}title") is not None


def test_a_logarithmic_scale_puts_the_geometric_middle_in_the_middle() -> None:
    """The geometric middle is in the middle, and values beyond the ends are at the ends."""
    scale = LogScale(0.25, 4.0, 100, 300)

    assert scale.place(1.0) == pytest.approx(200)
    assert (scale.place(0.01), scale.place(100.0)) == (100, 300)


def _alter(results: Published, part: str) -> None:
    """Double every number of this part."""
    text = json.dumps(results[part])
    results[part] = json.loads(
        text, parse_int=lambda digits: 2 * int(digits), parse_float=lambda digits: 2 * float(digits)
    )
