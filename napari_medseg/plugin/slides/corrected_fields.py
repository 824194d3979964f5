"""The labels of accepted fields, shown at their places on the slide."""

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Labels, Layer
from numpy.typing import NDArray
from qtpy.QtCore import QObject

from napari_medseg.core.project.case_files import read_case_labels
from napari_medseg.core.records import Case, Correction
from napari_medseg.core.slides.fields import Field
from napari_medseg.core.slides.placed_labels import PlacedLabels, PlacedLevel
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.plugin import layers
from napari_medseg.plugin.label_colours import make_colormap
from napari_medseg.plugin.slides.slide_layer import SlideLayer
from napari_medseg.plugin.widgets.notifications import show_problem
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.workflow.slides.slide_fields import SlideField

if TYPE_CHECKING:
    from napari import Viewer

OPACITY = 0.5
WHOLE_SLIDE_KEY = "whole slide"
"""Marks layers of predictions of whole slides, see `plugin.whole_slide`."""

_Job = tuple[Field, Case, Correction]


class CorrectedFields(QObject):
    """A read-only labels layer over the slide; labels are read in a thread, and only those that are new.

    Parameters
    ----------
    viewer, slide
        Viewer and slide.
    folder
        Folder of the project.
    """

    def __init__(self, viewer: "Viewer", slide: SlideLayer, folder: Path) -> None:
        super().__init__(slide)
        self._viewer = viewer
        self._slide = slide
        self._folder = folder
        self._layer: Labels | None = None
        self._read: dict[int, int] = {}
        self._worker: Worker | None = None
        self._task: Task | None = None
        self.labels = PlacedLabels(slide.blocks.file_levels, slide.blocks.levels)
        viewer.layers.events.inserted.connect(self._on_inserted)

    def close_down(self) -> None:
        """Remove the layer and disconnect from the viewer."""
        self._viewer.layers.events.inserted.disconnect(self._on_inserted)
        self.hide()

    def show(self, fields: Sequence[SlideField], task: Task) -> None:
        """Show the accepted ones among these fields in the colours of a task."""
        if task != self._task:
            self._change_task(task)
        accepted = {
            each.row.case.id: (each.field, each.row.case, each.row.correction)
            for each in fields
            if each.row.correction is not None and each.row.state == "accepted" and each.row.case.task == task.name
        }
        for case_id in [case_id for case_id in self._read if case_id not in accepted]:
            del self._read[case_id]
            self.labels.drop(case_id)
            self._draw(task)
        new = [job for case_id, job in accepted.items() if self._read.get(case_id) != job[2].id]
        if new and self._worker is None:
            self._start(new, task)
        elif self.labels and self._layer is None:
            self._draw(task)

    def hide(self) -> None:
        """Remove the layer; labels that were read are kept."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
        layers.remove(self._viewer, self._layer)
        self._layer = None

    def _change_task(self, task: Task) -> None:
        """Read no more labels of the task before, and show none in its colours."""
        self._task = task
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
        if self._layer is not None:
            self._layer.colormap = make_colormap(task)

    def _start(self, new: Sequence[_Job], task: Task) -> None:
        worker = self._worker = Worker(_read_labels(self._folder, new), self)

        def place(item: tuple[_Job, NDArray[Any]]) -> None:
            (field, case, correction), labels = item
            self.labels.put(case.id, field, labels)
            self._read[case.id] = correction.id

        def ended() -> None:
            if worker is self._worker:
                self._worker = None
                self._draw(task)

        worker.yielded.connect(place)
        worker.failed.connect(show_problem)
        worker.ended.connect(ended)
        worker.start()

    def _draw(self, task: Task) -> None:
        if not self._slide.is_shown:
            return
        if self._layer is not None and self._layer in self._viewer.layers:
            self._layer.refresh(extent=False)
        elif self.labels:
            active = self._viewer.layers.selection.active
            self._layer = self._viewer.add_labels(
                [PlacedLevel(self.labels, number) for number in range(len(self.labels.levels))],
                multiscale=True,
                cache=False,
                name=f"corrected fields of {self._slide.blocks.name}",
                opacity=OPACITY,
                colormap=make_colormap(task),
                scale=self._slide.scale,
                units=(self._slide.unit, self._slide.unit),
                axis_labels=("y", "x"),
                metadata={layers.METADATA_KEY: {"fields": True}},
            )
            self._layer.editable = False
            self._layer.visible = not any(map(_shows_whole_slide, self._viewer.layers))
            self._viewer.layers.selection.active = active

    def _on_inserted(self, event: Any) -> None:  # noqa: ANN401 - napari
        """Give way to the labels of a whole slide, which show corrected fields, too."""
        if self._layer is not None and _shows_whole_slide(event.value):
            self._layer.visible = False


def _shows_whole_slide(layer: Layer) -> bool:
    return isinstance(layer, Labels) and bool(layer.metadata.get(layers.METADATA_KEY, {}).get(WHOLE_SLIDE_KEY))


def _read_labels(folder: Path, jobs: Sequence[_Job]) -> Generator[tuple[_Job, NDArray[Any]]]:
    for job in jobs:
        yield job, read_case_labels(folder, job[1], job[2])
