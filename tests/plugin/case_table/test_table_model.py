"""The table of cases: rows move without losing the selection, and only what is visible is asked for."""

from collections.abc import Iterator

import numpy as np
import pytest
from plugin_phantoms import phantom
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QItemSelectionModel, QPoint, QRect, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QStyleOptionViewItem

from napari_medseg.core.records import UNLIKE, Case
from napari_medseg.inference.events import PredictionResult
from napari_medseg.plugin.case_table.list_window import move_into
from napari_medseg.plugin.case_table.table_model import NAMES, CaseTableModel
from napari_medseg.plugin.case_table.table_view import CaseTableView
from napari_medseg.plugin.case_table.thumbnails import Thumbnails, get_thumbnail_path, load_thumbnail
from napari_medseg.plugin.widgets.theme import get_state_colours
from napari_medseg.workflow import review
from napari_medseg.workflow.case_list.case_list import CaseList
from napari_medseg.workflow.case_list.filters import CaseFilter
from napari_medseg.workflow.case_list.order import CaseOrder
from napari_medseg.workflow.cases import add_cases
from napari_medseg.workflow.workspace import Workspace


class Table:
    """A view on a list of five cases, as the panel shows it."""

    def __init__(self, ws: Workspace, qtbot: QtBot) -> None:
        self.ws = ws
        self.cases = add_cases(ws, [phantom(number) for number in range(5)], "lungs")
        self.case_list = CaseList(ws, "lungs", CaseOrder.LISTED)
        self.thumbnails = Thumbnails(ws)
        self.model = CaseTableModel(self.case_list, self.thumbnails)
        self.view = CaseTableView(self.model)
        qtbot.addWidget(self.view)
        self.view.resize(400, 300)
        self.view.show()

    def predict(self, number: int, uncertainty: float, distance: float | None = None) -> None:
        labels = np.zeros((48, 64), np.uint8)
        result = PredictionResult(labels, uncertainty, None, 1.0, "CPU", domain_distance=distance)
        review.record_prediction(self.ws, self.cases[number], result, "lungs-unet@1")
        self.case_list.update(self.cases[number])
        self.model.follow(self.case_list, None)

    def text(self, row: int, name: str, role: Qt.ItemDataRole = Qt.ItemDataRole.DisplayRole) -> str:
        return self.model.index(row, NAMES.index(name)).data(role)

    def names(self) -> list[str]:
        return [self.text(row, "case") for row in range(self.model.rowCount())]

    def select(self, *rows: int) -> None:
        how = QItemSelectionModel.SelectionFlag.Select | QItemSelectionModel.SelectionFlag.Rows
        for row in rows:
            self.view.selectionModel().select(self.model.index(row, 0), how)


@pytest.fixture
def table(ws: Workspace, qtbot: QtBot) -> Iterator[Table]:
    made = Table(ws, qtbot)
    yield made
    made.thumbnails.close()


def test_rows_follow_the_order_and_the_selection_stays_on_its_cases(table: Table) -> None:
    assert table.names() == [case.name for case in table.cases]
    table.select(1, 3)
    table.case_list.set_order(CaseOrder.USEFUL)
    table.predict(4, 0.9)
    table.predict(3, 0.5)
    assert [name[-1] for name in table.names()] == ["5", "4", "1", "2", "3"]
    assert [case.id for case in table.view.list_selected()] == [table.cases[3].id, table.cases[1].id]


def test_states_have_the_colours_of_the_theme(table: Table) -> None:
    table.predict(0, 0.1, 99.0)
    for name in ("dark", "light"):
        table.model.set_theme(name)
        shown = table.text(0, "unlike", Qt.ItemDataRole.ForegroundRole)
        assert shown.name().upper() == get_state_colours(name)["bad"]
    assert table.text(0, "case", Qt.ItemDataRole.ForegroundRole) is None


def test_rows_come_and_go_with_the_list_and_the_filter(table: Table) -> None:
    table.select(0, 2)
    table.ws.project.set_removed([table.cases[0]], removed=True)
    table.case_list.update(table.cases[0])
    late = add_cases(table.ws, [phantom(7)], "lungs")[0]
    table.case_list.update(late)
    table.model.follow(table.case_list, None)
    assert table.names() == [case.name for case in [*table.cases[1:], late]]
    assert table.view.list_selected() == [table.cases[2]]
    table.case_list.set_filter(CaseFilter(text="slice 3"))
    table.model.follow(table.case_list, None)
    assert table.names() == [table.cases[3].name]
    table.case_list.set_filter(CaseFilter())
    table.model.follow(table.case_list, None)
    assert table.model.rowCount() == 5


def test_an_image_unlike_the_training_images_is_marked_and_the_mark_goes_with_the_next_prediction(table: Table) -> None:
    table.predict(0, 0.123, 1.5)
    assert table.text(0, "unsure") == "0.12 !"
    assert table.text(0, "unlike") == "1.5 !"
    assert UNLIKE in table.text(0, "unsure", Qt.ItemDataRole.ToolTipRole)
    table.predict(0, 0.123, 0.9)
    assert table.text(0, "unsure") == "0.12"
    assert table.text(0, "unlike") == "0.9"


def test_a_held_out_case_has_a_badge_and_a_sentence(table: Table) -> None:
    held = [row for row in range(5) if table.text(row, "held")]
    assert [table.cases[row].held_out for row in range(5)] == [row in held for row in range(5)]
    assert held
    assert "never saw" in table.text(held[0], "held", Qt.ItemDataRole.ToolTipRole)


def test_a_click_opens_and_more_are_selected_with_ctrl(table: Table, qtbot: QtBot) -> None:
    opened: list[Case] = []
    table.view.chosen.connect(opened.append)

    def click(row: int, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        place = table.view.visualRect(table.model.index(row, 0)).center()
        QTest.mouseClick(table.view.viewport(), Qt.MouseButton.LeftButton, modifier, QPoint(place))

    click(1)
    assert opened == [table.cases[1]]
    click(3, Qt.KeyboardModifier.ControlModifier)
    assert opened == [table.cases[1]]
    assert table.view.list_selected() == [table.cases[1], table.cases[3]]
    QTest.keyClick(table.view, Qt.Key.Key_Return)
    assert opened == [table.cases[1], table.cases[3]]


def test_only_visible_rows_are_painted(ws: Workspace, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(ws, qtbot)
    monkeypatch.setattr(type(table.case_list), "shown_ids", np.tile([case.id for case in table.cases], 2000))
    asked: list[int] = []
    data = CaseTableModel.data
    monkeypatch.setattr(
        CaseTableModel, "data", lambda self, index, role: asked.append(index.row()) or data(self, index, role)
    )
    table.model.follow(table.case_list, None)
    table.view.scrollToBottom()
    qtbot.wait(50)
    assert table.model.rowCount() == 10_000
    assert len(set(asked)) < 100
    table.thumbnails.close()


def test_thumbnails_are_made_once_and_a_damaged_file_of_the_cache_is_made_again(table: Table, qtbot: QtBot) -> None:
    case, image = table.cases[0], phantom(0)
    empty = table.thumbnails.get(case).cacheKey()
    table.thumbnails.add_image(case, image)
    qtbot.waitUntil(lambda: table.thumbnails.get(case).cacheKey() != empty)
    path = get_thumbnail_path(table.ws.project.folder, case)
    made = load_thumbnail(table.ws, case, None)
    assert max(made.shape) <= 56
    path.write_bytes(b"damaged")
    assert load_thumbnail(table.ws, case, None) is None, "there is neither the image nor a copy of it"
    np.testing.assert_array_equal(load_thumbnail(table.ws, case, image), made)
    np.testing.assert_array_equal(np.load(path, allow_pickle=False), made)


def test_in_the_dock_states_are_marks_so_that_names_are_whole(table: Table) -> None:
    def paint(name: str) -> QStyleOptionViewItem:
        option, index = QStyleOptionViewItem(), table.model.index(0, NAMES.index(name))
        option.rect = table.view.visualRect(index)
        table.view.itemDelegate().initStyleOption(option, index)
        return option

    table.predict(0, 0.3)
    table.view.show_columns(("case", "state", "note"))
    assert paint("state").text == "○ predicted"
    table.view.show_columns(("case", "state", "note"), is_narrow=True)
    assert paint("state").text == "○"
    assert table.text(0, "state") == "○ predicted", "the tooltip, searches and other programs have the word"
    assert paint("case").textElideMode == Qt.TextElideMode.ElideLeft
    assert paint("note").textElideMode == Qt.TextElideMode.ElideRight


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (QRect(-414, -202, 760, 460), QRect(0, 0, 760, 460)),
        (QRect(900, 600, 760, 460), QRect(520, 260, 760, 460)),
        (QRect(100, 100, 760, 460), QRect(100, 100, 760, 460)),
        (QRect(5, 5, 2000, 460), QRect(0, 5, 1280, 460)),
    ],
    ids=["above and left", "below and right", "inside", "too wide"],
)
def test_the_window_of_the_list_is_whole_on_the_screen(window: QRect, expected: QRect) -> None:
    assert move_into(window, QRect(0, 0, 1280, 720)) == expected
