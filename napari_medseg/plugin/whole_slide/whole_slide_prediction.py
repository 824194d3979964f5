"""The row "Predict slide": plans, starts, stops and continues the prediction of a whole slide in the background."""

import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.plugin import layers
from napari_medseg.plugin.controllers.prediction_queue import PredictionQueue
from napari_medseg.plugin.slides.slide_layer import SLIDE_KEY
from napari_medseg.plugin.slides.slide_strip import SlideStrip
from napari_medseg.plugin.whole_slide.slide_export import SlideExport
from napari_medseg.plugin.whole_slide.slide_labels import LayerPlace, SlideLabels
from napari_medseg.plugin.whole_slide.whole_slide_row import WholeSlideRow
from napari_medseg.plugin.whole_slide.whole_slide_work import (
    FoundLabels,
    find_labels,
    measure_density,
    plan_slide,
    predict_slide,
)
from napari_medseg.plugin.widgets.notifications import show_errors, show_notice, show_problem
from napari_medseg.plugin.widgets.worker import SingleWork, Worker
from napari_medseg.workflow.whole_slide.density import DensityMap
from napari_medseg.workflow.whole_slide.manifest import MANIFEST_FILE
from napari_medseg.workflow.whole_slide.plan import SlidePlan, refuse_unsuitable
from napari_medseg.workflow.whole_slide.prediction import SlideProgress, find_manifest
from napari_medseg.workflow.whole_slide.project_slides import find_resolution, list_corrected_fields
from napari_medseg.workflow.whole_slide.texts import describe_progress
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari import Viewer

DRAW_AGAIN_S = 1.0
"""The labels are drawn again at most so often while chunks arrive."""


class WholeSlidePrediction(QObject):
    """What the row of the strip does, and the layers of the slide's labels.

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

    Notes
    -----
    `row` are the controls.
    """

    def __init__(
        self,
        viewer: "Viewer",
        workspace: Workspace,
        queue: PredictionQueue,
        get_task: Callable[[], Task],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._workspace, self._queue, self._get_task = viewer, workspace, queue, get_task
        self.layers = SlideLabels(viewer)
        self._slide: Path | None = None
        self._place: LayerPlace | None = None  # where the slide is shown; `None` while a case is open
        self._folder: Path | None = None
        self._plan: SlidePlan | None = None
        self._worker: Worker | None = None
        self._work = SingleWork(self)
        self._density_work = SingleWork(self)
        self._drawn_at = 0.0
        self._is_complete = False
        self.row = row = WholeSlideRow()
        row.pressed.connect(self._on_pressed)
        row.dropped.connect(self._forget_plan)
        row.density_toggled.connect(self._show_density)
        row.export_requested.connect(self._export)
        self.exporter = SlideExport(workspace, row)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self._on_removed)
        self._show_state()

    def add_to(self, strip: SlideStrip) -> None:
        """Show the row in the strip of the slide; it closes with it."""
        strip.add_widget(self.row)
        strip.close_requested.connect(lambda: self.set_slide(None))
        strip.closing.connect(self.close_down)

    @property
    def is_running(self) -> bool:
        """Whether chunks are being predicted."""
        return self._worker is not None

    def set_slide(self, slide: Path | None, place: LayerPlace | None = None) -> None:
        """Show what is known of a slide, or nothing. A prediction of another slide stops.

        Parameters
        ----------
        slide
            The slide that is open in the window.
        place
            Where its layer lies; `None` if it is not shown.
        """
        if slide != self._slide:
            if self.is_running:
                show_notice("The prediction of the other slide stopped. Open that slide and press Continue to go on.")
            self.stop()
            self._slide, self._folder, self._plan, self._is_complete = slide, None, None, False
            self.row.tell("")
        self._work.stop()
        self.layers.remove()
        self._place = place
        self._show_state()
        if slide is not None and place is not None:
            self.look_again()

    def look_again(self) -> None:
        """Show the labels that are there, with the fields that were corrected since."""
        card = self._find_card()
        if self._slide is None or card is None:
            return
        slide, folder = self._slide, self._workspace.project.folder
        rows, _ = list_corrected_fields(self._workspace, slide, card.task)
        self._work.run(find_labels(self._workspace, slide, folder, card, rows), self._on_looked, lambda: None)

    def follow_task(self) -> None:
        """Show the prediction by the model of the task that is shown now; one that is under way goes on first."""
        if not self.is_running:
            self._folder, self._plan, self._is_complete = None, None, False
            self.row.tell("")
            self.layers.remove()
            self._show_state()
            self.look_again()

    def stop(self) -> None:
        """Stop predicting; what is done stays."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.stop()
            if self._queue.running_request is None:
                self._workspace.engine.cancel_gracefully()
            self._show_state()

    def close_down(self) -> None:
        """Stop all work, before the window or the project closes."""
        self._viewer.layers.events.inserted.disconnect(self._on_inserted)
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        worker = self._worker
        self.stop()
        self._work.stop()
        self._density_work.stop()
        if worker is not None:
            worker.wait(timeout_s=0.5)

    def _on_inserted(self, event: Any) -> None:  # noqa: ANN401 - an event of napari
        shown = event.value.metadata.get(layers.METADATA_KEY, {})
        if slide := shown.get(SLIDE_KEY):
            scale = (float(event.value.scale[0]), float(event.value.scale[1]))
            self.set_slide(slide, LayerPlace(scale, str(event.value.units[0])))

    def _on_removed(self, event: Any) -> None:  # noqa: ANN401 - an event of napari
        if self._slide is not None and event.value.metadata.get(layers.METADATA_KEY, {}).get(SLIDE_KEY) == self._slide:
            self.set_slide(self._slide, None)

    def _find_card(self) -> ModelCard | None:
        return self._workspace.registry.find_live_card(self._get_task().name)

    def _on_pressed(self) -> None:
        if self.is_running:
            self.stop()
            return
        card = self._find_card()
        if card is not None and self._folder is not None and self._folder.name != card.id:
            show_notice(f"{card.id} is live now. Press again to predict the slide with it.")
            self.follow_task()
            return
        if self._is_complete:
            show_notice("All tissue of the slide is predicted.")
            return
        with show_errors():
            if self._slide is None or card is None:
                raise MedSegError("no model is live for this task. Choose another task, or train a model first.")
            refuse_unsuitable(card)
            folder = self._folder
            if folder is not None and (self._plan is not None or find_manifest(folder) is not None):
                self._start(self._slide, folder, card)
            else:
                self.row.tell("looking for tissue ...")
                um = find_resolution(self._workspace, card)
                work = plan_slide(self._slide, self._workspace.project.folder, card, um)
                self._work.run(work, self._on_planned, self._forget_plan)

    def _on_planned(self, planned: tuple[SlidePlan, Path]) -> None:
        self._plan, self._folder = planned
        free = shutil.disk_usage(self._workspace.project.folder).free
        self.row.tell(f"{self._plan.text} ({free / 1e9:,.0f} GB free)")
        show_notice(f"{self.row.text.text()}. Press Start.")
        for remark in self._plan.remarks:
            show_notice(remark)
        self._show_state()

    def _forget_plan(self) -> None:
        self._plan = None
        self.row.tell("")
        self._show_state()

    def _start(self, slide: Path, folder: Path, card: ModelCard) -> None:
        version = self._workspace.registry.get_folder(card.id)
        predict = partial(self._workspace.engine.predict, version_folder=version)
        queue = self._queue
        plan, self._plan = self._plan, None
        work = predict_slide(slide, folder, plan, card, predict, lambda: queue.running_request is not None)
        worker = self._worker = Worker(work, self)
        worker.yielded.connect(self._on_progress)
        worker.failed.connect(show_problem)
        worker.ended.connect(lambda: self._on_ended(worker))
        worker.start()
        self._show_state()

    def _on_progress(self, progress: SlideProgress) -> None:
        self.row.tell(describe_progress(progress))
        if progress.notice:
            show_notice(progress.notice)
        if progress.place is not None and self._place is not None and not self.layers.is_shown:
            self.look_again()  # the first labels
        if progress.place is not None:
            self.layers.forget(progress.place)
            if progress.done == progress.total or time.monotonic() - self._drawn_at > DRAW_AGAIN_S:
                self._drawn_at = time.monotonic()
                self.layers.draw_what_changed()

    def _on_ended(self, worker: Worker) -> None:
        if worker is self._worker:
            self._worker = None
            self._show_state()
            self.look_again()  # at what is there for the task that is shown now
            self._show_density(self.row.density.isChecked())

    def _on_looked(self, found: FoundLabels) -> None:
        self._folder, progress = found.folder, found.progress
        self._is_complete = progress is not None and progress.done == progress.total
        if progress is not None and not self.is_running:
            self.row.tell(describe_progress(progress))
        if found.labels is not None and found.manifest is not None and self._place is not None:
            manifest = found.manifest
            self.layers.show(found.labels, manifest.grid, manifest.definition, self._place, found.fields)
        self._show_state()

    def _show_density(self, shown: bool) -> None:
        if not shown:
            self.layers.remove_density()
        elif self._folder is not None and find_manifest(self._folder) is not None:
            self._density_work.run(measure_density(self._folder), self._on_measured, lambda: None)

    def _on_measured(self, density: DensityMap) -> None:
        if self.row.density.isChecked() and self._place is not None:
            self.layers.show_density(density, self._place)
            show_notice(density.text)

    def _export(self) -> None:
        if self._folder is not None and self._slide is not None:
            with show_errors():
                self.exporter.ask_and_write(self._folder, self._slide)

    def _show_state(self) -> None:
        is_begun = self._folder is not None and (self._folder / MANIFEST_FILE).is_file()
        title = "Predict slide"
        if self.is_running:
            title = "Stop"
        elif self._plan is not None:
            title = "Start"
        elif is_begun:
            title = "Predicted" if self._is_complete else "Continue"
        self.row.show_state(
            title,
            has_slide=self._slide is not None,
            has_plan=self._plan is not None and not self.is_running,
            is_begun=is_begun,
            is_complete=is_begun and self._is_complete and not self.is_running,
        )
