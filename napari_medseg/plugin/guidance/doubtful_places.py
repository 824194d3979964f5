"""Go from one doubtful place to the next, and say that one is right."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.editing.doubtful_places import DoubtfulPlace, confirm_place
from napari_medseg.plugin.correction.editor import Editor, Request
from napari_medseg.plugin.guidance.model_maps import ModelMaps
from napari_medseg.plugin.guidance.navigation import show_place

if TYPE_CHECKING:
    from napari import Viewer

MARGIN_PX = 3.0


class PlaceGuide:
    """Visits the doubtful places of the open case.

    Parameters
    ----------
    viewer, editor, maps
        The window, what changes labels, and what knows the places.
    """

    def __init__(self, viewer: "Viewer", editor: Editor, maps: ModelMaps) -> None:
        self._viewer = viewer
        self._editor = editor
        self._maps = maps

    @property
    def current(self) -> DoubtfulPlace | None:
        """The place that was visited last; `None` if there is none."""
        places = self._maps.places
        return None if places is None or places.current is None else places.places[places.current]

    def go(self, step: int) -> None:
        """Show the next (+1) or the previous (-1) doubtful place; the view moves only if it is not seen well.

        Raises
        ------
        MedSegError
            If the model's probabilities are not there: the reason.
        """
        self._maps.ensure()
        layer, places = self._editor.layer, self._maps.places
        if layer is None or places is None:
            return
        self._editor.drop_preview()
        place = places.go(step)
        if place is None:
            self._editor.say("the model is sure everywhere: there is no doubtful place.")
            return
        show_place(self._viewer, layer, place.centre, place.box)
        self._editor.preview.add_line(_make_frame(place), layer)
        self._editor.say(self._describe(place))
        self._maps.changed.emit()

    def confirm(self) -> None:
        """Say that the labels of the shown place are right: its voxels become the person's."""
        place = self.current
        if place is None:
            self._editor.say("there is no place to confirm. Tab goes to the next doubtful place.")
            return
        self._editor.run(Request(lambda canvas: confirm_place(canvas, place)))
        self._maps.changed.emit()

    def _describe(self, place: DoubtfulPlace) -> str:
        places = self._maps.places
        assert places is not None  # checked by the caller
        place_n = f"place {(places.current or 0) + 1} of {len(places.places)}"
        if place.n_objects > 1:
            return f"{place_n}: {place.n_objects} doubtful objects in the frame; ` if all of them are right"
        name = self._editor.task.get_label_name(place.label)
        size = int(np.count_nonzero(place.mask))
        wrong = f"{place.expected_wrong:,.0f} of {size:,} voxels may be wrong"
        return f"{place_n}, {name}: {wrong}; ` if it is right"


def _make_frame(place: DoubtfulPlace) -> NDArray[np.float64]:
    """Return the corners of a frame around the place on its slice, (y, x) in pixels."""
    mask = place.mask if place.mask.ndim == 2 else place.mask[place.centre[0] - place.box[0].start]
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    top, bottom = rows[0] + place.box[-2].start - MARGIN_PX, rows[-1] + place.box[-2].start + MARGIN_PX
    left, right = columns[0] + place.box[-1].start - MARGIN_PX, columns[-1] + place.box[-1].start + MARGIN_PX
    return np.array([(top, left), (top, right), (bottom, right), (bottom, left), (top, left)])
