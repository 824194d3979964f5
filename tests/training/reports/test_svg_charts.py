import pytest

from training.evaluation.calibration import CalibrationBin
from training.reports.svg_charts import Chart, compute_ticks, draw_curve, draw_reliability_curve


def curve(points: list[tuple[float, float]], marked: float | None = None) -> Chart:
    chart = draw_curve("Loss & more", points, "#123456", marked)
    assert chart is not None
    return chart


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0.0, 1.0, [0.0, 0.5, 1.0]), (0.81, 0.93, [0.8, 0.85, 0.9, 0.95]), (3.0, 3.0, [3.0, 4.0]), (0.0, 0.0, [0.0, 0.5])],
)
def test_ticks_are_round_and_enclose(low: float, high: float, ticks: list[float]) -> None:
    assert compute_ticks(low, high) == pytest.approx(ticks)


def test_a_curve_stays_in_its_box_and_breaks_where_there_is_no_number() -> None:
    chart = curve([(1, 0.9), (2, 0.4), (3, float("nan")), (4, 0.3), (5, 0.2)], marked=5)
    assert len(chart.polylines) == 2
    points = [point for line in chart.polylines for point in line.points]
    assert len(points) == 4
    assert all(0 <= x <= 460 and 0 <= y <= 230 for x, y in points)
    assert points[0][1] < points[1][1], "a larger value is higher up"
    assert [(dot.x, dot.y, dot.ring) for dot in chart.dots] == [(*points[-1], True)]
    assert chart.title == "Loss & more"


def test_each_gridline_has_its_number_at_its_height() -> None:
    chart = curve([(1, 0.81), (9, 0.93)])
    numbers = [text for text in chart.texts if text.anchor == "end"]
    assert [text.text for text in numbers] == ["0.8", "0.85", "0.9", "0.95"]
    assert [text.y - 4 for text in numbers] == [line.y for line in chart.gridlines]
    assert [text.text for text in chart.texts if text.anchor == "middle"] == ["1", "9", "epoch"]


def test_one_epoch_is_a_dot_and_none_is_nothing() -> None:
    assert [dot.ring for dot in curve([(1, 0.5)]).dots] == [False]
    assert draw_curve("Dice", [], "#000") is None
    assert draw_curve("Dice", [(1, float("nan"))], "#000") is None


def test_what_is_believable_lies_on_the_diagonal() -> None:
    bins = [CalibrationBin(0.6, 0.6, 0.25), CalibrationBin(0.9, 0.9, 0.75), CalibrationBin(0.5, 0.1, 1e-6)]
    chart = draw_reliability_curve("ECE", bins, "#000")
    diagonal, line = chart.polylines
    (x0, y0), (x1, y1) = diagonal.points
    slope = (y1 - y0) / (x1 - x0)
    assert len(line.points) == len(chart.dots) == 2, "a bin with hardly a pixel is chance"
    for x, y in line.points:
        assert y == pytest.approx(y0 + slope * (x - x0))
    assert chart.bars[1].height == pytest.approx(3 * chart.bars[0].height)
    assert chart.bars[0].y + chart.bars[0].height == pytest.approx(chart.bars[1].y + chart.bars[1].height)
