"""The layer that shows where a mask differs from the draft."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtCore import QObject

from napari_medseg.plugin import layers
from napari_medseg.plugin.controllers import labels_tools
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.open_case import OpenCase
from napari_medseg.workflow.masks.comparison import ONLY_MINE, ONLY_THEIRS, OTHER_LABEL, LabelComparison

if TYPE_CHECKING:
    from napari import Viewer

COLOURS: dict[int | None, str] = {
    None: "transparent",
    0: "transparent",
    ONLY_MINE: "#D55E00",  # Okabe-Ito: vermillion and blue are told apart by every eye
    ONLY_THEIRS: "#0072B2",
    OTHER_LABEL: "#F0E442",
}
LEGEND = "Orange: only yours. Blue: only the mask's. Yellow: another label."
NAMES = {ONLY_MINE: "only yours", ONLY_THEIRS: "only the mask's", OTHER_LABEL: "another label"}


class DifferencesLayer(QObject):
    """Shows the differences over the open case; they are removed with the case.

    Parameters
    ----------
    viewer, case_controller
        The window, and the controller of the open case.
    """

    def __init__(self, viewer: "Viewer", case_controller: CaseController) -> None:
        super().__init__()
        self._viewer = viewer
        self._layer: Labels | None = None
        case_controller.opened.connect(self.clear)

    @property
    def layer(self) -> Labels | None:
        """The layer; `None` if there is none."""
        return self._layer if self._layer in self._viewer.layers else None

    def show(self, current: OpenCase, comparison: LabelComparison, names: Mapping[int, str] = NAMES) -> None:
        """Show the differences of the open case; the selected layer and its tool stay. `names` are those of values."""
        layer = self.layer
        if layer is not None and self._fits(layer, comparison, names):
            layer.data[...] = comparison.differences
            layer.refresh(extent=False)
            return
        self.clear()
        with labels_tools.keep_selected(self._viewer, current.labels_layer):
            self._layer = self._viewer.add_labels(
                comparison.differences,
                **layers.get_spatial_arguments(current.image_layer),
                name=f"differences: {current.case.name}",
                opacity=1.0,
                colormap=DirectLabelColormap(color_dict=COLOURS),
                features={"index": list(names), "difference": list(names.values())},
                metadata={layers.METADATA_KEY: {"case": current.case.id}},
            )
            self._layer.editable = False

    @staticmethod
    def _fits(layer: Labels, comparison: LabelComparison, names: Mapping[int, str]) -> bool:
        """Whether a layer can show a comparison: of the same shape, and between the same two."""
        same_names = list(layer.features["difference"]) == list(names.values())
        return same_names and layer.data.shape == comparison.differences.shape

    def clear(self) -> None:
        """Remove the layer."""
        layers.remove(self._viewer, self._layer)
        self._layer = None
