"""All guidance of one dock: the model's maps, places, proposals, threshold, their rows and keys."""

from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.prediction_queue import PredictionQueue
from napari_medseg.plugin.correction.correction_tools import CorrectionTools
from napari_medseg.plugin.correction.shifted_keys import ShiftedKeys
from napari_medseg.plugin.guidance.doubtful_places import PlaceGuide
from napari_medseg.plugin.guidance.key_above_tab import KeyAboveTab
from napari_medseg.plugin.guidance.model_maps import ModelMaps
from napari_medseg.plugin.guidance.proposals import Proposals
from napari_medseg.plugin.guidance.rows import PlacesRow, ThresholdRow
from napari_medseg.plugin.guidance.threshold import ModelThreshold
from napari_medseg.plugin.keymap import KeyBinding
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari import Viewer

COUNT_AFTER_MS = 300


class Guidance:
    """Makes the parts and ties them together.

    Parameters
    ----------
    viewer, workspace, case_controller, queue
        The window, the project, the open case, and what predicts.
    tools
        The correction tools, whose editor changes labels.
    """

    def __init__(
        self,
        viewer: "Viewer",
        workspace: Workspace,
        case_controller: CaseController,
        queue: PredictionQueue,
        tools: CorrectionTools,
    ) -> None:
        self.editor = tools.editor
        self.maps = ModelMaps(workspace, case_controller, queue, self.editor)
        self.places = PlaceGuide(viewer, self.editor, self.maps)
        self.proposals = Proposals(viewer, case_controller, self.editor, self.maps)
        self.threshold = ModelThreshold(self.editor, tools.mouse_tools, self.maps)
        self.threshold_row = ThresholdRow(self.threshold, self.maps)
        self.places_row = PlacesRow(self.maps, self.proposals)
        self.places_row.button.clicked.connect(partial(self.go, +1))
        holds = {"Tab": partial(self._go_at_once, +1), "Shift-Tab": partial(self._go_at_once, -1)}
        self._keys = ShiftedKeys(holds, _do_nothing)
        self._key_above_tab = KeyAboveTab(self.confirm)
        self._count_timer = QTimer(self.places_row)
        self._count_timer.setSingleShot(True)
        self._count_timer.setInterval(COUNT_AFTER_MS)
        self._count_timer.timeout.connect(self._count_edited)
        case_controller.labels_changed.connect(self._count_timer.start)

    def close(self) -> None:
        """Stop what is being computed, and let go of the keys."""
        self._count_timer.stop()
        self._keys.close()
        self._key_above_tab.close()
        self.proposals.close()
        self.maps.close()

    def watch(self, widgets: Sequence[QWidget]) -> None:
        """Handle Tab, and the key above it, on these widgets: the canvas."""
        self._keys.watch(widgets)
        self._key_above_tab.watch(widgets)

    def list_key_bindings(self) -> list[KeyBinding]:
        """Return the keys, for the keyboard map and the page of keys."""
        return [
            KeyBinding("Tab", "next doubtful place, or next proposal on another slice", _do_nothing, is_bound=False),
            KeyBinding("Shift-Tab", "previous doubtful place or proposal", _do_nothing, is_bound=False),
            KeyBinding("`", "it is right: keep this place as it is; or take the proposal", self.confirm),
            KeyBinding(".", "grow the piece under the mouse by the model", _hold_step(self.threshold, +1)),
            KeyBinding(",", "shrink the piece under the mouse by the model", _hold_step(self.threshold, -1)),
            KeyBinding("Shift-I", "interpolate a slice between two drawn ones", self.interpolate),
        ]

    def go(self, step: int) -> None:
        """Go to the next (+1) or previous (-1) proposal, else doubtful place."""
        self._say_errors(partial(self._go, step))()

    def confirm(self) -> None:
        """Take the proposal that is shown, else say that the shown place is right."""
        if self.proposals.shown is not None:
            self.proposals.take()
        else:
            self.places.confirm()

    def interpolate(self) -> None:
        """Fill a slice between two that are drawn."""
        self._say_errors(self.proposals.interpolate)()

    def _go(self, step: int) -> None:
        if not (self.proposals.pending and self.proposals.go(step)):
            self.places.go(step)

    def _go_at_once(self, step: int) -> Generator[None]:
        self.go(step)
        yield

    def _count_edited(self) -> None:
        session = self.editor.session
        if session is not None and self.maps.places is not None:
            self._say_errors(partial(self.maps.places.mark_edited, session.draft.edited))()
            self.places_row.refresh()

    def _say_errors(self, call: Callable[[], None]) -> Callable[[], None]:
        def called() -> None:
            try:
                with translate_errors():
                    call()
            except MedSegError as error:
                self.editor.say(str(error))

        return called


def _hold_step(threshold: ModelThreshold, direction: int) -> Callable[[], Generator[None]]:
    """Return a generator function for a key that is held."""

    def hold() -> Generator[None]:
        yield from threshold.step_while_held(direction)

    return hold


def _do_nothing() -> None:
    pass
