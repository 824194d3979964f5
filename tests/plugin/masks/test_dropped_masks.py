"""Masks dropped on the window: a question maps their values, then they are the draft, a correction or a comparison."""

import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plugin_phantoms import SHAPE, Texts, phantom, phantom_labels, write_phantom
from pytestqt.qtbot import QtBot

from napari_medseg.core import formats
from napari_medseg.core.project.case_files import read_case_labels
from napari_medseg.core.records import Correction, ImportedMask, Review
from napari_medseg.plugin.controllers import open_case
from napari_medseg.plugin.dock import Dock
from napari_medseg.plugin.masks import pair_import, pair_worker
from napari_medseg.plugin.masks.mask_question import MaskQuestion
from napari_medseg.plugin.masks.pair_worker import FirstPair
from napari_medseg.plugin.masks.second_reading import TITLE
from napari_medseg.workflow.cases import add_cases
from napari_medseg.workflow.data_set.read import DatabaseStep
from napari_medseg.workflow.data_set.write import write_data_set
from napari_medseg.workflow.masks.comparison import ONLY_MINE
from napari_medseg.workflow.masks.pairs import MaskPair
from napari_medseg.workflow.output.export import list_accepted_rows, read_export_item
from napari_medseg.workflow.review import accept, open_review
from napari_medseg.workflow.workspace import Workspace


@pytest.fixture
def dock(ws: Workspace, make_dock: Callable[[Workspace], Dock]) -> Dock:
    return make_dock(ws)


@pytest.fixture
def question(dock: Dock) -> MaskQuestion:
    return dock.masks.question


@pytest.fixture
def opened(dock: Dock, qtbot: QtBot, tmp_path: Path) -> Dock:
    """A predicted case is open."""
    dock.worklist.importer.read([write_phantom(tmp_path / "in", 1)])
    qtbot.waitUntil(lambda: [row.state for row in dock.worklist.rows] == ["predicted"])
    qtbot.waitUntil(lambda: dock.case_controller.current.labels_layer is not None)
    return dock


def write_mask(path: Path, labels: np.ndarray, number: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = phantom(number)
    grid = image.replace_pixels(np.zeros(labels.shape)) if labels.shape != SHAPE else image
    formats.write_labels(path, labels, grid)
    return path


def other_labels() -> np.ndarray:
    """The phantom's labels with values 20 and 10 for right and left, and a smaller right lung."""
    labels = np.array([0, 20, 10], np.uint8)[phantom_labels()]
    labels[10:12, 6:26] = 0
    return labels


def meant_labels() -> np.ndarray:
    labels = phantom_labels()
    labels[10:12, 6:26] = 0
    return labels


def write_pair(folder: Path) -> list[Path]:
    return [write_phantom(folder, 1), write_mask(folder / "case1_mask.png", phantom_labels())]


def ask(dock: Dock, qtbot: QtBot, *paths: Path) -> MaskQuestion:
    dock.worklist.importer.read(list(paths))
    qtbot.waitUntil(lambda: bool(dock.masks.question.text))
    return dock.masks.question


def map_values(question: MaskQuestion) -> None:
    assert question.asks_values
    question.choose(20, 1)
    question.choose(10, 2)


def test_a_mask_becomes_the_draft_in_one_stroke_and_its_values_are_remembered(
    opened: Dock, qtbot: QtBot, tmp_path: Path
) -> None:
    dock, current = opened, opened.case_controller.current
    question = ask(dock, qtbot, write_mask(tmp_path / "masks" / "case1.png", other_labels()))
    assert "case1.png is a mask for patient 1 case 1. What do its values mean?" in question.text
    map_values(question)
    question.press_answer("As draft")
    qtbot.waitUntil(lambda: np.array_equal(current.labels_layer.data, meant_labels()))
    assert current.state == "draft"
    dock.case_controller.undo()
    assert np.array_equal(current.labels_layer.data, phantom_labels())
    question = ask(dock, qtbot, write_mask(tmp_path / "masks" / "again_mask.png", other_labels()))
    assert not question.asks_values, "the same folder: remembered"
    assert "20 right lung, 10 left lung" in question.text
    question.press_answer("As draft")
    qtbot.waitUntil(lambda: np.array_equal(current.labels_layer.data, meant_labels()))
    with qtbot.waitSignal(dock.case_controller.decided):
        dock.review_panel.accept()
    (correction,) = dock._workspace.project.read_records(Correction)
    assert correction.imported == "20 right lung, 10 left lung"


def test_a_mask_dropped_with_the_image_that_is_open_is_for_the_open_case(
    opened: Dock, qtbot: QtBot, tmp_path: Path
) -> None:
    current = opened.case_controller.current
    question = ask(opened, qtbot, *current.image.sources, write_mask(tmp_path / "masks" / "case1.png", other_labels()))
    map_values(question)
    question.press_answer("As draft")
    qtbot.waitUntil(lambda: np.array_equal(current.labels_layer.data, meant_labels()))
    assert opened.case_controller.current is current
    assert current.state == "draft"


def test_a_pair_of_the_open_case_among_others_closes_it_before_it_is_imported(
    opened: Dock, qtbot: QtBot, tmp_path: Path
) -> None:
    dock = opened
    (image,) = dock.case_controller.current.image.sources
    masks = [write_mask(tmp_path / "masks" / f"case{number}.png", phantom_labels(), number) for number in (1, 2)]
    masks[0] = write_mask(masks[0], meant_labels())
    question = ask(dock, qtbot, image, write_phantom(tmp_path / "in", 2), *masks)
    question.press_answer("As drafts")
    qtbot.waitUntil(lambda: [row.state for row in dock.worklist.rows] == ["draft", "draft"])
    (case,) = [row.case for row in dock.worklist.rows if row.case.sources == (str(image),)]
    dock.case_controller.open(case)
    qtbot.waitUntil(lambda: dock.case_controller.current is not None and dock.case_controller.current.case == case)
    qtbot.waitUntil(lambda: dock.case_controller.current.labels_layer is not None)
    assert np.array_equal(dock.case_controller.current.labels_layer.data, meant_labels())


def test_a_comparison_shows_differences_and_dice_and_changes_nothing(
    opened: Dock, qtbot: QtBot, tmp_path: Path
) -> None:
    dock, current = opened, opened.case_controller.current
    question = ask(dock, qtbot, write_mask(tmp_path / "x" / "case1_mask.png", other_labels()))
    map_values(question)
    question.press_answer("Compare")
    qtbot.waitUntil(lambda: dock.masks.open_case_mask.comparison.differences.layer is not None)
    layer = dock.masks.open_case_mask.comparison.differences.layer
    assert np.unique(layer.data).tolist() == [0, 1]
    assert np.count_nonzero(layer.data) == 2 * 20
    assert question.text.startswith("Dice: right lung 0.963, left lung 1.000. Your labels against case1_mask.png.")
    assert np.array_equal(current.labels_layer.data, phantom_labels())
    assert dock._viewer.layers.selection.active is not layer
    current.labels_layer.data_setitem((np.array([0]), np.array([0])), 2)
    qtbot.waitUntil(lambda: layer.data[0, 0] == ONLY_MINE)
    assert dock.masks.open_case_mask.comparison.differences.layer is layer
    assert "left lung 0.9" in question.text
    question.press_answer("Take the mask")
    qtbot.waitUntil(lambda: np.array_equal(current.labels_layer.data, meant_labels()))
    assert dock.masks.open_case_mask.comparison.differences.layer is None


def test_a_mask_of_another_grid_is_resampled_only_after_a_question(opened: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    current = opened.case_controller.current
    small = write_mask(tmp_path / "masks" / "case1.png", phantom_labels()[::2, ::2])
    question = ask(opened, qtbot, small)
    question.press_answer("As draft")
    qtbot.waitUntil(lambda: "Bring the mask to the grid" in question.text)
    assert np.array_equal(current.labels_layer.data, phantom_labels()), "nothing yet"
    question.press_answer("Resample")
    expected = np.kron(phantom_labels()[::2, ::2], np.ones((2, 2), np.uint8))
    assert np.array_equal(expected, phantom_labels()), "even borders"
    qtbot.waitUntil(lambda: not question.text)


def test_a_file_whose_name_tells_nothing_is_asked_about_if_it_looks_like_labels(
    opened: Dock, qtbot: QtBot, tmp_path: Path
) -> None:
    path = write_mask(tmp_path / "from_colleague" / "x17.png", other_labels())
    image = phantom(1).replace_pixels(other_labels())
    formats.write_image(path, image)
    question = ask(opened, qtbot, path)
    assert "x17.png is a mask for" in question.text
    question.press_answer("Image")
    qtbot.waitUntil(lambda: len(opened.worklist.rows) == 2)
    opened.worklist.importer.read([write_phantom(tmp_path / "in", 5)])
    qtbot.waitUntil(lambda: len(opened.worklist.rows) == 3)
    assert not question.text, "a picture is no mask"


def test_a_mask_with_swapped_sides_is_refused(opened: Dock, qtbot: QtBot, tmp_path: Path, told: Texts) -> None:
    question = ask(opened, qtbot, write_mask(tmp_path / "m" / "case1_seg.png", other_labels()))
    question.choose(20, 2)
    question.choose(10, 1)
    question.press_answer("As draft")
    qtbot.waitUntil(lambda: "right lung and left lung are exchanged" in told)
    assert np.array_equal(opened.case_controller.current.labels_layer.data, phantom_labels())


def test_a_folder_pair_is_imported_after_one_question(dock: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        write_phantom(tmp_path / "set" / "images", number)
        write_mask(tmp_path / "set" / "masks" / f"case{number}.png", other_labels(), number)
    write_mask(tmp_path / "set" / "masks" / "case3.png", other_labels() + 1, 3)
    question = ask(dock, qtbot, tmp_path / "set" / "images", tmp_path / "set" / "masks")
    assert question.text.startswith("3 images with masks for Lungs")
    map_values(question)
    question.press_answer("Accept")
    qtbot.waitUntil(lambda: [row.state for row in dock.worklist.rows] == ["accepted", "accepted"])
    qtbot.waitUntil(lambda: dock.case_controller.current is not None)
    project = dock._workspace.project
    assert len(project.read_records(ImportedMask)) == 2
    row = dock.worklist.rows[0]
    assert np.array_equal(read_case_labels(project.folder, row.case, row.correction), meant_labels())
    question = ask(dock, qtbot, tmp_path / "set" / "images", tmp_path / "set" / "masks")
    assert not question.asks_values
    question.press_answer("As drafts")
    qtbot.waitUntil(lambda: dock.masks.pair_import._worker is None)
    assert len(project.read_records(Correction)) == len(dock.worklist.rows) == 2


def test_a_mask_of_another_person_becomes_the_second_reading_of_the_open_case(
    opened: Dock, qtbot: QtBot, tmp_path: Path
) -> None:
    dock = opened
    with qtbot.waitSignal(dock.case_controller.decided):
        dock.review_panel.accept()
    qtbot.waitUntil(lambda: [row.state for row in dock.worklist.rows] == ["accepted"])
    dock.worklist.open(dock.worklist.rows[0].case)
    qtbot.waitUntil(lambda: dock.case_controller.current is not None)
    question = ask(dock, qtbot, write_mask(tmp_path / "masks" / "case1.png", other_labels()))
    map_values(question)
    question.press_answer(TITLE)
    form = dock.masks.pair_import.who_dialog
    form.form.person.value = "Ben"
    form.accept()
    project = dock._workspace.project
    qtbot.waitUntil(lambda: len(project.read_records(Correction)) == 2)
    first, second = project.read_records(Correction)
    assert (first.reading, second.reading) == (1, 2)
    assert first.who != second.who
    assert np.array_equal(read_case_labels(project.folder, dock.worklist.rows[0].case, second), meant_labels())
    qtbot.waitUntil(lambda: dock.case_controller.current is not None)
    assert dock.worklist.rows[0].correction == first, "the first reading stays the ground truth"


def test_an_image_whose_case_is_open_is_closed_before_its_labels_come_from_a_data_set(opened: Dock) -> None:
    desk, imported = opened.case_controller, opened.masks.data_set_import
    imported._on_item(DatabaseStep(lambda: None, phantom(2)))
    assert desk.current is not None, "another image"
    imported._on_item(DatabaseStep(lambda: None, desk.current.image))
    assert desk.current is None
    assert imported._replies.qsize() == 2


def test_labels_are_not_imported_into_a_case_that_is_being_saved(
    opened: Dock, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, work = threading.Event(), open_case.write_accepted

    def wait_and_work(*arguments: object) -> Generator[Any]:
        assert goes_on.wait(60)
        yield from work(*arguments)

    monkeypatch.setattr(open_case, "write_accepted", wait_and_work)
    desk, begun = opened.case_controller, list[str]()
    image = desk.current.image
    desk.accept()
    desk.close_case()
    opened.masks.data_set_import._on_item(DatabaseStep(lambda: begun.append("begun"), image))
    _, problem = opened.masks.data_set_import._replies.get_nowait()
    assert "are being saved" in str(problem)
    assert not begun, "two drafts of one review would overwrite each other"
    goes_on.set()
    qtbot.waitUntil(lambda: not desk.saver.is_running)
    assert len(opened._workspace.project.read_records(Correction)) == 1


@pytest.mark.parametrize("packed", [False, True])
def test_a_dropped_data_set_becomes_accepted_cases(dock: Dock, qtbot: QtBot, tmp_path: Path, packed: bool) -> None:
    other = Workspace.open(tmp_path / "other", tmp_path / "registry")
    for number in (1, 2):
        (case,) = add_cases(other, [phantom(number)], "lungs")
        accept(other, open_review(other, case, None), phantom_labels(), phantom(number))
    rows, read = list_accepted_rows(other, "lungs"), partial(read_export_item, other)
    write_data_set(rows, read, other.project.folder, tmp_path / "set", "folders")
    other.close()
    path = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "set")) if packed else tmp_path / "set"
    question = ask(dock, qtbot, path)
    assert "2 images with accepted labels" in question.text
    question.press_answer("Import")
    qtbot.waitUntil(lambda: [row.state for row in dock.worklist.rows] == ["accepted", "accepted"])
    qtbot.waitUntil(lambda: dock.masks.data_set_import._worker is None)
    assert all(review.closed for review in dock._workspace.project.read_records(Review))


def test_an_image_with_its_mask_opens_as_a_draft_that_no_prediction_changes(
    dock: Dock, qtbot: QtBot, tmp_path: Path
) -> None:
    image = write_phantom(tmp_path, 1)
    question = ask(dock, qtbot, image, write_mask(tmp_path / "case1_mask.png", other_labels()))
    assert question.text.startswith("case1.tif with its mask for Lungs")
    map_values(question)
    question.press_answer("As draft")
    qtbot.waitUntil(lambda: dock.case_controller.current is not None)
    qtbot.waitUntil(lambda: dock.case_controller.current.edit_session is not None)
    current = dock.case_controller.current
    assert np.array_equal(current.labels_layer.data, meant_labels())
    assert current.state == "draft"
    assert dock._workspace.engine.asked == []
    dock.case_controller.undo()
    assert not current.labels_layer.data.any()


def test_a_pair_that_cannot_be_written_leaves_no_open_review(dock: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    project = dock._workspace.project
    (project.folder / "labels").rmdir()
    (project.folder / "labels").write_text("in the way", encoding="utf-8")
    question = ask(dock, qtbot, *write_pair(tmp_path))
    question.press_answer("Accept")
    qtbot.waitUntil(lambda: dock.masks.pair_import._worker is None and bool(dock.worklist.rows))
    assert project.read_records(Review) == []
    assert [row.state for row in dock.worklist.rows] == ["new"]


def test_other_grids_are_asked_about_once_for_all_pairs(dock: Dock, qtbot: QtBot, tmp_path: Path) -> None:
    for number in (1, 2):
        write_phantom(tmp_path / "images", number)
        write_mask(tmp_path / "labels" / f"case{number}.png", phantom_labels()[::number, ::number])
    question = ask(dock, qtbot, tmp_path / "images", tmp_path / "labels")
    question.press_answer("As drafts")
    qtbot.waitUntil(lambda: "case2.png has another grid than the image" in question.text)
    assert len(dock.worklist.rows) == 1
    question.press_answer("Resample")
    qtbot.waitUntil(lambda: [row.state for row in dock.worklist.rows] == ["draft", "draft"])


def test_without_a_case_a_lone_mask_is_an_image_and_images_only_opens_them(
    dock: Dock, qtbot: QtBot, tmp_path: Path
) -> None:
    dock.worklist.importer.read([write_mask(tmp_path / "m" / "a_mask.png", phantom_labels())])
    qtbot.waitUntil(lambda: len(dock.worklist.rows) == 1)
    question = ask(dock, qtbot, write_phantom(tmp_path, 1), write_mask(tmp_path / "case1_mask.png", other_labels()))
    question.press_answer("Image only")
    qtbot.waitUntil(lambda: len(dock.worklist.rows) == 2)
    assert dock._workspace.project.read_records(ImportedMask) == []


def test_closing_while_a_pair_is_written_leaves_no_open_review_and_touches_the_project_no_more(
    dock: Dock, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, writes = threading.Event(), pair_worker.write_import

    def write_slowly(*arguments: object) -> object:
        begun.set()
        time.sleep(0.1)
        return writes(*arguments)

    monkeypatch.setattr(pair_worker, "write_import", write_slowly)
    ask(dock, qtbot, *write_pair(tmp_path)).press_answer("As draft")
    qtbot.waitUntil(begun.is_set)
    dock.close_down()
    assert dock._workspace.project.read_records(Review) == []
    dock._workspace.close()
    qtbot.wait(200)  # nothing of the thread arrives, which would read the closed project


def test_closing_while_the_first_pair_is_read_asks_nothing(
    dock: Dock, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, goes_on, reads = threading.Event(), threading.Event(), pair_import.read_first_pair

    def read_slowly(pair: MaskPair) -> Iterator[FirstPair]:
        begun.set()
        goes_on.wait(60)
        yield from reads(pair)

    monkeypatch.setattr(pair_import, "read_first_pair", read_slowly)
    dock.worklist.importer.read(write_pair(tmp_path))
    qtbot.waitUntil(begun.is_set)
    dock.close_down()
    dock._workspace.close()
    goes_on.set()
    qtbot.wait(200)
    assert not dock.masks.question.text
