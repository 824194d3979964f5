"""The plots of the meter: seconds per case, minutes saved, and what is left; in the colours of the theme."""

from collections.abc import Sequence

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QWidget

from napari_medseg.plugin.widgets import theme
from napari_medseg.workflow.meter.rows import MeterRow
from napari_medseg.workflow.meter.statistics import MIN_CASES
from napari_medseg.workflow.meter.trend import Forecast, Saving

HEIGHT_PX = 220
BOTTOM_AXIS_PX = 44
MARGINS_PX = (4, 4, 10, 10)
N_RUNNING = 9
"""Cases of the running median."""
BAR_WIDTH = 0.6
BAR_ALPHA, DOT_ALPHA = 130, 190
"""Of 255: the interval is seen on its bar, and dots on the background."""
SECONDS_PER_MINUTE = 60.0
UNITS = {"seconds": 1.0, "minutes": SECONDS_PER_MINUTE, "hours": 3600.0}
MAX_UNITS = 120.0
"""More of a unit than this is hard to read; then the next larger one is used."""


def choose_unit(longest_s: float) -> tuple[str, float]:
    """Return the name of the unit of an axis that ends at so many seconds, and the seconds of one unit."""
    fitting = (name for name, seconds in UNITS.items() if longest_s <= MAX_UNITS * seconds)
    name = next(fitting, "hours")
    return name, UNITS[name]


class MeterPlot(pg.PlotWidget):
    """A plot with a title and a text in the place of missing figures; the mouse changes nothing."""

    def __init__(self, title: str, left: str, bottom: str, theme_name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._title, self._left, self._bottom = title, left, bottom
        self.setMinimumHeight(HEIGHT_PX)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setMenuEnabled(False)
        self.setMouseEnabled(x=False, y=False)
        self.hideButtons()
        for name in ("left", "bottom"):
            self.getPlotItem().getAxis(name).enableAutoSIPrefix(False)
        self.getPlotItem().getAxis("bottom").setHeight(BOTTOM_AXIS_PX)
        self.getPlotItem().layout.setContentsMargins(*MARGINS_PX)
        self.missing = ""
        self.theme_name = theme_name
        self.set_theme(theme_name)

    def set_theme(self, theme_name: str) -> None:
        """Use the colours of a napari theme and draw again."""
        self.theme_name = theme_name
        self.setBackground(theme.get_plot_background(theme_name))
        text, item = theme.get_text_colour(theme_name), self.getPlotItem()
        item.setTitle(self._title, color=text, size="10pt")
        for name, label in (("left", self._left), ("bottom", self._bottom)):
            item.getAxis(name).setTextPen(text)
            item.getAxis(name).setPen(text)
            self.name_axis(name, label)
        self.draw()

    def name_axis(self, name: str, label: str) -> None:
        """Write a label at the left or the bottom axis."""
        self.getPlotItem().getAxis(name).setLabel(label, color=theme.get_text_colour(self.theme_name))

    def draw(self) -> None:
        """Draw the content again; a subclass adds its own to the empty plot."""
        self.getPlotItem().clear()
        self.getPlotItem().enableAutoRange()

    def write_missing(self, text: str) -> None:
        """Write why there is no figure into the middle of the plot."""
        self.missing = text
        if text:
            item = pg.TextItem(text, color=theme.get_text_colour(self.theme_name), anchor=(0.5, 0.5))
            self.addItem(item, ignoreBounds=True)
            item.setPos(0.5, 0.5)
            self.getPlotItem().setRange(xRange=(0, 1), yRange=(0, 1), padding=0)
            for name in ("left", "bottom"):
                self.getPlotItem().getAxis(name).setStyle(showValues=False)
        else:
            for name in ("left", "bottom"):
                self.getPlotItem().getAxis(name).setStyle(showValues=True)


class TrendPlot(MeterPlot):
    """Time of each case in the order of acceptance, with a running median; a line stands where a version begins."""

    def __init__(self, theme_name: str) -> None:
        self._rows: list[MeterRow] = []
        super().__init__("Time per case", "minutes", "case", theme_name)

    def show_rows(self, rows: Sequence[MeterRow]) -> None:
        """Show the timed rows of one kind of image."""
        self._rows = [row for row in rows if row.is_timed]
        self.draw()

    def draw(self) -> None:
        """Draw the rows."""
        super().draw()
        self.write_missing("" if self._rows else "no timed case yet")
        if not self._rows:
            return
        seconds = np.array([row.correction.seconds for row in self._rows])
        highest_s = float(np.percentile(seconds, 98)) * 1.25
        unit, unit_s = choose_unit(highest_s)
        self.name_axis("left", unit)
        times, order = seconds / unit_s, np.arange(1, seconds.size + 1)
        dots, line = theme.get_curve_colours(self.theme_name)
        self.plot(order, times, pen=None, symbol="o", symbolSize=5, symbolPen=None, symbolBrush=_fade(dots, DOT_ALPHA))
        if times.size >= MIN_CASES:
            self.plot(order, _compute_running_median(times), pen=pg.mkPen(line, width=2))
        text = theme.get_text_colour(self.theme_name)
        begins = {row.model: number for number, row in reversed(list(zip(order, self._rows, strict=True)))}
        for model, number in begins.items():
            self.addItem(_make_version_line(number - 0.5, model, text))
        self.getPlotItem().setYRange(0, highest_s / unit_s or 1.0, padding=0)
        self.getPlotItem().setXRange(0, times.size + 1, padding=0)
        whole = (1, 1) if times.size < MIN_CASES else (None, None)  # of few cases, no fractions
        self.getPlotItem().getAxis("bottom").setTickSpacing(*whole)


class SavingPlot(MeterPlot):
    """Minutes that each version saved against the first one, with the interval as a line."""

    def __init__(self, theme_name: str) -> None:
        self._savings: list[Saving] = []
        super().__init__("Minutes saved", "minutes", "against the first version", theme_name)

    def show_savings(self, savings: Sequence[Saving]) -> None:
        """Show the savings of one kind of image."""
        self._savings = list(savings)
        self.draw()

    def draw(self) -> None:
        """Draw the savings."""
        super().draw()
        self.write_missing("" if self._savings else f"needs two versions\nwith {MIN_CASES} timed cases each")
        axis = self.getPlotItem().getAxis("bottom")
        if not self._savings:
            axis.setTicks(None)
            return
        places = np.arange(len(self._savings), dtype=float)
        minutes = [saving.minutes for saving in self._savings]
        values = np.array([one.value for one in minutes])
        states = theme.get_state_colours(self.theme_name)
        colours = [states["good" if value >= 0 else "bad"] for value in values]
        brushes, pens = [_fade(colour, BAR_ALPHA) for colour in colours], [pg.mkPen(colour) for colour in colours]
        self.addItem(pg.BarGraphItem(x=places, height=values, width=BAR_WIDTH, brushes=brushes, pens=pens))
        ends = {
            "top": np.array([one.high for one in minutes]) - values,
            "bottom": values - np.array([one.low for one in minutes]),
        }
        pen = pg.mkPen(theme.get_text_colour(self.theme_name), width=2)
        self.addItem(pg.ErrorBarItem(x=places, y=values, beam=BAR_WIDTH / 4, pen=pen, **ends))
        axis.setTicks([[(place, _shorten(saving.model)) for place, saving in zip(places, self._savings, strict=True)]])
        self.getPlotItem().setXRange(-1, len(self._savings), padding=0)


class ForecastPlot(MeterPlot):
    """Cases done by time of work, then the range in which the rest of the list will be done."""

    def __init__(self, theme_name: str) -> None:
        self._done: list[float] = []
        self._forecast: Forecast | None = None
        super().__init__("The rest of the list", "cases", "minutes of work", theme_name)

    def show_forecast(self, rows: Sequence[MeterRow], forecast: Forecast) -> None:
        """Show the timed rows and what is left of all kinds."""
        self._done = [row.correction.seconds for row in rows if row.is_timed]
        self._forecast = forecast
        self.draw()

    def draw(self) -> None:
        """Draw what is done and what is left."""
        super().draw()
        forecast = self._forecast
        is_known = forecast is not None and forecast.seconds is not None
        nothing = "nothing is left" if forecast is not None and not forecast.n_left else "no forecast"
        self.write_missing("" if is_known else f"{nothing}" if "left" in nothing else f"needs {MIN_CASES} timed cases")
        if forecast is None or forecast.seconds is None:
            return
        past, future = theme.get_curve_colours(self.theme_name)
        worked_s = np.concatenate([[0.0], np.cumsum(self._done)])
        unit, unit_s = choose_unit(worked_s[-1] + forecast.seconds.high)
        self.name_axis("bottom", f"{unit} of work")
        times = worked_s / unit_s
        self.plot(times, np.arange(times.size), pen=pg.mkPen(past, width=2))
        n_done, n_all = times.size - 1, times.size - 1 + forecast.n_left - forecast.n_unknown
        ends = [times[-1] + seconds / unit_s for seconds in (forecast.seconds.low, forecast.seconds.high)]
        early, late = (pg.PlotDataItem([times[-1], end], [n_done, n_all], pen=_fade(future)) for end in ends)
        self.addItem(early)
        self.addItem(late)
        self.addItem(pg.FillBetweenItem(early, late, brush=_fade(future)))
        middle = times[-1] + forecast.seconds.value / unit_s
        self.plot([times[-1], middle], [n_done, n_all], pen=pg.mkPen(future, width=2, style=Qt.PenStyle.DashLine))


def _compute_running_median(values: np.ndarray) -> np.ndarray:
    half = N_RUNNING // 2
    return np.array([np.median(values[max(0, place - half) : place + half + 1]) for place in range(values.size)])


def _make_version_line(place: float, model: str, colour: str) -> pg.InfiniteLine:
    pen = pg.mkPen(colour, width=1, style=Qt.PenStyle.DotLine)
    options = {"position": 0.93, "color": colour, "anchors": [(0, 0.5), (0, 0.5)]}
    return pg.InfiniteLine(place, angle=90, pen=pen, label=_shorten(model), labelOpts=options)


def _shorten(model: str) -> str:
    """Return the version without the name of the model, such as ``@4``: all of a task share it mostly."""
    return f"@{model.rpartition('@')[2]}"


def _fade(colour: str, alpha: int = 90) -> QColor:
    faded = QColor(colour)
    faded.setAlpha(alpha)
    return faded
