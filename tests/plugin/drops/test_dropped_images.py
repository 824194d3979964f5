"""A drop of mixed kinds is sorted by task and waits for a word before anything is predicted."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from plugin_phantoms import write_phantom, write_version
from pytestqt.qtbot import QtBot

from napari_medseg.core import formats
from napari_medseg.core.image import Image
from napari_medseg.plugin.dock import Dock
from napari_medseg.workflow.cases import list_cases
from napari_medseg.workflow.workspace import Workspace


@pytest.fixture
def dock(ws: Workspace, make_dock: Callable[[Workspace], Dock], qtbot: QtBot, tmp_path: Path) -> Dock:
    """Two grey slices and a stained tile, dropped together."""
    write_version(tmp_path / "bundled" / "nuclei-unet" / "1", name="nuclei-unet", task="nuclei")
    made = make_dock(ws)
    tile = np.full((48, 64, 3), (230, 180, 220), np.uint8)
    tile[4:9, 4:9] = (120, 60, 150)
    paths = [write_phantom(tmp_path / "in", 1), write_phantom(tmp_path / "in", 2), tmp_path / "in" / "tile.png"]
    formats.write_image(paths[-1], Image(tile, "YXC", name="tile"))
    with qtbot.waitSignal(made.worklist.importer.finished):
        made.worklist.importer.read(paths)
    return made


def count(dock: Dock, task: str) -> int:
    return len(list_cases(dock._workspace, task))


def test_it_is_sorted_and_nothing_is_predicted_until_a_person_agrees(dock: Dock, qtbot: QtBot) -> None:
    assert (count(dock, "lungs"), count(dock, "nuclei")) == (2, 1)
    assert "2 grey images for Lungs" in dock.prompt.text
    assert "1 histology image for" in dock.prompt.text
    qtbot.wait(50)
    assert dock._workspace.engine.asked == []
    dock.prompt.press_answer("Sorted well")
    qtbot.waitUntil(lambda: [row.state for row in dock.worklist.rows] == ["predicted", "predicted"])


def test_it_is_redirected_as_a_whole_and_undone(dock: Dock, qtbot: QtBot) -> None:
    dock.prompt.press_choice("Other task", "All 3 images for", dock._workspace.tasks.get_task("lungs").title)
    assert (count(dock, "lungs"), count(dock, "nuclei")) == (3, 0)
    assert dock._workspace.engine.asked == []
    dock.prompt.press_answer("Undo")
    assert (count(dock, "lungs"), count(dock, "nuclei")) == (2, 1)
    dock.worklist.step(1)
    qtbot.waitUntil(lambda: all(row.state == "predicted" for row in dock.worklist.rows))


@pytest.mark.parametrize("part", ["2 grey images", "1 histology image"])
def test_each_part_goes_to_any_task_before_anything_is_predicted(dock: Dock, qtbot: QtBot, part: str) -> None:
    """The open image is in the first part only."""
    covid = dock._workspace.tasks.get_task("covid")
    dock.prompt.press_choice("Other task", f"{part} for", covid.title)
    expected = (0, 1, 2) if part.startswith("2") else (2, 0, 1)
    assert (count(dock, "lungs"), count(dock, "nuclei"), count(dock, "covid")) == expected
    assert f"{part} for {covid.title}" in dock.prompt.text
    qtbot.wait(50)
    assert dock._workspace.engine.asked == [], "it asks again before it predicts"
    assert dock.case_controller.current.case == dock.worklist.drops.cases[0], "the first image stays open"
    dock.prompt.press_answer("Undo")
    assert (count(dock, "lungs"), count(dock, "nuclei"), count(dock, "covid")) == (2, 1, 0)
    dock.prompt.press_answer("Sorted well")
    qtbot.waitUntil(lambda: [row.state for row in dock.worklist.rows] == ["predicted", "predicted"])


def test_a_person_who_goes_on_has_agreed(dock: Dock, qtbot: QtBot) -> None:
    dock.worklist.step(1)
    qtbot.waitUntil(lambda: [row.state for row in dock.worklist.rows] == ["predicted", "predicted"])


@pytest.mark.parametrize("goes_on", ["another drop", "next case"])
def test_the_question_goes_when_its_drop_is_no_longer_the_last_or_a_person_went_on(
    dock: Dock, qtbot: QtBot, tmp_path: Path, goes_on: str
) -> None:
    """Its answers would move the cases of an earlier drop, and show the first one of the next, which may have none."""
    assert dock.prompt.text
    if goes_on == "next case":
        dock.worklist.step(1)
    else:
        with qtbot.waitSignal(dock.worklist.importer.finished):
            dock.worklist.importer.read([write_phantom(tmp_path / "later", 3)])
    qtbot.waitUntil(lambda: dock.prompt.text == "")


def test_a_question_of_something_else_stays_when_a_drop_is_released(dock: Dock) -> None:
    dock.prompt.ask("Another question?", [("Yes", lambda: None)])
    dock.worklist.drops.release()
    assert dock.prompt.text == "Another question?"
