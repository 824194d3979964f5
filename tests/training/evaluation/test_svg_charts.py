import xml.etree.ElementTree as ElementTree

import pytest

from training.evaluation.calibration import CalibrationBin
from training.evaluation.svg_charts import compute_ticks, draw_curve, draw_reliability_curve


def drawing(figure: str) -> ElementTree.Element:
    svg = ElementTree.fromstring(figure).find("svg")
    assert svg is not None
    return svg


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0.0, 1.0, [0.0, 0.5, 1.0]), (0.81, 0.93, [0.8, 0.85, 0.9, 0.95]), (3.0, 3.0, [3.0, 4.0]), (0.0, 0.0, [0.0, 0.5])],
)
def test_ticks_are_round_and_enclose(low: float, high: float, ticks: list[float]) -> None:
    assert compute_ticks(low, high) == pytest.approx(ticks)


def test_a_curve_stays_in_its_box_and_breaks_where_there_is_no_number() -> None:
    svg = drawing(
        draw_curve("Loss & more", [(1, 0.9), (2, 0.4), (3, float("nan")), (4, 0.3), (5, 0.2)], "#123456", marked=5)
    )
    lines = svg.findall("polyline")
    assert len(lines) == 2
    points = [tuple(map(float, point.split(","))) for line in lines for point in line.attrib["points"].split()]
    assert len(points) == 4
    assert all(0 <= x <= 460 and 0 <= y <= 230 for x, y in points)
    assert points[0][1] < points[1][1], "a larger value is higher up"
    assert len(svg.findall("circle")) == 1
    assert svg.attrib["aria-label"] == "Loss & more"


def test_one_epoch_is_a_dot_and_none_is_nothing() -> None:
    assert len(drawing(draw_curve("Dice", [(1, 0.5)], "#000")).findall("circle")) == 1
    assert draw_curve("Dice", [], "#000") == ""
    assert draw_curve("Dice", [(1, float("nan"))], "#000") == ""


def test_what_is_believable_lies_on_the_diagonal() -> None:
    bins = [CalibrationBin(0.6, 0.6, 0.25), CalibrationBin(0.9, 0.9, 0.75)]
    diagonal, line = drawing(draw_reliability_curve("ECE", bins, "#000")).findall("polyline")
    (x0, y0), (x1, y1) = (map(float, point.split(",")) for point in diagonal.attrib["points"].split())
    slope = (y1 - y0) / (x1 - x0)
    for point in line.attrib["points"].split():
        x, y = map(float, point.split(","))
        assert y == pytest.approx(y0 + slope * (x - x0), abs=0.2)
    bars = drawing(draw_reliability_curve("ECE", bins, "#000")).findall("rect")
    assert float(bars[1].attrib["height"]) == pytest.approx(3 * float(bars[0].attrib["height"]), abs=0.2)
