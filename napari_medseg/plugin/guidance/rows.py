"""What the dock shows of the guidance: a slider for the threshold, and a row for the doubtful places."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSlider, QVBoxLayout, QWidget

from napari_medseg.core.editing.model_threshold import NEUTRAL
from napari_medseg.plugin.guidance.model_maps import ModelMaps
from napari_medseg.plugin.guidance.proposals import Proposals
from napari_medseg.plugin.guidance.threshold import ModelThreshold
from napari_medseg.plugin.widgets import theme

RANGE_PERCENT = 45


class ThresholdRow(QWidget):
    """A slider that grows and shrinks the selected label along the model's probability.

    It shows the change while it is dragged, applies it on release, and goes back to the middle.
    """

    def __init__(self, threshold: ModelThreshold, maps: ModelMaps) -> None:
        super().__init__()
        self._threshold = threshold
        self._maps = maps
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(-RANGE_PERCENT, RANGE_PERCENT)
        self.slider.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._value = QLabel()
        self._value.setMinimumWidth(self._value.fontMetrics().horizontalAdvance("0.00"))
        layout = QHBoxLayout(self)
        layout.setContentsMargins(2, 0, 4, 0)
        layout.addWidget(QLabel("threshold"))
        layout.addWidget(self.slider, stretch=1)
        layout.addWidget(self._value)
        self.slider.valueChanged.connect(self._on_value)
        self.slider.sliderReleased.connect(self._on_released)
        maps.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Enable the slider if the model's probabilities are there."""
        tooltip = "Right: grow the selected label to where the model is less sure; left: shrink it. On a piece: . and ,"
        theme.set_enabled(self.slider, not self._maps.why_not, tooltip, self._maps.why_not)
        self._show_value()

    def _on_value(self, _percent: int) -> None:
        self._show_value()
        if self.slider.isSliderDown():
            self._threshold.show_label(self._get_threshold(), only_on_slice=True)

    def _on_released(self) -> None:
        if self.slider.value():
            self._threshold.show_label(self._get_threshold())
            self._threshold.apply()
        self.slider.setValue(0)

    def _get_threshold(self) -> float:
        return NEUTRAL - self.slider.value() / 100

    def _show_value(self) -> None:
        self._value.setText(f"{self._get_threshold():.2f}")


class PlacesRow(QWidget):
    """How many doubtful places were seen, a button that goes to the next one, and what is proposed on other slices."""

    def __init__(self, maps: ModelMaps, proposals: Proposals) -> None:
        super().__init__()
        self._maps = maps
        self._proposals = proposals
        self._text = QLabel()
        self.button = theme.make_button("Next place", "")
        self._proposed = QLabel()
        row = QHBoxLayout()
        row.addWidget(self._text, stretch=1)
        row.addWidget(self.button)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(2, 0, 0, 0)
        rows.setSpacing(2)
        rows.addLayout(row)
        rows.addWidget(self._proposed)
        maps.changed.connect(self.refresh)
        proposals.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the numbers of the open case."""
        places = self._maps.places
        self._text.setText("doubtful places: " + ("–" if places is None else places.summary))
        tooltip = "Where the model may be wrong, the worst first; Accept is always possible"
        self._text.setToolTip(self._maps.why_not or tooltip)
        is_possible = places is not None and bool(places.places)
        why_not = self._maps.why_not or "The model is sure everywhere"
        theme.set_enabled(self.button, is_possible, "Go to the doubtful place with most to correct (Tab)", why_not)
        self._proposed.setText(f"{self._proposals.summary} (Tab, then ` takes it)")
        self._proposed.setVisible(bool(self._proposals.summary))
