"""The list of cases: a refresh touches only the rows that changed, as the window waits for it."""

from dataclasses import replace

import numpy as np
from pytestqt.qtbot import QtBot

from napari_medseg.core.records import UNLIKE, Case, Prediction
from napari_medseg.plugin.panels.case_list import CaseList
from napari_medseg.workflow.cases import CaseRow


def make_row(number: int) -> CaseRow:
    case = Case(number, "lungs", f"case{number}", "p", f"h{number}", "YX", (4, 5), None, (), False, "2026")
    return CaseRow(case, "new", None, None, None)


def test_a_refresh_changes_only_the_rows_that_changed(qtbot: QtBot) -> None:
    case_list = CaseList()
    qtbot.addWidget(case_list)
    rows = [make_row(number) for number in range(1, 501)]
    case_list.show_rows(rows, None)
    for row in rows:
        case_list.set_thumbnail(row.case.id, np.zeros((8, 8), np.uint8))
    changed: list[str] = []
    case_list.itemChanged.connect(lambda item, _column: changed.append(item.text(0)))
    case_list.show_rows(rows, 7)
    assert changed == []
    rows[2] = replace(rows[2], state="accepted")
    case_list.show_rows(rows, 7)
    assert set(changed) == {"case3"}
    assert case_list.topLevelItem(2).text(1) == "✓ accepted"
    assert case_list.currentItem().text(0) == "case7"


def test_thumbnails_and_states_survive_a_change_of_the_list(qtbot: QtBot) -> None:
    case_list = CaseList()
    qtbot.addWidget(case_list)
    case_list.show_rows([make_row(1), make_row(2)], None)
    case_list.set_thumbnail(2, np.zeros((8, 8), np.uint8))
    case_list.show_rows([make_row(2), make_row(3)], None)
    assert [case_list.topLevelItem(index).text(0) for index in range(2)] == ["case2", "case3"]
    assert not case_list.topLevelItem(0).icon(0).isNull()
    assert case_list.topLevelItem(1).icon(0).isNull()


def test_an_image_unlike_the_training_images_is_marked_and_the_mark_goes_with_the_next_prediction(qtbot: QtBot) -> None:
    case_list = CaseList()
    qtbot.addWidget(case_list)
    prediction = Prediction(1, 1, "lungs-unet@1", "p.tif", "0", 1.0, 0.123, "2026", domain_distance=1.5)
    row = replace(make_row(1), state="predicted", prediction=prediction)
    case_list.show_rows([row], None)
    item = case_list.topLevelItem(0)
    assert item.text(2) == "0.12 !"
    assert UNLIKE in item.toolTip(2)
    for distance in (0.9, None):
        case_list.show_rows([replace(row, prediction=replace(prediction, domain_distance=distance))], None)
        assert item.text(2) == "0.12"
        assert UNLIKE not in item.toolTip(2)
