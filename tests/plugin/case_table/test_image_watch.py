"""The list shows which images are missing, and notices when they are back; no case is read for it."""

from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QObject, Signal
from workflow_phantoms import phantom

from napari_medseg.core import formats
from napari_medseg.core.records import Case
from napari_medseg.plugin.case_table.image_watch import ImageWatch
from napari_medseg.plugin.case_table.list_reader import ListReader
from napari_medseg.plugin.case_table.table_model import NAMES, CaseTableModel
from napari_medseg.plugin.case_table.thumbnails import Thumbnails
from napari_medseg.workflow.case_list.case_list import CaseList
from napari_medseg.workflow.case_list.order import CaseOrder
from napari_medseg.workflow.cases import add_cases
from napari_medseg.workflow.workspace import Workspace


class List(QObject):
    """What the watch needs of a worklist, with a real list."""

    changed = Signal()

    def __init__(self, ws: Workspace) -> None:
        super().__init__()
        self.case_list = CaseList(ws, "lungs", CaseOrder.LISTED)
        self.reader = ListReader(self)

    def update_cases(self, _changed: list[Case]) -> None:
        self.changed.emit()


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        formats.write_image(path, phantom(number))
    return paths


def test_missing_images_are_shown_and_found_again(ws: Workspace, sources: list[Path], qtbot: QtBot) -> None:
    add_cases(ws, [formats.read(path) for path in sources], "lungs")
    sources[1].rename(sources[1].with_suffix(".away"))
    shown = List(ws)
    watch, thumbnails = ImageWatch(ws, shown), Thumbnails(ws)
    model = CaseTableModel(shown.case_list, thumbnails)

    def texts() -> list[str]:
        return [model.index(row, NAMES.index("image")).data() for row in range(3)]

    shown.reader.read(shown.case_list)
    qtbot.waitUntil(lambda: texts() == ["", "missing", ""])
    case = shown.case_list.list_rows()[1].case
    assert "1.png" in model.index(1, 0).data(3), "the tooltip names the file"
    assert thumbnails.get(case).cacheKey() == thumbnails._broken.cacheKey()
    assert shown.case_list.find_next().id != case.id
    sources[1].with_suffix(".away").rename(sources[1])
    watch._look_for_missing()
    qtbot.waitUntil(lambda: texts() == ["", "", ""])
    watch.close()
    thumbnails.close()


def test_a_damaged_image_is_shown_when_its_thumbnail_fails(ws: Workspace, sources: list[Path], qtbot: QtBot) -> None:
    cases = add_cases(ws, [formats.read(path) for path in sources], "lungs")
    sources[0].write_bytes(sources[0].read_bytes()[:80])
    shown = List(ws)
    watch, thumbnails = ImageWatch(ws, shown), Thumbnails(ws)
    for case in cases:
        thumbnails.get(case)
    qtbot.waitUntil(lambda: len(thumbnails._pictures) == 2)
    qtbot.waitUntil(lambda: shown.case_list.counts.n_without_image == 1)
    assert thumbnails.get(cases[0]).cacheKey() == thumbnails._broken.cacheKey()
    watch.close()
    thumbnails.close()
