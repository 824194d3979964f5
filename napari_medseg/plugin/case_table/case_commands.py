"""What is done with the cases that are selected in the list, and how the dock tells it."""

from collections.abc import Callable, Sequence
from functools import partial

from qtpy.QtCore import QObject, QPoint, QTimer, Signal
from qtpy.QtWidgets import QMenu, QWidget

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.grouping.keyed_groups import choose_group_noun, get_group_label, get_group_noun
from napari_medseg.core.records import Case
from napari_medseg.plugin.case_table.list_panel import ListPanel
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.task_assigner import TaskAssigner
from napari_medseg.plugin.controllers.worklist import Worklist
from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.inline_prompt import PromptAnswer
from napari_medseg.plugin.widgets.notifications import show_errors
from napari_medseg.workflow.case_list import many_cases
from napari_medseg.workflow.case_list.many_cases import Change, Outcome, count_cases
from napari_medseg.workflow.cases import CaseRow
from napari_medseg.workflow.workspace import Workspace

Ask = Callable[[str, Sequence[PromptAnswer], Sequence[str]], None]
OK: PromptAnswer = ("OK", lambda: None)
WAIT_MS = 50


class CaseCommands(QObject):
    """The menu of the list, and its commands for one or many cases.

    Parameters
    ----------
    workspace, worklist, case_controller, task_assigner
        The project, the list, the open case, and what uses images for another task.
    ask
        Shows a text with answers while the list of their task is shown, as `InlinePrompt.ask_lasting` does.

    Notes
    -----
    `export_requested` carries cases; `groups_requested` a case whose group should be changed, or `None` for all;
    `group_filter_requested` a group; `share_requested` asks for the form of the hold-out; `notes_changed` tells that
    flags were set or taken away.
    """

    export_requested = Signal(list)
    groups_requested = Signal(object)
    group_filter_requested = Signal(str)
    share_requested = Signal()
    notes_changed = Signal()

    def __init__(
        self,
        workspace: Workspace,
        worklist: Worklist,
        case_controller: CaseController,
        task_assigner: TaskAssigner,
        ask: Ask,
    ) -> None:
        super().__init__(worklist)
        self._workspace = workspace
        self._worklist = worklist
        self._case_controller = case_controller
        self._task_assigner = task_assigner
        self._ask = ask
        self._is_closed = False

    def close(self) -> None:
        """Change no further case; those that were changed stay so."""
        self._is_closed = True

    def connect_list(self, panel: ListPanel) -> None:
        """Do what is asked for in a list."""
        panel.menu_requested.connect(lambda chosen, place: self.show_menu(chosen, place, panel))
        panel.remove_requested.connect(self.remove)
        self.group_filter_requested.connect(panel.filter_by_group)

    def show_menu(self, chosen: Sequence[Case], place: QPoint, parent: QWidget) -> None:
        """Show the commands for some cases at a place of the screen."""
        menu = QMenu(parent)
        self.fill_menu(menu, chosen)
        menu.exec(place)
        menu.deleteLater()

    def fill_menu(self, menu: QMenu, chosen: Sequence[Case]) -> None:
        """Add the commands for some cases to a menu."""
        names = theme.escape_mnemonic(count_cases(chosen))
        first = chosen[0]
        if len(chosen) == 1:
            menu.addAction(f"Open {names}", partial(self._worklist.open, first))
        menu.addAction(f"Predict {names} again", partial(self.predict_again, chosen))
        menu.addAction(f"Reject {names}", partial(self.reject, chosen))
        rows = [self._worklist.case_list.get_row(case.id) for case in chosen]
        accepted = [row.case for row in rows if row is not None and row.state == "accepted"]
        export = menu.addAction(f"Export {count_cases(accepted) if accepted else 'accepted labels'}…")
        export.triggered.connect(lambda: self.export_requested.emit(accepted))
        export.setEnabled(bool(accepted))
        tasks = menu.addMenu("Use for another task")
        for title, use in self._task_assigner.list_tasks(chosen):
            tasks.addAction(theme.escape_mnemonic(title), use)
        tasks.setEnabled(not tasks.isEmpty())
        self._fill_note_part(menu, [row for row in rows if row is not None])
        menu.addAction("Remove from the list\tDel", partial(self.remove, chosen))
        menu.addSeparator()
        self._fill_group_part(menu, chosen)

    def predict_again(self, chosen: Sequence[Case]) -> None:
        """Predict cases in the background, before those that come next."""
        case_list = self._worklist.case_list
        rows = [row for case in chosen if (row := case_list.get_row(case.id)) is not None]
        outcome = many_cases.select_to_predict_again(rows, self._get_open_id())
        if not self._worklist.chosen_model:
            outcome = Outcome(reasons=["this task has no live model: train the first one below"])
        self._worklist.predict_again(outcome.done)
        self._tell(chosen, outcome.describe("will be predicted next"))

    def reject(self, chosen: Sequence[Case]) -> None:
        """Reject cases."""
        reject = many_cases.make_rejection(self._workspace, self._get_open_id)
        undo = "To take one back, open it and accept it, or predict it again."

        def tell(outcome: Outcome) -> None:
            self._tell(chosen, f"{outcome.describe('rejected')} {undo * bool(outcome.done)}".strip())

        self._run(chosen, reject, "Rejecting", tell)

    def remove(self, chosen: Sequence[Case]) -> None:
        """Remove cases from the list. Those with accepted labels stay."""
        if self._get_open_id() in [case.id for case in chosen] and len(chosen) == 1:
            self._task_assigner.remove_from_list(chosen)
            return

        def tell(outcome: Outcome) -> None:
            answers: list[PromptAnswer] = [OK]
            if outcome.done:  # one way back, here and with U, for one case and for many
                text = f"Undo: remove {count_cases(outcome.done)} from the list"
                self._task_assigner.remember((text, partial(self._put_back, outcome.done)))
                answers = [("Undo", self._task_assigner.undo), OK]
            self._tell(chosen, f"{outcome.describe('removed from the list')} Strokes, if any, are kept.", answers)

        self._run(chosen, many_cases.make_removal(self._workspace, self._get_open_id), "Removing", tell)

    def set_held_out(self, groups: Sequence[str], held_out: bool) -> None:
        """Hold patients, slides or videos out, or give them back to training, with all their cases."""
        with show_errors():
            changed, reasons = many_cases.set_groups_held_out(self._workspace, groups, held_out)
            for group in changed:
                self._worklist.case_list.update_group(group)
            self._worklist.refresh()
            text = many_cases.describe_sides(changed, reasons, held_out)
            undo = partial(self.set_held_out, changed, not held_out)
            self._ask(text, [("Undo", undo), OK] if changed else [OK], [])

    def set_flagged(self, chosen: Sequence[Case], is_flagged: bool) -> None:
        """Flag cases for a colleague, or take the flags away."""

        def tell(outcome: Outcome) -> None:
            self.notes_changed.emit()
            self._tell(chosen, outcome.describe("flagged: ask a colleague" if is_flagged else "not flagged any more"))

        self._run(chosen, many_cases.make_flagging(self._workspace, is_flagged), "Changing", tell)

    def set_second_reading(self, chosen: Sequence[Case], is_chosen: bool) -> None:
        """Give cases to a second reader, or to none."""
        what = "for a second person, once the first one has accepted" if is_chosen else "not for a second person"

        def tell(outcome: Outcome) -> None:
            self._tell(chosen, outcome.describe(what))

        self._run(chosen, many_cases.make_second_reading(self._workspace, is_chosen), "Changing", tell)

    def _fill_note_part(self, menu: QMenu, rows: Sequence[CaseRow]) -> None:
        for wanted, flag, second in (
            (True, "Flag: ask a colleague", "A second person reads {}"),
            (False, "Take the flag away", "No second person reads {}"),
        ):
            if cases := [row.case for row in rows if row.note.is_flagged != wanted]:
                menu.addAction(flag, partial(self.set_flagged, cases, wanted))
            if cases := [row.case for row in rows if row.is_read_twice != wanted]:
                names = theme.escape_mnemonic(count_cases(cases))
                menu.addAction(second.format(names), partial(self.set_second_reading, cases, wanted))

    def _fill_group_part(self, menu: QMenu, chosen: Sequence[Case]) -> None:
        group = chosen[0].group
        label = theme.escape_mnemonic(get_group_label(group))
        for held_out, one, many in (
            (True, "Hold out {} for evaluation", "Hold out {} {}s for evaluation"),
            (False, "Use {} for training", "Give {} {}s back to training"),
        ):
            groups = list(dict.fromkeys(case.group for case in chosen if case.held_out != held_out))
            if groups:
                noun = get_group_noun(groups[0])
                single = one.format(get_group_label(groups[0]))
                text = single if len(groups) == 1 else many.format(f"{len(groups):,}", noun)
                menu.addAction(theme.escape_mnemonic(text), partial(self.set_held_out, groups, held_out))
        menu.addAction(f"Show only {label}", partial(self.group_filter_requested.emit, group))
        if len(chosen) == 1:
            noun = get_group_noun(group).capitalize()
            text = theme.escape_mnemonic(f"{noun} of {chosen[0].name}…")
            menu.addAction(text, partial(self.groups_requested.emit, chosen[0]))
        nouns = f"{choose_group_noun(self._worklist.task).capitalize()}s"
        menu.addAction(f"{nouns} of all images…", partial(self.groups_requested.emit, None))
        menu.addAction("Share of the hold-out…", self.share_requested.emit)

    def _tell(self, chosen: Sequence[Case], text: str, answers: Sequence[PromptAnswer] = (OK,)) -> None:
        self._ask(text, answers, sorted({case.task for case in chosen}))

    def _put_back(self, removed: Sequence[Case]) -> None:
        self._run(removed, many_cases.make_return(self._workspace), "Putting back", lambda _outcome: None)

    def _run(self, chosen: Sequence[Case], change: Change, doing: str, then: Callable[[Outcome], None]) -> None:
        """Change cases step by step, so that the window goes on; then tell the outcome."""
        outcome = Outcome()
        steps = many_cases.change_cases(self._workspace, chosen, change, outcome)

        def take_step() -> None:
            if self._is_closed:
                return
            desk = self._case_controller
            if desk.work.is_opening or desk.saver.is_running:  # which case is open, or accepted, is known only then
                QTimer.singleShot(WAIT_MS, take_step)
                return
            try:
                changed = next(steps, None)
            except MedSegError as error:  # such as a full disk: what was changed before is kept
                outcome.reasons.append(str(error))
                changed = None
            if changed is None:
                self._worklist.refresh()
                then(outcome)
                return
            self._worklist.update_cases(changed)
            if len(chosen) > many_cases.CASES_PER_STEP:
                self._tell(chosen, f"{doing} {len(outcome.done):,} of {len(chosen):,} cases …", [])
            QTimer.singleShot(0, take_step)

        take_step()

    def _get_open_id(self) -> int | None:
        current = self._case_controller.current
        return None if current is None else current.case.id
