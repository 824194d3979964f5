"""Commands that change the lists of cases: use images for another task, remove cases from a list, and undo that."""

from collections.abc import Callable, Generator, Sequence
from functools import partial

from qtpy.QtCore import QTimer

from napari_medseg.core.records import Case
from napari_medseg.core.tasks.detection import check_image_fits_task
from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.worklist import Worklist
from napari_medseg.plugin.widgets.inline_prompt import PromptAnswer
from napari_medseg.plugin.widgets.notifications import show_errors, show_notice
from napari_medseg.workflow.tasks import assignment, drop_sorting
from napari_medseg.workflow.tasks.assignment import TaskAssignment, list_names
from napari_medseg.workflow.workspace import Workspace

Ask = Callable[..., None]
"""Gets a text, answers, and the names of the tasks with whose lists the question is shown."""
Command = tuple[str, Callable[[], None]]


class TaskAssigner:
    """Changes the lists, opens the case that is then in hand, and tells the user, who can undo the change.

    Parameters
    ----------
    workspace, worklist, case_controller
        The project, the list that is shown, and the controller of the open case.
    ask
        Shows a text with answers while the list of a task is shown, as `InlinePrompt.ask_lasting` does.
    """

    def __init__(self, workspace: Workspace, worklist: Worklist, case_controller: CaseController, ask: Ask) -> None:
        self._workspace = workspace
        self._worklist = worklist
        self._case_controller = case_controller
        self._ask = ask
        self._undo: list[Command] = []

    def list_commands(self, case: Case | None = None) -> list[tuple[str, list[Command]]]:
        """Return the commands for a case, or for the open one, in sections with a title."""
        if case is None and self._case_controller.current is not None:
            case = self._case_controller.current.case
        drop = self._worklist.drops.cases
        sections: list[tuple[str, list[Command]]] = []
        if case is not None:
            sections.append((f"Use {case.name} for", self.list_tasks([case])))
        if len(drop) > 1:
            sections.append((f"Use the {len(drop)} images of the last drop for", self.list_tasks(drop)))
        changes: list[Command] = [(self._undo[-1][0], self.undo)] if self._undo else []
        if case is not None:
            title = self._workspace.tasks.get_task(case.task).title
            changes.append((f"Remove {case.name} from the list of {title}", partial(self.remove_from_list, [case])))
        return [(title, commands) for title, commands in [*sections, ("", changes)] if commands]

    def use_open_image(self, task: str) -> None:
        """Use the open image for another task, too."""
        if (current := self._case_controller.current) is not None:
            self.use_cases([current.case], task)

    def use_last_drop(self, task: str) -> None:
        """Use the images that were dropped last, together, for another task, too."""
        self.use_cases(self._worklist.drops.cases, task)

    def use_cases(self, chosen: Sequence[Case], task: str) -> None:
        """Use the images of cases for another task, too, and show its list; many of them step by step."""
        with show_errors():
            current = self._case_controller.current
            if current is not None and current.case.id in [case.id for case in chosen]:
                check_image_fits_task(current.image, self._workspace.tasks.get_task(task))
            self._take_step(chosen, assignment.use_in_steps(self._workspace, chosen, task))

    def _take_step(self, chosen: Sequence[Case], steps: Generator[int, None, TaskAssignment]) -> None:
        """Use some more images for a task; the window draws between the steps, of which a few images have one."""
        with show_errors():
            try:
                done = next(steps)
            except StopIteration as ended:
                self._show_assigned(chosen, ended.value)
            else:
                self._ask(f"Listing {done:,} of {len(chosen):,} images …", [], [])
                QTimer.singleShot(0, partial(self._take_step, chosen, steps))

    def _show_assigned(self, chosen: Sequence[Case], assigned: TaskAssignment) -> None:
        current, task = self._case_controller.current, assigned.task
        is_open = current is not None and current.case.id in [case.id for case in chosen]
        with show_errors():
            following = assigned.cases[0]
            if current is not None and is_open:
                is_same = (each for each in assigned.cases if each.content_hash == current.case.content_hash)
                following = next(is_same, following)
            before = current.case if current is not None else chosen[0]
            self._worklist.choose_task(task)
            self._worklist.reload_cases()
            self._worklist.open(following, current.image if current is not None and is_open else None)
            self._report(chosen, assigned, before)

    def remove_from_list(self, chosen: Sequence[Case]) -> None:
        """Remove cases from the list of their task; if one of them is open, the next case of the list opens."""
        current = self._case_controller.current
        is_open = current is not None and current.case.id in [case.id for case in chosen]
        if is_open and self._case_controller.work.refuse_while_busy():
            return
        if saved := [case for case in chosen if self._case_controller.saver.is_saving(case)]:
            show_notice(
                f"The labels of {list_names(saved)} are being saved. Nothing was changed; try again in a moment."
            )
            return
        with show_errors():
            removed = assignment.remove_from_list(self._workspace, chosen)
            stay = assignment.explain_staying(self._workspace, [case for case in chosen if case not in removed])
            names, title = list_names(removed), self._get_title(chosen[0].task)
            before = None if current is None else current.case
            self._undo.append(
                (f"Undo: remove {names} from the list of {title}", partial(self._return, removed, before))
            )
            self._worklist.reload_cases()
            if current is not None and current.case in removed:
                self._case_controller.close_case()
                if self._worklist.case_list.counts.n_undecided:
                    self._worklist.open_next(current.case)
            self._ask(
                f"{names}: no longer on the list of {title}. Strokes, if any, are kept. {stay}".rstrip(),
                [("Undo", self.undo), ("OK", lambda: None)],
                [chosen[0].task],
            )

    def remove_open_case(self) -> None:
        """Remove the open case from the list of its task."""
        if (current := self._case_controller.current) is not None:
            self.remove_from_list([current.case])

    def remember(self, command: Command) -> None:
        """Offer with the U key, too, what takes back a change of the lists that was made elsewhere."""
        self._undo.append(command)

    def undo(self) -> None:
        """Undo the last change of the lists; a second call undoes the one before. It is refused while labels are saved.

        Else it could remove a case whose labels are accepted in the next moment, and no export would hold them.
        """
        if self._undo and self._case_controller.saver.is_running:
            show_notice(f"{self._case_controller.saver.busy_reason}. Nothing was changed; try again in a moment.")
        elif self._undo:
            _, call = self._undo.pop()
            with show_errors():
                call()

    def list_tasks(self, chosen: Sequence[Case]) -> list[Command]:
        """Return the tasks that can use the images of some cases, with the command for each."""
        return [
            (task.title, partial(self.use_cases, chosen, task.name))
            for task in self._workspace.tasks
            if any(case.task != task.name and assignment.case_fits_task(case, task) for case in chosen)
        ]

    def _report(self, chosen: Sequence[Case], assigned: TaskAssignment, before: Case) -> None:
        title = self._get_title(assigned.task)
        refused = f" {list_names(assigned.refused)} cannot be used for it." * bool(assigned.refused)
        if not assigned.added:
            text = f"{list_names(assigned.cases)}: on the list of {title} already.{refused}"
            if len(chosen) > assignment.CASES_PER_STEP:  # it takes the place of what was said between the steps
                self._ask(text, [("OK", lambda: None)], [assigned.task])
            else:
                show_notice(text)
            return
        names = list_names(assigned.added)
        self._undo.append((f"Undo: use {names} for {title}", partial(self._take_back, assigned, before)))
        text = f"{names}: now on the list of {title}.{refused}"
        answers: list[PromptAnswer] = [("Keep", lambda: None), ("Undo", self.undo)]
        former = drop_sorting.list_redirected(self._workspace, chosen, assigned)
        tasks = {case.task for case in former}
        if len(tasks) == 1:
            where = self._get_title(tasks.pop())
            text += f" Still on the list of {where}, too."
            answers.insert(1, ("Remove there", partial(self.remove_from_list, former)))
        self._ask(text, answers, [assigned.task])

    def _take_back(self, assigned: TaskAssignment, before: Case) -> None:
        assignment.remove_from_list(self._workspace, assigned.added)
        self._show_again(before)

    def _return(self, removed: Sequence[Case], before: Case | None) -> None:
        assignment.return_to_list(self._workspace, removed)
        self._show_again(before or removed[0])

    def _show_again(self, case: Case) -> None:
        """Show the list of a case and open it, with its image if it is in memory."""
        current = self._case_controller.current
        is_same = current is not None and current.case.content_hash == case.content_hash
        self._worklist.choose_task(case.task)
        self._worklist.reload_cases()
        self._worklist.open(case, current.image if current is not None and is_same else None)

    def _get_title(self, task: str) -> str:
        return self._workspace.tasks.get_task(task).title
