"""The row "Predict slide": plans, starts, stops and continues the prediction of a whole slide in the background."""

import contextlib
import shutil
import time
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QWidget

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.slides.open_slide import open_slide
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.plugin.controllers.prediction_queue import PredictionQueue
from napari_medseg.plugin.slides.slide_labels import SlideLabels
from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.notifications import show_errors, show_notice, show_problem
from napari_medseg.plugin.widgets.worker import SingleWork, Worker
from napari_medseg.workflow.whole_slide.corrections import CorrectedField
from napari_medseg.workflow.whole_slide.density import DensityMap, compute_density
from napari_medseg.workflow.whole_slide.export import open_to_read
from napari_medseg.workflow.whole_slide.manifest import SlideIdentity, get_prediction_folder
from napari_medseg.workflow.whole_slide.plan import SlidePlan, make_plan, refuse_unsuitable
from napari_medseg.workflow.whole_slide.prediction import (
    SlideProgress,
    begin_prediction,
    continue_prediction,
    find_manifest,
    predict_chunks,
)
from napari_medseg.workflow.whole_slide.project_slides import FieldRow, list_corrected_fields, read_corrected_fields
from napari_medseg.workflow.whole_slide.texts import describe_progress
from napari_medseg.workflow.whole_slide.tissue import find_tissue
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari import Viewer

DRAW_AGAIN_S = 1.0
"""The labels are drawn again at most so often while chunks arrive."""
TOOLTIP = (
    "Predict all tissue of the slide in the background. Your own predictions go first; it goes on after a restart. "
    "The labels are shown only: correct them in fields."
)


class WholeSlidePrediction(QWidget):
    """A row with a button, what it does, and a box for the density map.

    Parameters
    ----------
    viewer, workspace
        The window and its workspace.
    queue
        Predictions of cases, which go first.
    get_task
        Returns the task whose live model predicts.
    parent
        Qt parent.
    """

    changed = Signal()
    """Emitted when a prediction starts or ends."""

    def __init__(
        self,
        viewer: "Viewer",
        workspace: Workspace,
        queue: PredictionQueue,
        get_task: Callable[[], Task],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._workspace, self._queue, self._get_task = workspace, queue, get_task
        self.layers = SlideLabels(viewer)
        self._slide: Path | None = None
        self._pixel_size = 1.0
        self._folder: Path | None = None
        self._plan: SlidePlan | None = None
        self._worker: Worker | None = None
        self._work = SingleWork(self)
        self._density_work = SingleWork(self)
        self._drawn_at = 0.0
        self.button = theme.make_tool_button("Predict slide", TOOLTIP)
        self.button.clicked.connect(self._on_pressed)
        self.not_now = theme.make_tool_button("Not now", "Do not predict the slide", "medseg-plain")
        self.not_now.clicked.connect(self._forget_plan)
        self.density = QCheckBox("density")
        self.density.setToolTip("Show how many objects a square millimetre holds, as predicted so far")
        self.density.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.density.toggled.connect(self._show_density)
        self.text = QLabel()
        self.text.setObjectName("medseg-muted")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for widget in (self.button, self.not_now, self.density):
            row.addWidget(widget)
        row.addWidget(self.text, stretch=1)
        self._show_state()

    @property
    def is_running(self) -> bool:
        """Whether chunks are being predicted."""
        return self._worker is not None

    def set_slide(self, slide: Path | None, pixel_size: float = 1.0) -> None:
        """Show what is known of a slide, or nothing; a prediction of another slide stops.

        Parameters
        ----------
        slide
            The slide that is open in the window.
        pixel_size
            World units per pixel of its level 0, as of its layer.
        """
        self.stop()
        self._work.stop()
        self.layers.remove()
        self._slide, self._pixel_size, self._folder, self._plan = slide, pixel_size, None, None
        self.text.clear()
        self._show_state()
        if slide is not None:
            self.look_again()

    def look_again(self) -> None:
        """Show the labels that are there, with the fields that were corrected since."""
        card = self._find_card()
        if self._slide is None or card is None or self.is_running:
            return
        slide, folder = self._slide, self._workspace.project.folder
        rows = list_corrected_fields(self._workspace, slide, card.task)
        self._work.run(_look(self._workspace, slide, folder, card, rows), self._on_looked, lambda: None)

    def stop(self) -> None:
        """Stop predicting; what is done stays."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.stop()
            if self._queue.running_request is None:
                self._workspace.engine.cancel_gracefully()
            self._show_state()
            self.changed.emit()

    def close_down(self) -> None:
        """Stop all work, before the window or the project closes."""
        worker = self._worker
        self.stop()
        self._work.stop()
        self._density_work.stop()
        if worker is not None:
            worker.wait(timeout_s=0.5)

    def _find_card(self) -> ModelCard | None:
        return self._workspace.registry.find_live_card(self._get_task().name)

    def _on_pressed(self) -> None:
        if self.is_running:
            self.stop()
            return
        with show_errors():
            card = self._find_card()
            if self._slide is None or card is None:
                raise MedSegError("no model is live for this task. Choose another task, or train a model first.")
            refuse_unsuitable(card)
            folder = self._folder
            if folder is not None and (self._plan is not None or find_manifest(folder) is not None):
                self._start(self._slide, folder, card)
            else:
                self.text.setText("looking for tissue ...")
                self._work.run(
                    _plan(self._slide, self._workspace.project.folder, card), self._on_planned, self.text.clear
                )

    def _on_planned(self, planned: tuple[SlidePlan, Path]) -> None:
        self._plan, self._folder = planned
        free = shutil.disk_usage(self._workspace.project.folder).free
        self.text.setText(f"{self._plan.text} ({free / 1e9:,.0f} GB free)")
        for remark in self._plan.remarks:
            show_notice(remark)
        self._show_state()

    def _forget_plan(self) -> None:
        self._plan = None
        self.text.clear()
        self._show_state()

    def _start(self, slide: Path, folder: Path, card: ModelCard) -> None:
        version = self._workspace.registry.get_folder(card.id)
        predict = partial(self._workspace.engine.predict, version_folder=version)
        queue = self._queue
        plan, self._plan = self._plan, None
        work = _predict(slide, folder, plan, card, predict, lambda: queue.running_request is not None)
        worker = self._worker = Worker(work, self)
        worker.yielded.connect(self._on_progress)
        worker.failed.connect(self._on_failed)
        worker.ended.connect(lambda: self._on_ended(worker))
        worker.start()
        self._show_labels(folder, [])
        self._show_state()
        self.changed.emit()

    def _on_progress(self, progress: SlideProgress) -> None:
        self.text.setText(describe_progress(progress))
        if progress.notice:
            show_notice(progress.notice)
        if not self.layers.is_shown and progress.done and self._folder is not None:
            self._show_labels(self._folder, [])
        is_last = progress.done == progress.total
        if progress.place is not None and (is_last or time.monotonic() - self._drawn_at > DRAW_AGAIN_S):
            self._drawn_at = time.monotonic()
            self.layers.refresh(None if is_last else progress.place)

    def _on_failed(self, error: MedSegError) -> None:
        show_problem(error)

    def _on_ended(self, worker: Worker) -> None:
        if worker is self._worker:
            self._worker = None
            self._show_state()
            self.look_again()
            self._show_density(self.density.isChecked())
            self.changed.emit()

    def _on_looked(self, found: "tuple[Path, str, list[CorrectedField]]") -> None:
        self._folder, text, fields = found
        if text and self._slide is not None:
            self.text.setText(text)
            self._show_labels(self._folder, fields)
        self._show_state()

    def _show_labels(self, folder: Path, fields: list[CorrectedField]) -> None:
        with contextlib.suppress(MedSegError), open_to_read(folder) as whole:  # not written yet
            self.layers.show(whole.labels, whole.manifest.grid, whole.manifest.definition, self._pixel_size, fields)

    def _show_density(self, shown: bool) -> None:
        if not shown:
            self.layers.remove_density()
        elif self._folder is not None and find_manifest(self._folder) is not None:
            self._density_work.run(_measure(self._folder), self._on_measured, lambda: None)

    def _on_measured(self, density: DensityMap) -> None:
        if self.density.isChecked():
            self.layers.show_density(density, self._pixel_size)
            show_notice(density.text)

    def _show_state(self) -> None:
        is_begun = self._folder is not None and (self._folder / "manifest.json").is_file()
        name = "Predict slide"
        if self.is_running:
            name = "Stop"
        elif self._plan is not None:
            name = "Start"
        elif is_begun:
            name = "Continue"
        self.button.setText(name)
        self.button.setVisible(self._slide is not None)
        self.not_now.setVisible(self._plan is not None and not self.is_running)
        self.density.setVisible(is_begun)


def _plan(slide: Path, project: Path, card: ModelCard) -> Generator[tuple[SlidePlan, Path]]:
    with contextlib.closing(open_slide(slide)) as opened:
        plan = make_plan(opened, card, find_tissue(opened))
    yield plan, get_prediction_folder(project, plan.manifest.slide, card.id)


def _look(
    workspace: Workspace, slide: Path, project: Path, card: ModelCard, rows: list[FieldRow]
) -> Generator[tuple[Path, str, list[CorrectedField]]]:
    """Yield the folder of a prediction, how far it is (empty: not begun), and the corrected fields."""
    with contextlib.closing(open_slide(slide)) as opened:
        folder = get_prediction_folder(project, SlideIdentity.of(opened), card.id)
        if find_manifest(folder) is None:
            yield folder, "", []
            return
        fields = read_corrected_fields(workspace, opened, rows)
    with open_to_read(folder) as whole:
        table = whole.table
        progress = SlideProgress(table.count("done"), table.n_chunks, table.n_objects)
    yield folder, describe_progress(progress), fields


def _predict(
    slide: Path,
    folder: Path,
    plan: SlidePlan | None,
    card: ModelCard,
    predict: Callable[..., Any],
    must_wait: Callable[[], bool],
) -> Generator[SlideProgress]:
    """Predict the chunks that are left; begin with a plan if there is one."""
    if plan is not None:
        begin_prediction(folder, plan).close()
    version = (card.id, card.weights_sha256)
    with contextlib.closing(open_slide(slide)) as opened, continue_prediction(folder, opened, version) as whole:
        yield from predict_chunks(whole, opened, predict, must_wait)


def _measure(folder: Path) -> Generator[DensityMap]:
    with open_to_read(folder) as whole:
        density = compute_density(whole)
    yield density
