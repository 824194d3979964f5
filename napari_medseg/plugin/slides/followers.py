"""Fields that follow a slide which was moved, when it is opened at its new place."""

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtCore import QObject, Signal

from napari_medseg.plugin.widgets.notifications import show_errors, show_notice, show_problem
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.workflow.slides.moved_slides import (
    MovedField,
    compare_moved_fields,
    find_moved_fields,
    move_fields,
)
from napari_medseg.workflow.workspace import Workspace


class Followers(QObject):
    """Compares the pixels of fields in a thread; `moved` is emitted when fields are at their new place."""

    moved = Signal()

    def __init__(self, workspace: Workspace, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace

    def look_for(self, slide: Path) -> None:
        """Let the fields of a missing slide of this name follow, if they show the same pixels here."""
        with show_errors():
            if found := find_moved_fields(self._workspace, slide):
                worker = Worker(compare_moved_fields(slide, found), self)
                worker.yielded.connect(self._move)
                worker.failed.connect(show_problem)
                worker.start()

    def _move(self, found: Sequence[MovedField]) -> None:
        with show_errors():
            move_fields(self._workspace, found)
            noun = "field follows" if len(found) == 1 else "fields follow"
            show_notice(f"{len(found):,} {noun} {found[0].field.slide.name} to its new folder.")
        self.moved.emit()
