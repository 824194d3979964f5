"""The one way by which a tool changes the labels of the open case: show a preview, then apply it as one stroke."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal

from napari_medseg.core.editing.canvas import Canvas
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.core.project.strokes import PreparedStroke
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.correction.preview import Preview
from napari_medseg.plugin.correction.protection import Protection, make_plane_mask
from napari_medseg.plugin.correction.request import Request, compute_edit
from napari_medseg.plugin.drafts.closer import EditSession
from napari_medseg.plugin.review_region_layer import get_shown_plane
from napari_medseg.plugin.widgets.worker import Worker

if TYPE_CHECKING:
    from napari import Viewer

__all__ = ["MAX_VOXELS_AT_ONCE", "NO_CASE", "NO_SLICES", "Editor", "Request"]
MAX_VOXELS_AT_ONCE = 1 << 22
"""A whole piece of a larger volume is computed in a thread."""
NO_CASE = "no labels can be changed now. Open a case and predict it, or start with a label key."
NO_SLICES = "the tools work on slices, not in 3-D or across them. Press Ctrl+Y for 2-D, or Ctrl+E for the other axes."
RETRY_MS = 50


class Editor(QObject):
    """Applies the edits of tools to the open case, one at a time.

    Parameters
    ----------
    viewer, case_controller
        The window's viewer, and the controller of the open case.
    get_task
        Returns the task of the open case.

    Notes
    -----
    `said` carries a text for the message line: what was done, or why not. `applied` carries the edit; `painted` is
    emitted when something else changed the labels, and `case_changed` when those of another case, or none, are open.
    """

    said = Signal(str)
    applied = Signal(object)
    painted = Signal()
    case_changed = Signal()

    def __init__(self, viewer: "Viewer", case_controller: CaseController, get_task: Callable[[], Task]) -> None:
        super().__init__()
        self._viewer = viewer
        self._case_controller = case_controller
        self._get_task = get_task
        self._session: EditSession | None = None
        self._request: Request | None = None
        self._edit: Edit | None = None
        self._prepared: PreparedStroke | None = None
        self._worker: Worker | None = None
        self._commits_when_ready = False
        self._retry = QTimer(self)
        self._retry.setSingleShot(True)
        self._retry.setInterval(RETRY_MS)
        self._retry.timeout.connect(self.commit)
        self._is_applying = False
        self._protection = Protection()
        self._model_maps: tuple[NDArray[Any] | None, NDArray[np.uint8] | None] = (None, None)
        self.message = ""
        self.preview = Preview(viewer)
        case_controller.leaving.connect(self.finish)
        case_controller.opened.connect(self._sync)
        case_controller.state_changed.connect(self._sync)
        case_controller.labels_changed.connect(self._on_labels_changed)

    @property
    def session(self) -> EditSession | None:
        """The open review whose labels can be changed; `None` if there is none, or while labels are saved."""
        return None if self._case_controller.work.is_saving else self._session

    @property
    def layer(self) -> Labels | None:
        """The labels layer of the open review."""
        return None if self._session is None else self._session.layer

    @property
    def task(self) -> Task:
        """The task of the open case."""
        return self._get_task()

    @property
    def has_request(self) -> bool:
        """Whether a preview is shown or awaited."""
        return self._request is not None

    def close(self) -> None:
        """Finish what was committed, drop what is only shown, and remove the overlay."""
        self.finish()
        self.cancel()
        self.preview.close()

    def set_model_maps(self, probability: NDArray[Any] | None, uncertainty: NDArray[np.uint8] | None) -> None:
        """Use what the model says of the open case, as of `Canvas`; it is forgotten with the case."""
        self._model_maps = probability, uncertainty

    def make_canvas(self, *, protects: bool = True) -> Canvas:
        """Return the canvas of the open case.

        Parameters
        ----------
        protects
            Whether it holds the voxels that a person set.

        Raises
        ------
        MedSegError
            If no review is open, or its labels are being saved.
        """
        session, current = self.session, self._case_controller.current
        if session is None or current is None:
            raise MedSegError(NO_CASE)
        draft, image, (probability, uncertainty) = session.draft, current.image, self._model_maps
        protected = self._protection.make_mask(draft.edited, draft.labels.shape) if protects else None
        return Canvas(
            labels=draft.labels,
            task=self.task,
            spacing_mm=image.spacing_mm,
            protected=protected,
            image=image.pixels,
            unit=image.units if image.units == "HU" else "",
            probability=probability,
            uncertainty=uncertainty,
        )

    def find_cursor(self) -> tuple[int, ...]:
        """Return the index of the voxel under the mouse; `MedSegError` outside the image, or without a review."""
        if self.layer is None:
            raise MedSegError(NO_CASE)
        if list((dims := self._viewer.dims).displayed) != [dims.ndim - 2, dims.ndim - 1]:
            raise MedSegError(NO_SLICES)
        place = self.layer.world_to_data(self._viewer.cursor.position[-self.layer.ndim :])
        index = tuple(int(np.floor(axis + 0.5)) for axis in place)
        if not all(0 <= at < length for at, length in zip(index, self.layer.data.shape, strict=True)):
            raise MedSegError("the mouse is outside the image. Point at the image.")
        return index

    def find_plane(self) -> int | None:
        """Return the shown slice of a volume; `None` for a 2-D image or without an open review."""
        layer = self.layer
        return None if layer is None or layer.ndim == len("YX") else get_shown_plane(self._viewer, layer)

    def begin(self, request: Request) -> bool:
        """Show what a request would change; return whether it can be committed.

        A request before it is finished if it was committed, else dropped.
        """
        self.finish()
        self.cancel()
        try:
            with translate_errors():
                if self._session is not None:
                    self._session.recorder.record_external_changes_if_refreshed()
                self._request = request
                self._compute(request)
        except MedSegError as error:
            self._refuse(error)
        return self._request is not None

    def commit(self) -> None:
        """Apply what `begin` showed, now or when the thread is done; nothing if it was refused or dropped."""
        request, edit, prepared = self._request, self._edit, self._prepared
        if self._worker is not None:
            self._commits_when_ready = True
            self.say("computing; it is done as soon as that is ready")
        elif request is not None and self._session is not None and self._session.recorder.has_stroke_in_progress:
            self._commits_when_ready = True
            self._retry.start()
        elif request is not None and edit is not None:
            self.cancel()
            self._apply(request, edit, prepared)

    def run(self, request: Request) -> None:
        """Show and apply a request."""
        if self.begin(request):
            self.commit()

    def cancel(self) -> None:
        """Drop what is shown or computed; the labels stay as they are."""
        if self._worker is not None:
            self._worker.stop()
        self._retry.stop()
        self._worker = self._request = self._edit = self._prepared = None
        self._commits_when_ready = False
        self.preview.hide()

    def drop_preview(self) -> None:
        """Drop what is only shown; what was committed goes on."""
        if not self._commits_when_ready:
            self.cancel()

    def finish(self) -> None:
        """Wait for a thread whose edit was committed, and apply it: other work, or another case, is about to begin."""
        if self._worker is not None and self._commits_when_ready:
            self._worker.finish()
        request, edit = self._request, self._edit
        if self._retry.isActive() and request is not None and edit is not None:
            self.cancel()
            self._apply(request, edit)  # says that a stroke is in progress

    def say(self, text: str) -> None:
        """Write to the message line."""
        self.message = text
        self.said.emit(text)

    def _compute(self, request: Request) -> None:
        """Make the edit of a request now, or in a thread if it may need all slices of a large volume."""
        canvas, session, protected = self.make_canvas(protects=False), self._session, None
        if session is not None and request.protects:
            protected = self._protection.find(session.draft, is_outline_step=request.is_outline)

        def find_protected() -> NDArray[np.bool_] | None:
            return self._protection.make_mask(protected, canvas.shape)

        if session is None or not request.in_volume or canvas.labels.size <= MAX_VOXELS_AT_ONCE:
            self._show(request.make_edit(replace(canvas, protected=find_protected())))
            return
        if request.preview_edit is not None:
            near = make_plane_mask(protected, canvas.shape, self.find_plane() or 0)
            self._show(request.preview_edit(replace(canvas, protected=near)))
        self._edit = None
        worker = Worker(compute_edit(request.make_edit, canvas, find_protected, session), self)
        worker.yielded.connect(lambda computed: self._on_computed(worker, *computed))
        worker.failed.connect(lambda error: self._refuse(error) if worker is self._worker else None)
        self._worker = worker.start()

    def _on_computed(self, worker: Worker, edit: Edit, prepared: PreparedStroke | None) -> None:
        if worker is self._worker:
            self._worker, self._edit, self._prepared = None, edit, prepared
            if self._commits_when_ready:
                self.commit()
            else:
                self._show(edit)

    def _show(self, edit: Edit) -> None:
        self._edit = edit
        if self.layer is not None:
            self.preview.show_edit(edit, self.layer, self.find_plane())
        self.say(f"preview: {edit.message}")

    def _refuse(self, error: MedSegError) -> None:
        self.cancel()
        self.say(str(error))

    def _apply(self, request: Request, edit: Edit, prepared: PreparedStroke | None = None) -> None:
        session = self.session
        if session is None:
            self.say(NO_CASE)
            return
        protected = self._protection.find(session.draft, is_outline_step=True) if request.is_outline else None
        self._is_applying = True
        try:
            with translate_errors():
                session.recorder.apply_edit(edit, prepared)
        except MedSegError as error:
            self.say(str(error))
            return
        finally:
            self._is_applying = False
        self._protection.set_steps(protected)
        self.say(edit.message)
        self.applied.emit(edit)

    def _sync(self) -> None:
        """Notice that other labels are open."""
        current = self._case_controller.current
        session = None if current is None else current.edit_session
        if session is not self._session:
            self.cancel()
            self._session = session
            self._protection.clear()
            self._model_maps = None, None
            self.case_changed.emit()

    def _on_labels_changed(self) -> None:
        """Drop what is shown or computed if the brush, undo or a prediction changed the labels."""
        self._sync()
        if not self._is_applying:
            self._protection.set_steps(None)
            if self._request is not None:
                self._refuse(MedSegError("the labels changed since this was shown. Use the tool again."))
            self.painted.emit()
