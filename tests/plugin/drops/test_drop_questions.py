"""What a drop does not say is asked: which images, and what the axes of an array are."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_files import noise, write_series
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QDialog, QWidget

from napari_medseg.core import formats
from napari_medseg.core.containers.array_layout import ArrayLayout
from napari_medseg.core.containers.image_source import ImageSource
from napari_medseg.plugin.dock import Dock
from napari_medseg.plugin.drops.drop_questions import DropQuestions
from napari_medseg.plugin.drops.source_chooser import SourceChooser
from napari_medseg.plugin.forms.form_dialog import FormDialog
from napari_medseg.workflow.array_layouts import recall_layout, remember_layout
from napari_medseg.workflow.workspace import Workspace


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """An archive of two series of 4 and 3 slices."""
    write_series(tmp_path / "s" / "a", noise((3, 24, 28)), SeriesNumber=1, SeriesDate="20240501")
    write_series(tmp_path / "s" / "b", noise((4, 24, 28), 1), SeriesInstanceUID="1.2.9", SeriesDescription="thin")
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        for path in (tmp_path / "s").rglob("*.dcm"):
            archive.write(path, path.relative_to(tmp_path))
    return tmp_path / "study.zip"


def test_series_are_listed_with_date_count_and_picture_and_enter_opens_the_largest(study: Path, qtbot: QtBot) -> None:
    sources = formats.find_images(study)
    chosen: list[ImageSource] = []
    dialog = SourceChooser(sources, chosen.extend)
    qtbot.addWidget(dialog)
    dialog.show()
    rows = [dialog.tree.topLevelItem(row) for row in range(2)]
    assert [row.text(2) for row in rows] == ["3 (28 x 24)", "4 (28 x 24)"]
    assert rows[0].text(0).startswith("CT series 1 phantom")
    assert rows[0].text(1) == "2024-05-01"
    assert dialog.selected == [sources[1]]

    def has_pictures() -> bool:
        images = [row.icon(0).pixmap(56, 56).toImage() for row in rows]
        return all(image.pixelColor(image.width() // 2, image.height() // 2).alpha() == 255 for image in images)

    qtbot.waitUntil(has_pictures, timeout=10_000)
    qtbot.keyClick(dialog.tree, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    assert dialog.open_button.text() == "Open 2 selected"
    qtbot.keyClick(dialog.tree, Qt.Key.Key_Up)
    assert dialog.selected == [sources[0]]
    qtbot.keyClick(dialog, Qt.Key.Key_Return)
    assert chosen == [sources[0]]


def test_escape_opens_nothing_and_all_opens_all(study: Path, qtbot: QtBot) -> None:
    sources = formats.find_images(study)
    chosen: list[ImageSource] = []
    for _ in range(2):
        dialog = SourceChooser(sources, chosen.extend)
        qtbot.addWidget(dialog)
        dialog.show()
        if not chosen:
            qtbot.keyClick(dialog, Qt.Key.Key_Escape)
            assert not chosen
        dialog.open_all()
    assert chosen == [*sources, *sources]


def find_arrays(folder: Path, *shapes: tuple[int, ...]) -> list[ImageSource]:
    folder.mkdir(exist_ok=True)
    for n, shape in enumerate(shapes):
        np.save(folder / f"{n}.npy", noise(shape, n).astype(np.int16))
    return formats.find_images(folder)


def submit(questions: DropQuestions, axes: str, spacing: str, *, remembered: bool = True) -> None:
    dialog = questions.dialog
    assert isinstance(dialog, FormDialog)
    dialog.form.axes.value = axes
    dialog.form.spacing.value = spacing
    dialog.form.remembered.value = remembered
    dialog.submit_button.click()


def test_axes_are_asked_once_for_a_folder_and_remembered_in_the_project(
    ws: Workspace, tmp_path: Path, qtbot: QtBot
) -> None:
    sources = find_arrays(tmp_path / "a", (24, 28, 5), (24, 28, 6), (9, 8))
    questions = DropQuestions(ws)
    ready: list[ImageSource] = []
    questions.ask(sources, False, ready.extend)
    submit(questions, "YXZ", "one")
    assert "no spacing" in questions.dialog.problem
    submit(questions, "YXZ", "2.5, 0.8, 0.7")
    assert questions.dialog is None
    images = [formats.read_source(source) for source in ready]
    assert [image.pixels.shape for image in images] == [(5, 24, 28), (6, 24, 28), (9, 8)]
    assert [image.spacing_mm for image in images] == [(2.5, 0.8, 0.7), (2.5, 0.8, 0.7), None]
    again: list[ImageSource] = []
    questions.ask(sources, False, again.extend)
    assert again == ready
    elsewhere = find_arrays(tmp_path / "b", (24, 28, 5))
    questions.ask(elsewhere, False, again.extend)
    assert isinstance(questions.dialog, FormDialog)
    questions.close()
    assert questions.dialog is None
    assert again == ready


def test_an_array_of_images_offers_each_and_an_answer_may_be_for_one_file(
    ws: Workspace, tmp_path: Path, qtbot: QtBot
) -> None:
    sources = find_arrays(tmp_path / "a", (4, 24, 28))
    questions = DropQuestions(ws)
    ready: list[ImageSource] = []
    questions.ask(sources, False, ready.extend)
    submit(questions, "NYX", "", remembered=False)
    assert isinstance(questions.dialog, SourceChooser)
    questions.dialog.open_all()
    assert [formats.read_source(source).pixels.shape for source in ready] == [(24, 28)] * 4
    assert recall_layout(ws, sources[0]) is None


def test_a_remembered_answer_that_does_not_fit_is_not_used(ws: Workspace, tmp_path: Path) -> None:
    (source,) = find_arrays(tmp_path / "a", (4, 24, 28))
    remember_layout(ws, source, ArrayLayout("YXZ", (1.0, 0.5, 0.5)))
    assert recall_layout(ws, source) == ArrayLayout("YXZ", (1.0, 0.5, 0.5))
    (other,) = find_arrays(tmp_path / "a2", (4, 24, 28, 5))
    assert recall_layout(ws, other) is None


def test_a_dropped_archive_asks_and_then_opens_what_was_chosen(
    make_dock: Callable[[Workspace], Dock], ws: Workspace, study: Path, qtbot: QtBot
) -> None:
    dock = make_dock(ws)
    importer = dock.worklist.importer
    importer.read([study])
    qtbot.waitUntil(lambda: find_chooser() is not None, timeout=20_000)
    dialog = find_chooser()
    assert not importer.is_reading
    with qtbot.waitSignal(importer.finished, timeout=20_000):
        dialog.open_button.click()
    (case,) = [row.case for row in dock.worklist.rows]
    assert case.shape == (4, 24, 28)
    assert case.sources[0].startswith(str(study))


def test_a_question_goes_with_a_cancelled_drop(
    make_dock: Callable[[Workspace], Dock], ws: Workspace, study: Path, qtbot: QtBot
) -> None:
    importer = make_dock(ws).worklist.importer
    importer.read([study])
    qtbot.waitUntil(lambda: find_chooser() is not None, timeout=20_000)
    importer.cancel()
    assert find_chooser() is None


def find_chooser() -> SourceChooser | None:
    shown = [widget for widget in QApplication.topLevelWidgets() if isinstance(widget, SourceChooser)]
    return next((widget for widget in shown if widget.isVisible()), None)


def test_a_question_that_qt_deleted_with_the_window_is_closed_without_an_error(ws: Workspace, qtbot: QtBot) -> None:
    window, questions = QWidget(), DropQuestions(ws)
    questions._show(QDialog(window))
    window.deleteLater()
    qtbot.wait(10)
    questions.close()
