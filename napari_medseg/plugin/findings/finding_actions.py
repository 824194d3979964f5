"""Shows the place of a finding, and mends it in the open case: as one stroke, which Accept makes a new correction.

A fix never changes accepted labels: it opens their case first, so that a person sees what is mended, and undo and the
journal hold it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_medseg.core.label_places.place import Place
from napari_medseg.core.records import Case
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.correction.editor import Editor, Request
from napari_medseg.plugin.guidance.navigation import show_place
from napari_medseg.plugin.panels.checks_list import FindingsList
from napari_medseg.workflow.findings.case_finding import CaseFinding
from napari_medseg.workflow.findings.fixes import make_fix

if TYPE_CHECKING:
    from napari import Viewer


class FindingActions(QObject):
    """What the buttons of the findings do.

    Parameters
    ----------
    findings
        The list with the buttons.
    viewer, case_controller, editor
        The window's viewer, the controller of the open case, and what changes its labels.
    open_case
        Opens a case.
    """

    def __init__(
        self,
        findings: FindingsList,
        viewer: "Viewer",
        case_controller: CaseController,
        editor: Editor,
        open_case: Callable[[Case], None],
    ) -> None:
        super().__init__()
        self._viewer = viewer
        self._case_controller = case_controller
        self._editor = editor
        self._open_case = open_case
        self._waiting: tuple[Case, Callable[[], None]] | None = None
        findings.place_chosen.connect(self.show)
        findings.fix_requested.connect(self.fix)
        case_controller.opened.connect(self._on_opened)
        case_controller.open_failed.connect(self._forget)

    def show(self, case: Case, place: Place | None) -> None:
        """Open a case, unless it is open, and bring a place into the middle of the view."""
        self._call_when_open(case, lambda: self._show_place(place))

    def fix(self, found: CaseFinding) -> None:
        """Mend a finding in its case, which is opened for it; the draft of another open case is kept."""
        if found.case is not None:
            first = found.finding.places[0] if found.finding.places else None
            self._call_when_open(found.case, lambda: self._fix_open_case(found, first))

    def _call_when_open(self, case: Case, call: Callable[[], None]) -> None:
        self._waiting = case, call
        current = self._case_controller.current
        if current is not None and current.case.id == case.id:
            self._on_opened()
        else:
            self._open_case(case)

    def _on_opened(self) -> None:
        current = self._case_controller.current
        if self._waiting is not None and current is not None and current.case.id == self._waiting[0].id:
            (_, call), self._waiting = self._waiting, None
            call()

    def _forget(self, _case: Case) -> None:
        self._waiting = None

    def _show_place(self, place: Place | None) -> None:
        current = self._case_controller.current
        if current is not None and place is not None:
            show_place(self._viewer, current.image_layer, place.centre)

    def _fix_open_case(self, found: CaseFinding, place: Place | None) -> None:
        current = self._case_controller.current
        if current is not None and current.edit_session is None:
            self._case_controller.restart_review()
        if (fix := make_fix(found.finding, self._editor.task)) is None:
            return
        self._show_place(place)
        self._editor.run(Request(fix[1], protects=False, in_volume=True))
