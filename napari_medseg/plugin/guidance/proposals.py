"""Through the slices of a volume: proposals beside a corrected slice, and interpolation between two drawn ones."""

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer, Signal

from napari_medseg.core.editing.canvas import Canvas
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.editing.through_slices import interpolate_slice
from napari_medseg.core.errors import MedSegError
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.correction.editor import Editor, Request
from napari_medseg.plugin.guidance.model_maps import ModelMaps
from napari_medseg.plugin.guidance.navigation import show_place
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.workflow.guidance.surroundings import Surroundings, has_changes_on_plane

if TYPE_CHECKING:
    from napari import Viewer

PROPOSE_AFTER_MS = 400


class Proposals(QObject):
    """What a person changed on a slice, proposed on the slices beside it.

    Parameters
    ----------
    viewer, case_controller, editor, maps
        The window, the open case, what changes labels, and what knows where the model was unsure.

    Notes
    -----
    `changed` is emitted when there are other proposals. They are computed in a thread after each change of labels.
    """

    changed = Signal()

    def __init__(self, viewer: "Viewer", case_controller: CaseController, editor: Editor, maps: ModelMaps) -> None:
        super().__init__()
        self._viewer = viewer
        self._case_controller = case_controller
        self._editor = editor
        self._maps = maps
        self._worker: Worker | None = None
        self._shown: int | None = None
        self._is_taking = False
        self.pending: list[Edit] = []
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PROPOSE_AFTER_MS)
        self._timer.timeout.connect(self.compute)
        case_controller.labels_changed.connect(self._on_labels_changed)
        editor.case_changed.connect(self.drop)
        editor.applied.connect(self._on_applied)

    @property
    def shown(self) -> Edit | None:
        """The proposal that is shown; `None` if none is."""
        is_shown = self._shown is not None and self._shown < len(self.pending) and self._editor.has_request
        return self.pending[self._shown or 0] if is_shown else None

    @property
    def summary(self) -> str:
        """Text for the window; empty without proposals."""
        n = len(self.pending)
        slices = sorted({edit.planes.start for edit in self.pending})
        where = f"slice{'s' * (len(slices) > 1)} {', '.join(map(str, slices))}"
        return f"{n} proposal{'s' * (n > 1)} on {where}" if n else ""

    def close(self) -> None:
        """Stop computing."""
        self.drop()

    def compute(self) -> None:
        """Propose the changes of the shown slice on its neighbours, in a thread."""
        self.drop()
        session, plane, current = self._editor.session, self._editor.find_plane(), self._case_controller.current
        uncertainty = self._maps.uncertainty
        if session is None or plane is None or current is None or uncertainty is None:
            return
        if not has_changes_on_plane(session.draft, plane):
            return
        around = Surroundings.cut(session.draft, plane, self._editor.task, current.image, uncertainty)
        worker = Worker(around.propose(), self)
        worker.yielded.connect(lambda edits: self._on_proposed(worker, edits))
        worker.failed.connect(lambda error: self._editor.say(str(error)))
        self._worker = worker.start()

    def go(self, step: int) -> bool:
        """Show the next or previous proposal on its slice; return whether there is one."""
        at = (-1 if step > 0 else len(self.pending)) if self._shown is None else self._shown
        if not 0 <= at + step < len(self.pending):
            self.drop()
            return False
        self._shown = at + step
        edit, layer = self.pending[self._shown], self._editor.layer
        if layer is None:
            return False
        box = edit.box
        show_place(self._viewer, layer, [(side.start + side.stop - 1) // 2 for side in box], box)
        self._editor.begin(Request(lambda _canvas: edit))
        what = edit.message.replace(", as proposed", "")
        self._editor.say(f"proposal {self._shown + 1} of {len(self.pending)}: {what}; ` takes it")
        return True

    def take(self) -> None:
        """Apply the proposal that is shown."""
        if self.shown is not None:
            self._is_taking = True
            self._editor.commit()
            self._is_taking = False

    def drop(self) -> None:
        """Forget all proposals."""
        self._timer.stop()
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
        if self.pending:
            self.pending, self._shown = [], None
            self.changed.emit()

    def interpolate(self) -> None:
        """Fill the shown slice, or the empty one beside it, between two slices with the selected label.

        Raises
        ------
        MedSegError
            If this is no volume; what else cannot be interpolated is said in the message line.
        """
        layer, plane = self._editor.layer, self._editor.find_plane()
        if layer is None or plane is None:
            raise MedSegError("interpolation needs a volume with labels. Open one, and draw two slices.")
        value = int(layer.selected_label)
        self._editor.run(Request(lambda canvas: interpolate_slice(canvas, value, *choose_planes(canvas, value, plane))))

    def _on_labels_changed(self) -> None:
        if not self._is_taking:
            self.drop()  # they were computed for other labels
            self._timer.start()

    def _on_applied(self, edit: Edit) -> None:
        if self._is_taking and self._shown is not None and self.pending[self._shown] is edit:
            del self.pending[self._shown]
            self._shown -= 1  # Tab goes to the one behind
            if self._shown < 0:
                self._shown = None
            if not self.pending:
                self._timer.start()  # from here to the next slices
            self.changed.emit()

    def _on_proposed(self, worker: Worker, edits: list[Edit]) -> None:
        if worker is self._worker:
            self._worker, self._shown = None, None
            self.pending = edits
            self.changed.emit()


def choose_planes(canvas: Canvas, value: int, plane: int) -> tuple[int, int]:
    """Return the two slices between which one is interpolated: around the shown slice, else from it to either side."""
    pairs = ((plane - 1, plane + 1), (plane, plane + 2), (plane - 2, plane))
    inside = [pair for pair in pairs if pair[0] >= 0 and pair[1] < canvas.shape[0]]
    for low, high in inside:
        if all((canvas.labels[end] == value).any() for end in (low, high)):
            return low, high
    return inside[0] if inside else (plane, plane)
