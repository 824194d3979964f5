"""The list of tasks: select one, create one, edit its labels, or use images for another one.

It reloads changes made by other processes.
"""

from collections.abc import Callable, Sequence

from qtpy.QtCore import QEvent, QPoint, Qt, Signal
from qtpy.QtWidgets import QMenu

from napari_medseg.core.tasks.bundled_tasks import TASKS, Task
from napari_medseg.plugin.controllers.worklist import Worklist
from napari_medseg.plugin.forms.task_form import LabelsDialog
from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.notifications import show_errors
from napari_medseg.workflow.tasks import custom_tasks, relabel_task
from napari_medseg.workflow.workspace import Workspace

NEW_TASK, EDIT_LABELS, USE_IMAGES = " new", " edit", " use"  # a task name cannot start with a space
USE_IMAGES_TOOLTIP = "Put the open image, or all images of the last drop, on the list of another task, too"
NOT_EDITABLE_TOOLTIP = "The labels of a built-in task cannot be changed. Create a new task for other labels"


class TaskSelector(theme.CompactComboBox):
    """List of all tasks, with entries to create a task and to edit labels.

    Notes
    -----
    `chosen` carries the name of the selected task. `commands_requested` is emitted by the entry for the use of images;
    `show_commands` answers it. `new_task_requested` asks for the form of a new task. `versions_changed` is emitted when
    another process added or removed models. Changes by other processes are detected by file times, when the list opens
    or the window is activated.
    """

    chosen = Signal(str)
    commands_requested = Signal()
    new_task_requested = Signal()
    versions_changed = Signal()

    def __init__(self, workspace: Workspace, worklist: Worklist) -> None:
        super().__init__("Task: whose cases are listed. To use an image for another task, press U")
        self._workspace = workspace
        self._worklist = worklist
        self._stamp = custom_tasks.read_task_file_times(workspace)
        self.list_tasks()
        self.activated.connect(self._on_activated)

    def list_tasks(self) -> None:
        """Fill the list and select the current task."""
        self.clear()
        for task in self._workspace.tasks:
            self.addItem(task.title, task.name)
        self.insertSeparator(self.count())
        self.addItem("Use images for another task… (U)", USE_IMAGES)
        self.setItemData(self.count() - 1, USE_IMAGES_TOOLTIP, Qt.ItemDataRole.ToolTipRole)
        self.addItem("New task…", NEW_TASK)
        self.setItemData(self.count() - 1, "Create a task with custom labels", Qt.ItemDataRole.ToolTipRole)
        self.addItem("Edit labels…", EDIT_LABELS)
        self.show_current_task()

    def show_current_task(self) -> None:
        """Select the current task; enable label editing only for a custom task."""
        task, index = self._worklist.task, self.findData(EDIT_LABELS)
        self.setCurrentIndex(self.findData(task.name))
        is_own = task.name not in TASKS
        self.model().item(index).setEnabled(is_own)
        tooltip = f"Add labels to {task.title}, or change their colours" if is_own else NOT_EDITABLE_TOOLTIP
        self.setItemData(index, tooltip, Qt.ItemDataRole.ToolTipRole)

    def show_commands(self, sections: Sequence[tuple[str, Sequence[tuple[str, Callable[[], None]]]]]) -> None:
        """Open a menu below with commands, in sections with a title."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for title, commands in sections:
            heading = menu.addAction(theme.escape_mnemonic(title)) if title else menu.addSeparator()
            heading.setEnabled(False)
            for text, call in commands:
                menu.addAction(theme.escape_mnemonic(text), call)
        if not sections:
            menu.addAction("Open an image first: drop a file").setEnabled(False)
        menu.popup(self.mapToGlobal(QPoint(0, self.height())))

    def make_task(self, task: Task) -> None:
        """Create a custom task and select it; raises `MedSegError` if the name already exists."""
        custom_tasks.add_task(self._workspace, task)
        self._stamp = custom_tasks.read_task_file_times(self._workspace)
        self.list_tasks()
        self._worklist.choose_task(task.name)

    def change_labels(self, task: Task) -> None:
        """Replace the labels of a task, also in the open case; raises as `relabel_task.change_labels` does."""
        relabel_task.change_labels(self._workspace, task)
        self._show_changed_tasks()

    def reload_if_changed(self) -> None:
        """Reload tasks, labels and versions if another process changed them."""
        with show_errors():
            stamp = custom_tasks.read_task_file_times(self._workspace)
            if stamp == self._stamp:
                return
            self._stamp, before = stamp, self._workspace.tasks
            custom_tasks.reload_tasks(self._workspace)
            if self._workspace.tasks != before:
                self._show_changed_tasks()
            else:
                self.versions_changed.emit()

    def showPopup(self) -> None:
        """Reload changes, then open the list."""
        self.reload_if_changed()
        super().showPopup()

    def event(self, event: QEvent) -> bool:
        """Reload changes when the window is activated, for example after work in a terminal."""
        if event.type() == QEvent.Type.WindowActivate:
            self.reload_if_changed()
        return bool(super().event(event))

    def _show_changed_tasks(self) -> None:
        self._stamp = custom_tasks.read_task_file_times(self._workspace)
        self._worklist.reload_task()
        self.list_tasks()

    def _on_activated(self, _index: int) -> None:
        wanted = self.currentData()
        self.show_current_task()
        if wanted == USE_IMAGES:
            self.commands_requested.emit()
        elif wanted == NEW_TASK:
            self.new_task_requested.emit()
        elif wanted == EDIT_LABELS:
            task = self._worklist.task
            names_are_fixed = relabel_task.is_task_in_use(self._workspace, task.name)
            LabelsDialog(task, self.change_labels, names_are_fixed, self).show()
        elif wanted:
            self.chosen.emit(wanted)
