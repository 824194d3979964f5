"""The task form: name, kind of images, and a table of labels with colours.

It makes a new task. For an existing task it changes colours and adds labels.
"""

from collections.abc import Callable, Sequence
from functools import partial

from magicgui.widgets import CheckBox, ComboBox, Container, LineEdit
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QAbstractItemView,
    QColorDialog,
    QDialog,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.records import Case
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.core.tasks.custom_task import (
    IMAGE_KINDS,
    find_image_kind,
    get_default_colour,
    make_custom_task,
    replace_task_labels,
)
from napari_medseg.plugin.forms.form_dialog import make_problem_label
from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.collapsible_section import make_row

SIZE_PX = (440, 430)
N_INITIAL_ROWS = 3
COLOUR_COLUMN, NAME_COLUMN, REMOVE_COLUMN = range(3)
ImageChoice = tuple[str, Callable[[], Sequence[Case]]]
"""A text, such as ``12 images of the last drop``, and what reads the cases of these images."""


class TaskDialog(QDialog):
    """A non-modal dialog to create a task.

    Parameters
    ----------
    make
        Called with the task. If it raises `MedSegError`, the dialog shows the message and stays open.
    parent
        Qt parent.
    kind
        The kind of images that is chosen at first; empty for the first of all.
    images
        Which images the new task can have at once; the first is chosen at first.
    """

    def __init__(
        self,
        make: Callable[[Task], None],
        parent: QWidget | None = None,
        kind: str = "",
        images: Sequence[ImageChoice] = (),
    ) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("New task")
        self._make = make
        self.name = LineEdit(label="Name")
        self.name.native.setPlaceholderText("lower-case letters, such as larynx or knee-bones")
        self.kind = ComboBox(
            label="Images",
            choices=[(kind.title, word) for word, kind in IMAGE_KINDS.items()],
            tooltip="Defines which images this task accepts, and the number of channels of its model",
        )
        self.instances = CheckBox(
            text="number each object, as for nuclei",
            tooltip="Instance segmentation with one label. The model separates touching objects",
        )
        if kind:
            self.kind.value = kind
        self._images = dict(images)
        self.images = ComboBox(
            label="Use for it",
            choices=list(self._images),
            tooltip="These images are on the list of the new task at once, and stay on their own lists, too",
        )
        fields = [self.name, self.kind, *([self.images] if images else []), self.instances]
        self._fields = Container(widgets=fields)
        self._make_table()
        self._problem = make_problem_label()
        self._make_layout()
        self._refresh()
        self.resize(*SIZE_PX)

    @property
    def problem(self) -> str:
        """The error in the current input; empty if there is none."""
        return self._problem.text()

    def read_chosen_cases(self) -> Sequence[Case]:
        """Read the cases whose images the task shall have."""
        read = self._images.get(self.images.value)
        return () if read is None else read()

    def add_label(self, name: str = "", colour: str = "") -> None:
        """Add a row for a label. Without `colour`, the next colour of the palette is used."""
        row = self.table.rowCount()
        self.table.insertRow(row)
        swatch = QPushButton()
        swatch.setToolTip("Choose another colour")
        swatch.clicked.connect(partial(self._ask_colour, swatch))
        _set_swatch_colour(swatch, colour or self._next_colour())
        remove = theme.make_tool_button("✕", "Remove this label")
        remove.clicked.connect(partial(self._remove_label, remove))
        self.table.setCellWidget(row, COLOUR_COLUMN, swatch)
        self.table.setCellWidget(row, REMOVE_COLUMN, remove)
        self.table.setItem(
            row, NAME_COLUMN, QTableWidgetItem(name)
        )  # last, because this triggers `_refresh`, which reads the row

    def build_task(self) -> Task:
        """Return the task from the input; rows without a name are ignored. Raises as `make_custom_task` does."""
        rows = [(self._get_name(row), self._get_colour(row)) for row in range(self.table.rowCount())]
        named = [(name, colour) for name, colour in rows if name]
        return self._build_from_labels([name for name, _ in named], [colour for _, colour in named])

    def accept(self) -> None:
        """Create the task, or show the error."""
        try:
            self._make(self.build_task())
        except MedSegError as error:
            self._problem.setText(str(error))
        else:
            super().accept()

    def _build_from_labels(self, names: list[str], colours: list[str]) -> Task:
        kind, instances = self.kind.value, self.instances.value
        return make_custom_task(self.name.value.strip(), names, colours, kind=kind, instances=instances)

    def _make_table(self) -> None:
        self.table = QTableWidget(0, 3)
        self.table.setHorizontalHeaderLabels(["colour", "label", ""])
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.AllEditTriggers)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(NAME_COLUMN, QHeaderView.ResizeMode.Stretch)
        for column in (COLOUR_COLUMN, REMOVE_COLUMN):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        for _ in range(N_INITIAL_ROWS):
            self.add_label()
        self.table.itemChanged.connect(self._refresh)

    def _make_layout(self) -> None:
        more = theme.make_button("Add a label", "Add one row; the label value is its position in the table")
        more.clicked.connect(lambda: self.add_label())
        self.save_button = theme.make_button("Make task", "", main=True)
        cancel = theme.make_button("Cancel", "Close without changes")
        layout = QVBoxLayout(self)
        layout.addWidget(self._fields.native)
        layout.addWidget(self.table, stretch=1)
        layout.addWidget(make_row(more, QLabel("named rows are values 1, 2 …; 0 is background"), stretch=1))
        layout.addWidget(self._problem)
        layout.addWidget(make_row(QLabel(""), cancel, self.save_button))
        self.save_button.clicked.connect(self.accept)
        cancel.clicked.connect(self.reject)
        self._fields.changed.connect(self._refresh)

    def _refresh(self, _changed: object = None) -> None:
        """Validate the input: show the error and disable the button until the input is valid."""
        try:
            self.build_task()
            problem = ""
        except MedSegError as error:
            problem = str(error)
        theme.set_enabled(self.save_button, not problem, "Save and use these labels", problem)
        self._problem.setText(problem if self.name.value.strip() else "")

    def _remove_label(self, button: QWidget) -> None:
        for row in range(self.table.rowCount()):
            if self.table.cellWidget(row, REMOVE_COLUMN) is button:
                self.table.removeRow(row)
                break
        self._refresh()

    def _ask_colour(self, swatch: QPushButton) -> None:
        chosen = QColorDialog.getColor(QColor(swatch.property("colour")), self, "Colour of the label")
        if chosen.isValid():
            _set_swatch_colour(swatch, chosen.name().upper())

    def _next_colour(self) -> str:
        taken = {self._get_colour(row) for row in range(self.table.rowCount() - 1)}
        return next(colour for colour in map(get_default_colour, range(len(taken) + 1)) if colour not in taken)

    def _get_name(self, row: int) -> str:
        item = self.table.item(row, NAME_COLUMN)
        return "" if item is None else item.text().strip()

    def _get_colour(self, row: int) -> str:
        return str(self.table.cellWidget(row, COLOUR_COLUMN).property("colour"))


class LabelsDialog(TaskDialog):
    """Changes the labels of an existing task. Label values, task name and image kind stay the same.

    Parameters
    ----------
    task
        The current task.
    change
        Called with the changed task, like `make` of `TaskDialog`.
    names_are_fixed
        Whether cases or models use the labels. Then labels cannot be renamed; new ones are added at the end.
    parent
        Qt parent.
    """

    def __init__(
        self, task: Task, change: Callable[[Task], None], names_are_fixed: bool, parent: QWidget | None = None
    ) -> None:
        self._task = task
        super().__init__(change, parent)
        self.setWindowTitle(f"Labels of {task.title}")
        self.save_button.setText("Save labels")
        self.name.value, self.kind.value, self.instances.value = task.name, find_image_kind(task), task.instances
        for fixed in (self.name, self.kind, self.instances):
            theme.set_enabled(
                fixed.native, False, "", "This cannot be changed for an existing task. Create a new task instead"
            )
        self.table.setRowCount(0)
        for label in task.labels:
            self.add_label(label.name, label.colour)
        if names_are_fixed:
            for row in range(len(task.labels)):
                item = self.table.item(row, NAME_COLUMN)
                item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
                item.setToolTip("Cases or models use this label, so it cannot be renamed. You can change its colour")
        self._refresh()

    def _build_from_labels(self, names: list[str], colours: list[str]) -> Task:
        return replace_task_labels(self._task, names, colours)


def _set_swatch_colour(swatch: QPushButton, colour: str) -> None:
    swatch.setProperty("colour", colour)
    swatch.setStyleSheet(f"background-color: {colour}; border-radius: 2px; margin: 4px;")
