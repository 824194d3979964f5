"""Goes on to the next case: at once when the labels of the accepted one take long to save, else when they are saved."""

from math import prod
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_medseg.core.records import Case
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.drafts.closer import MAX_VOXELS_AT_ONCE
from napari_medseg.plugin.widgets.notifications import show_errors, show_notice

if TYPE_CHECKING:
    from napari_medseg.plugin.controllers.worklist import Worklist

MAX_SAVING = 2
"""Accepted cases whose labels are still being saved while the next one opens; each takes the memory of its image."""


class AfterAccept(QObject):
    """Opens the next case of a list after each decision, and keeps cases that are being saved out of the way.

    Parameters
    ----------
    worklist, case_controller
        The list, and the open case, whose decisions are watched.
    """

    def __init__(self, worklist: "Worklist", case_controller: CaseController) -> None:
        super().__init__(worklist)
        self._worklist = worklist
        self._desk = case_controller
        case_controller.saving_began.connect(self._on_saving_began)
        case_controller.saver.changed.connect(self._leave_out_saved)
        case_controller.save_failed.connect(worklist.update_case)
        case_controller.decided.connect(self._on_decided)

    def _on_saving_began(self, case: Case) -> None:
        if prod(case.spatial_shape) <= MAX_VOXELS_AT_ONCE:
            return  # checked and saved before a person looks up; a refusal finds its case still open
        if self._desk.saver.n_cases > MAX_SAVING:
            show_notice(f"{case.name} is accepted. The next case opens when the labels of those before it are saved.")
            return
        with show_errors():
            self._worklist.open_next(case)

    def _on_decided(self, case: Case) -> None:
        with show_errors():
            self._worklist.update_case(case)
            current, work = self._desk.current, self._desk.work
            is_left = current is not None and current.case.id != case.id and not work.is_saving
            if self._desk.opening is None and not is_left:  # else the user is at the next case, or has chosen it
                self._worklist.open_next(case if current is None else current.case)

    def _leave_out_saved(self) -> None:
        self._worklist.case_list.being_saved = self._desk.saver.case_ids
