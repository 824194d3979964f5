"""Controller of the open case: its image and labels in the viewer, and its draft on disk."""

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Image as ImageLayer
from napari.layers import Layer
from napari.utils.events import Event
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from napari_medseg.core.image import Image
from napari_medseg.core.records import Case, Prediction
from napari_medseg.plugin import layer_reuse, layers
from napari_medseg.plugin.controllers import labels_tools, open_case
from napari_medseg.plugin.controllers.open_case import OpenCase, ReusableLayers
from napari_medseg.plugin.controllers.review_decision import CaseWork, ReviewDecision
from napari_medseg.plugin.controllers.stroke_recorder import StrokeRecorder
from napari_medseg.plugin.drafts.closer import DraftCloser
from napari_medseg.plugin.drafts.preparer import LabelsAhead, LabelsPreparer, PreparedLabels
from napari_medseg.plugin.drafts.save_queue import SaveQueue
from napari_medseg.plugin.widgets.notifications import show_errors, show_notice
from napari_medseg.workflow import cases, review
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari import Viewer


class CaseController(QObject):
    """Manages at most one open case.

    Notes
    -----
    `opened`: another case, or none, is open. `labels_changed`, `state_changed`: of a case. `leaving`: before the open
    one is accepted or left. `saving_began`: a case was accepted; then it is `decided`, as a rejected one, or
    `save_failed`, and a draft again. `work` tells what cannot be done while a case is read or saved; `saver` saves.
    """

    leaving = Signal()
    opened = Signal()
    open_failed = Signal(object)
    labels_changed = Signal()
    state_changed = Signal()
    saving_began = Signal(object)
    save_failed = Signal(object)
    decided = Signal(object)

    def __init__(self, viewer: "Viewer", workspace: Workspace) -> None:
        super().__init__()
        self._viewer = viewer
        self._workspace = workspace
        self.current: OpenCase | None = None
        self.opening: Case | None = None
        self.saver = SaveQueue(self)
        self.saver.changed.connect(self.state_changed)
        self.work = CaseWork(self, lambda: self.current)
        self.work.began.connect(self.state_changed)
        self.work.ended.connect(self.state_changed)
        self.closer = DraftCloser(self, self._on_labels_changed)
        self.labels_ahead = LabelsAhead()
        self._preparer = LabelsPreparer(workspace, self.work, self.closer, self.labels_ahead)
        self._decision = ReviewDecision(workspace, self.work, self.saver, self._remember_tools, self.open, self)
        for name in ("state_changed", "saving_began", "save_failed", "decided"):
            getattr(self._decision, name).connect(getattr(self, name))
        self._shown_state = ""
        self._tools: dict[str, dict[str, Any]] = {}  # of each task: a label of one task means nothing in another
        viewer.layers.events.removed.connect(self._on_removed)

    @property
    def is_busy(self) -> bool:
        """Whether an image is being read, or the labels of the open case are being saved."""
        return self.work.is_running or self.work.is_saving

    def open(self, case: Case, image: Image | None = None, layer: ImageLayer | None = None) -> None:
        """Open a case; the current case stays open until the image is read.

        Without `image`, the image is read in a thread. `layer` is an existing layer that shows the image. A case whose
        labels are being saved opens when they are.
        """
        self.leaving.emit()
        self._stop_opening()
        if self.current is not None and self.current.case.id == case.id:
            return
        self.opening = case
        if self.saver.is_saving(case):
            show_notice(f"The labels of {case.name} are being saved. It opens when they are.")
            self.saver.call_when_saved(case, partial(self.open, case, image, layer))
        else:
            self._open(case, image, layer)

    def close_case(self) -> None:
        """Save and close the open case and remove its layers. Labels that are being accepted are still recorded."""
        self._stop_opening()
        if (current := self.current) is not None:
            current.close_edit_session(self.closer)
            self.current = None
            current.remove_layers(self._viewer)
            self.opened.emit()

    def close(self) -> None:
        """Save the draft, wait for labels that are being accepted, and disconnect; the next dock takes the layers."""
        self.leaving.emit()  # the last stroke and the time at work go into the draft
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self.blockSignals(True)  # no next case opens
        self.saver.finish()
        self.work.stop()
        if (current := self.current) is not None:
            current.close_edit_session(self.closer)
            layers.remove(self._viewer, current.empty_layer)
            layers.release_layers(current.image_layer, current.labels_layer)
            self.current = None
        self.closer.finish()

    def show_prediction(self, prediction: Prediction | None, labels: NDArray[Any] | None = None) -> None:
        """Show a prediction for correction; `None` starts with empty labels. Edited voxels keep their value."""
        current = self.current
        if current is None or self.work.is_saving:  # labels that are being saved are final
            return
        work = current.edit_session
        if work is not None and work.draft.edited.n_voxels and prediction is not None and labels is not None:
            task = self._workspace.tasks.get_task(current.case.task)
            review.merge_prediction(work.draft, labels, prediction.model, has_objects=task.instances)
            work.recorder.show_draft()
            labels_tools.select_free_object(work.layer, task)
        else:
            if not self.work.is_opening:  # else the user leaves this case; the prediction is shown when it opens again
                current.lock(self.closer)
                self.work.opens_case = False
                show = partial(self._show_start, current, prediction)
                self._preparer.run(current.case, prediction, labels, show, self.close_case)
            return
        current.set_prediction(prediction, self._workspace.project.folder)
        self._on_labels_changed()

    def _show_start(self, current: OpenCase, prediction: Prediction | None, prepared: PreparedLabels) -> None:
        if current is not self.current:
            prepared.draft.close()
            return
        with ExitStack() as on_failure:
            on_failure.callback(self.close_case)  # no labels that look editable and are not recorded
            current.close_edit_session(self.closer)  # two drafts on one journal would overwrite each other
            self._start_edit_session(current, prepared)
            on_failure.pop_all()
        current.set_prediction(prediction, self._workspace.project.folder)
        self._on_labels_changed()

    def restart_review(self) -> None:
        """Start a review of the open case from its accepted labels, else its prediction, else empty labels.

        When this returns, the labels can be edited, unless labels are being saved or another case is being opened.
        """
        if (current := self.current) is None:
            return
        if self.work.is_saving or self.work.is_opening:
            self.work.refuse_while_busy()
            return
        self.work.stop()
        with show_errors():
            prediction = cases.get_case_row(self._workspace, current.case).prediction
            current.lock(self.closer)
            self._show_start(current, prediction, self._preparer.prepare(current.case, prediction))

    def accept(self) -> None:
        """Save the labels as a correction; then `decided` is emitted. See `ReviewDecision.accept`."""
        self.leaving.emit()
        self._decision.accept(self.current)

    def reject(self) -> None:
        """Close the review without a correction; then `decided` is emitted."""
        self._decision.reject(self.current)

    def reset(self) -> None:
        """Restore the prediction; undo restores the edits."""
        self._decision.reset(self.current)

    def undo(self) -> None:
        """Undo the last stroke and show its slice."""
        self._decision.step_in_journal(self._viewer, self.current, StrokeRecorder.undo)

    def redo(self) -> None:
        """Redo the last undone stroke and show its slice."""
        self._decision.step_in_journal(self._viewer, self.current, StrokeRecorder.redo)

    def _open(self, case: Case, image: Image | None, layer: ImageLayer | None) -> None:
        self.work.opens_case = True
        if image is not None:
            self._show_case(case, image, layer)
        else:
            load, failed = open_case.load_image(self._workspace, case), partial(self._give_up, case, None, False)
            self.work.run(load, lambda loaded: self._show_case(case, loaded, None), failed)

    def _show_case(self, case: Case, image: Image, layer: ImageLayer | None) -> None:
        """Show a case whose image is read, with its draft if it has one."""
        with show_errors(), ExitStack() as on_failure:
            on_failure.callback(setattr, self, "opening", None)
            self.closer.wait(case)  # its last changes decide its state
            row = cases.get_case_row(self._workspace, case)
            on_failure.pop_all()
            show = partial(self._show_prepared, row, image, layer)
            if row.prediction is None and row.review is None:
                show(None)
            else:
                borrowed = layer is not None and layers.is_foreign_image(layer)
                self._preparer.run(case, row.prediction, None, show, partial(self._give_up, case, layer, borrowed))

    def _give_up(self, case: Case, layer: ImageLayer | None, borrowed: bool) -> None:
        open_case.release_image(self._viewer, layer, borrowed)
        self.opening = None
        self.open_failed.emit(case)

    def _stop_opening(self) -> None:
        self.work.stop()
        self.saver.forget_call()
        self.opening = None

    def _show_prepared(
        self, row: cases.CaseRow, image: Image, layer: ImageLayer | None, prepared: PreparedLabels | None
    ) -> None:
        """Open a case completely or not at all. After an error its layers are removed, and the next case can open."""
        case = row.case
        if prepared is not None and cases.get_case_row(self._workspace, case).prediction != row.prediction:
            self._show_case(case, image, layer)  # predicted while the labels were prepared
            return
        borrowed = layer is not None and layers.is_foreign_image(layer)
        with show_errors(), ExitStack() as on_failure:
            on_failure.callback(self._give_up, case, layer, borrowed)
            if prepared is not None:
                on_failure.callback(prepared.draft.close)
            before = self.current
            on_failure.callback(self._abandon_opening, before, list(self._viewer.layers))
            extent = None if before is None else before.image_layer.extent.world
            shown, labels = (layer, None) if before is None else self._leave(before, image, layer)
            show = layers.show_image if before is None else layer_reuse.show_image
            shown = show(self._viewer, image, case, self._workspace.tasks.get_task(case.task), shown)
            current = OpenCase(case, image, shown, "predicted" if row.state == "draft" else row.state, borrowed)
            current.set_empty_layer(labels)
            if prepared is not None:
                self._start_edit_session(current, prepared)
                current.set_prediction(row.prediction, self._workspace.project.folder)
            elif labels is not None:
                layer_reuse.empty_labels(labels, case)
            if before is not None:  # removed only now: the viewer keeps its zoom if the new image has the same extent
                before.remove_layers(self._viewer, (shown, labels))
                layers.reset_view_if_extent_changed(self._viewer, extent, shown)
            if not borrowed and shown.name != case.name:
                shown.name = case.name  # not the file; and napari numbers a second layer of the same name
            layers.show_initial_slice(self._viewer, shown, None if prepared is None else prepared.fullest_plane)
            on_failure.pop_all()
            self.current, self.opening = current, None
            self._on_labels_changed()
            self.opened.emit()

    def _leave(self, before: OpenCase, following: Image, layer: ImageLayer | None) -> ReusableLayers:
        """Close a case; return the image layer and the labels layer for the following one, if there are any."""
        self.current = None
        self._remember_tools(before)
        before.close_edit_session(self.closer)
        return before.lend_layers(self._viewer, following, layer)

    def _abandon_opening(self, before: OpenCase | None, known: list[Layer]) -> None:
        """Remove the layers of the case that could not be opened, and of the case before, which is closed already."""
        layers.remove(self._viewer, *[layer for layer in self._viewer.layers if layer not in known])
        if before is not None and before.edit_session is None:
            self.current = None
            before.remove_layers(self._viewer)
        self.opened.emit()

    def _start_edit_session(self, current: OpenCase, prepared: PreparedLabels) -> None:
        task = self._workspace.tasks.get_task(current.case.task)
        tools, is_new = self._tools.get(task.name, {}), current.labels_layer is None
        layer = open_case.show_labels(self._viewer, current, prepared.shown, prepared.free_number, task, tools)
        if is_new:
            labels_tools.bind_history_keys(layer, self.undo, self.redo)
        current.start_editing(layer, prepared.draft, self._on_labels_changed)
        self._shown_state = ""

    def _remember_tools(self, current: OpenCase) -> None:
        if current.edit_session is not None:
            self._tools[current.case.task] = labels_tools.get_tools(current.edit_session.layer)

    def _on_labels_changed(self) -> None:
        current = self.current
        if current is not None and current.state != self._shown_state:
            self._shown_state = current.state
            if current.labels_layer is not None:
                layers.show_state(current.labels_layer, current.case, current.state)
            self.state_changed.emit()
        self.labels_changed.emit()

    def _on_removed(self, event: Event) -> None:
        current = self.current  # the draft of a deleted layer is on disk, for when the case is opened again
        if current is not None and event.value is current.image_layer:
            self.close_case()
        elif current is not None and event.value is current.labels_layer:
            current.close_edit_session(self.closer)
            current.labels_layer = None
            self._on_labels_changed()
