"""Pages about cases whose names want to be HTML: they are shown as they are, and nothing runs."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from training_phantoms import small_card

from napari_medseg.core.errors import MedSegError
from training.benchmark.runner import PlannedRun
from training.benchmark.suite import Suite, SuiteRow
from training.benchmark.table import TableRow, write_tables
from training.evaluation.calibration import CalibrationBin
from training.evaluation.scores import CaseScore, Evaluation
from training.from_folders.base_recipe import ModelRecipe
from training.reports.case_figure import CaseFigure
from training.reports.evaluation_report import write_evaluation
from training.reports.html import Table, render_page
from training.reports.run_page import read_page_data, write_page, write_page_data
from training.reports.run_report import Reliability, RunOutcome, write_report
from training.run_folder import Considered, EpochEnded, Event, Notice, Started, append_event

HOSTILE = "<script>alert(\"1\")</script> & <img src=x onerror='alert(2)'>"
EVENTS: list[Event] = [
    Started(3, 0, 1, 2, HOSTILE, None, 0.0),
    Notice(HOSTILE),
    EpochEnded(1, 2, 0.9, 0.5, False, 1.0, 1.0, 1e-3, 0, {HOSTILE: 0.5}),
    EpochEnded(2, 2, 0.4, 0.8, True, 2.0, 0.0, 1e-4, 0, {HOSTILE: 1.0}),
    Considered(HOSTILE, 0.8, 1, True),
]


class Page(HTMLParser):
    """Tags that a browser would see, the attributes that could run something, and the words it would show."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.handlers: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def assert_harmless(text: str, n_shown: int) -> None:
    """Check that nothing of a hostile name became a tag, and that the name is shown as often as it should."""
    page = Page(text)
    assert "script" not in page.tags
    assert page.handlers == []
    assert "".join(page.words).count(HOSTILE) == n_shown


def a_score(dice: float) -> CaseScore:
    return CaseScore(HOSTILE, "group", HOSTILE, {HOSTILE: dice, "left": dice}, False, 0.1)


def a_figure() -> CaseFigure:
    return CaseFigure(HOSTILE, 0.5, np.zeros((4, 8, 3), np.uint8))


def an_outcome() -> RunOutcome:
    reliability = Reliability([CalibrationBin(0.6, 0.5, 0.4), CalibrationBin(0.9, 0.9, 0.6)], 0.1, 0.2, HOSTILE, 2)
    scores = [a_score(0.5)], [a_score(0.75)]
    return RunOutcome(small_card(), HOSTILE, *scores, [a_figure()], [a_figure()], reliability, HOSTILE)


@pytest.fixture
def run_report(tmp_path: Path) -> str:
    return write_report(tmp_path, an_outcome(), EVENTS).read_text(encoding="utf-8")


def test_hostile_names_in_the_report_of_a_run(run_report: str) -> None:
    # device, notice, weight's curve, way, label, calibration, baseline, name and source of the case, two pictures,
    # verdict
    assert_harmless(run_report, 12)


def test_a_page_that_is_made_of_its_data_elsewhere_is_the_same(tmp_path: Path) -> None:
    page = write_report(tmp_path, an_outcome(), EVENTS).read_text(encoding="utf-8")
    data = read_page_data(tmp_path / "report.json")
    assert write_page(tmp_path, data).read_text(encoding="utf-8") == page


def test_cells_that_are_no_number_or_one_of_numpy_are_kept(tmp_path: Path) -> None:
    write_report(tmp_path, an_outcome(), EVENTS)
    page = read_page_data(tmp_path / "report.json")
    table = Table(["a", "b", "c", "d"], [[float("nan"), float("inf"), np.int64(3), np.float32(0.5)]])
    (cells,) = read_page_data(write_page_data(tmp_path, replace(page, comparison=table))).comparison.rows
    assert repr(list(cells)) == "[nan, inf, 3, 0.5]"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("data:image/png;base64,", "https://elsewhere.example.org/"),
        ("data:image/png;base64,", "data:image/svg+xml;base64,"),
        ('"#c2410c"', '"url(https://elsewhere.example.org/a.svg#b)"'),
        ('"baseline"', '"script": "", "baseline"'),
    ],
)
def test_data_that_could_reach_other_computers_are_refused(tmp_path: Path, old: str, new: str) -> None:
    write_report(tmp_path, an_outcome(), EVENTS)
    path = tmp_path / "report.json"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(MedSegError, match=r"report\.json is not the content of a report"):
        read_page_data(path)


def test_its_charts_are_valid_svg(run_report: str) -> None:
    charts = [ElementTree.fromstring(part.split("</svg>")[0] + "</svg>") for part in run_report.split("<figure>")[1:6]]
    assert [chart.tag for chart in charts] == ["svg"] * 5
    loss, _, _, weight, reliability = charts
    assert weight.attrib["aria-label"] == f"Weight of {HOSTILE} in the loss"
    points = [tuple(map(float, point.split(","))) for point in loss.findall("polyline")[0].attrib["points"].split()]
    assert points[0][1] < points[1][1], "a larger value is higher up"
    assert len(loss.findall("line")) == len(loss.findall("text")) - 3
    assert [len(reliability.findall(tag)) for tag in ("polyline", "circle", "rect")] == [2, 2, 2]
    assert len(charts[1].findall("circle")) == 1, "a ring marks the best"


def test_hostile_names_in_an_evaluation(tmp_path: Path) -> None:
    evaluation = Evaluation(HOSTILE, "lungs", (a_score(0.5), replace(a_score(0.9), name="harmless")))
    paths = write_evaluation(evaluation, tmp_path, [a_figure()])
    # title twice; source in the summary's five measures; picture; case, and the source of both
    assert_harmless(paths[2].read_text(encoding="utf-8"), 2 + 5 + 1 + 3)


def test_hostile_names_in_the_table_of_a_suite(tmp_path: Path) -> None:
    rows = (SuiteRow(name=HOSTILE, set={}, theirs=HOSTILE), SuiteRow(name="fails", set={}))
    suite = Suite(title=HOSTILE, about=HOSTILE, base={}, rows=rows)
    (tmp_path / "run").mkdir()
    for event in EVENTS:
        append_event(tmp_path / "run", event)
    recipe = ModelRecipe.model_construct()
    lines = [
        TableRow(PlannedRun(rows[0], recipe, tmp_path / "run"), {HOSTILE: 0.5}),
        TableRow(PlannedRun(rows[1], recipe, tmp_path / "none"), {}, HOSTILE),
    ]
    page = write_tables(suite, lines, HOSTILE, tmp_path, {HOSTILE: [a_figure()]})[2].read_text(encoding="utf-8")
    # title twice, about, command; column, row, theirs, message; curve; picture of the row and the case
    assert_harmless(page, 4 + 4 + 1 + 2)


def test_numbers_stand_right_and_fractions_have_four_digits() -> None:
    values = {
        "convention": "",
        "figures_by_place": {},
        "summary": Table(["a"], []),
        "images": Table(["n"], [[0.5, 3, "x"]]),
    }
    page = render_page("evaluation.html", "Title", values)
    assert '<td class="number">0.5000</td><td class="number">3</td><td>x</td>' in page
