"""Slides in the window: they open lazily, fields become cases, and the way there and back."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from plugin_phantoms import Texts, write_phantom
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QWidget
from slide_phantoms import make_picture, write_pyramid

from napari_medseg.core.slides.fields import Field, place_of
from napari_medseg.core.slides.grid import GridChoice
from napari_medseg.core.tasks.bundled_tasks import get_task
from napari_medseg.plugin.slides.slide_sight import describe_zoom
from napari_medseg.plugin.slides.slide_view import SlideView
from napari_medseg.plugin.widgets.worker import MAX_WAITING
from napari_medseg.workflow.cases import list_cases


@pytest.fixture
def slides(window: SimpleNamespace, qtbot: QtBot) -> Iterator[SlideView]:
    parent = QWidget()
    qtbot.addWidget(parent)
    window.worklist.set_predicts_automatically(False)
    view = SlideView(window.viewer, window.ws, window.case_controller, window.worklist, parent)
    yield view
    view.close_down()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "slides").mkdir()
    return write_pyramid(tmp_path / "slides/a.svs", make_picture(), 4)


def names(window: SimpleNamespace) -> list[str]:
    return [layer.name for layer in window.viewer.layers]


def test_a_dropped_slide_opens_as_a_lazy_layer_with_its_resolution(
    window: SimpleNamespace, slides: SlideView, path: Path, qtbot: QtBot
) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
    button, key = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    drop = QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, data, button, key)
    assert window.worklist.importer.accept_drop(drop)
    qtbot.waitUntil(lambda: slides.is_on_slide)
    assert window.worklist.rows == []  # it is no image
    layer = window.viewer.layers[0]
    assert layer.multiscale
    assert tuple(layer.scale) == pytest.approx((0.00025, 0.00025))
    assert layer.data.shapes == ((1500, 2050, 3), (750, 1025, 3), (375, 513, 3))
    assert slides.strip.level.count() == 2
    assert window.worklist.task.name == "nuclei"  # the file decides, as for an image
    assert names(window) == ["a.svs"]  # no layer of outlines without a field
    slides.close_slide()
    assert names(window) == []


def test_fields_become_cases_and_a_click_leads_there_and_back(
    window: SimpleNamespace, slides: SlideView, path: Path, qtbot: QtBot
) -> None:
    slides.open(path)
    qtbot.waitUntil(lambda: slides.is_on_slide)
    slides.add_grid(GridChoice(size_px=200, min_share=0.9, max_fields=3))
    qtbot.waitUntil(lambda: len(window.worklist.rows) == 3 and not slides.added.is_reading)
    assert {place_of(row.case).slide for row in window.worklist.rows} == {path}
    assert len({row.case.group for row in window.worklist.rows}) == 1
    assert slides.strip.fields.toolTip().startswith("3 fields: 3 new.")
    assert names(window) == ["a.svs", "fields of a.svs"]
    case = window.worklist.rows[1].case
    place = place_of(case)
    sides = window.viewer.layers["fields of a.svs"]
    assert sides.data[4:8, 0].tolist() == [
        [place.y, place.x],
        [place.y, place.x + 200],
        [place.y + 200, place.x + 200],
        [place.y + 200, place.x],
    ]
    assert sides.edge_color[0].tolist() == pytest.approx([86 / 255, 180 / 255, 233 / 255, 1], abs=1e-3)  # new
    found = slides.slide.outlines.find_case([(place.y + 10) * 0.00025, (place.x + 10) * 0.00025])
    assert found == case
    window.worklist.open(case)
    qtbot.waitUntil(lambda: window.case_controller.current is not None)
    assert "a.svs" not in names(window)
    assert np.array_equal(
        window.case_controller.current.image.pixels[:5], make_picture()[place.y :, place.x :][:5, :200]
    )
    assert not slides.strip.back.isHidden()
    slides.show_slide()
    qtbot.waitUntil(lambda: slides.is_on_slide)
    assert window.case_controller.current is None
    qtbot.waitUntil(lambda: names(window) == ["a.svs", "fields of a.svs"])


def drag(window: SimpleNamespace, *places: tuple[float, float]) -> None:
    """Press, move and release the left button at places in pixels of level 0; one place is a click."""
    event = SimpleNamespace(type="mouse_press", button=1, pos=(0, 0), position=(0.0, 0.0))
    (callback,) = [each for each in window.viewer.mouse_drag_callbacks if each.__name__ in ("_drag", "_click")][-1:]
    event.position = tuple(value * 0.00025 for value in places[0])
    steps = callback(window.viewer, event)
    next(steps)
    for number, place in enumerate(places[1:], start=1):
        event.type, event.pos = "mouse_move", (50 * number, 40 * number)
        event.position = tuple(value * 0.00025 for value in place)
        next(steps)
    event.type = "mouse_release"
    with suppress(StopIteration):
        next(steps)


def test_a_drag_draws_a_field_and_a_click_opens_it(
    window: SimpleNamespace, slides: SlideView, path: Path, qtbot: QtBot
) -> None:
    slides.open(path)
    qtbot.waitUntil(lambda: slides.is_on_slide)
    slides.strip.draw.setChecked(True)
    assert not window.viewer.scene.camera.mouse_pan
    drag(window, (700, 900), (650, 850), (600, 800))  # also upwards and to the left
    qtbot.waitUntil(lambda: len(window.worklist.rows) == 1 and not slides.added.is_reading)
    assert place_of(window.worklist.rows[0].case) == Field(path, 0, 600, 800, 100, 100)
    slides.strip.level.setCurrentIndex(1)
    drag(window, (750, 1000))  # a click makes one of the usual size, as far as the slide reaches
    qtbot.waitUntil(lambda: len(window.worklist.rows) == 2 and not slides.added.is_reading)
    assert place_of(window.worklist.rows[1].case) == Field(path, 1, 0, 0, 375, 513)
    slides.strip.draw.setChecked(False)
    assert window.viewer.scene.camera.mouse_pan
    assert names(window) == ["a.svs", "fields of a.svs"]
    drag(window, (640, 840))
    qtbot.waitUntil(lambda: window.case_controller.current is not None)
    assert window.case_controller.current.case == window.worklist.rows[0].case  # the smaller one of two


def test_after_a_restart_a_field_finds_its_slide(
    window: SimpleNamespace, slides: SlideView, path: Path, qtbot: QtBot
) -> None:
    slides.add_fields([Field(path, 0, 600, 800, 128, 128), Field(path, 9, 0, 0, 64, 64)])  # the second is refused
    qtbot.waitUntil(lambda: len(window.worklist.rows) == 1 and not slides.added.is_reading)
    assert slides.slide is None
    window.worklist.open(window.worklist.rows[0].case)
    qtbot.waitUntil(lambda: window.case_controller.current is not None)
    assert not slides.strip.back.isHidden()
    slides.show_slide()
    qtbot.waitUntil(lambda: slides.is_on_slide)
    assert slides.slide.blocks.path == path
    assert window.viewer.scene.camera.center[-2:] == pytest.approx((664 * 0.00025, 864 * 0.00025))


def test_a_slide_that_waits_is_shown_though_a_field_of_another_one_is_open(
    window: SimpleNamespace, slides: SlideView, path: Path, qtbot: QtBot
) -> None:
    other = write_pyramid(path.with_name("b.svs"), make_picture(1100, 1100, seed=1), 4)
    slides.open(path)
    qtbot.waitUntil(lambda: slides.is_on_slide)
    slides.add_fields([Field(other, 0, 100, 100, 64, 64)])
    qtbot.waitUntil(lambda: len(window.worklist.rows) == 1 and not slides.added.is_reading)
    window.worklist.open(window.worklist.rows[0].case)
    qtbot.waitUntil(lambda: window.case_controller.current is not None)
    slides.open(path)  # chosen in the strip, or dropped again
    qtbot.waitUntil(lambda: slides.is_on_slide)
    assert slides.slide.path == path


def test_fields_are_read_no_faster_than_they_are_added(
    window: SimpleNamespace, slides: SlideView, path: Path, qtbot: QtBot
) -> None:
    """A grid has a thousand fields of 3 MB, and more."""
    waiting: list[int] = []
    window.worklist.image_loaded.connect(lambda *_: waiting.append(slides.added._workers[0].n_waiting))
    slides.add_fields([Field(path, 0, 300 + 8 * number, 400, 16, 16) for number in range(40)])
    qtbot.waitUntil(lambda: len(waiting) == 40 and not slides.added.is_reading)
    assert max(waiting) <= MAX_WAITING + 1


def test_accepted_fields_show_their_labels_on_the_slide(
    window: SimpleNamespace, slides: SlideView, path: Path, qtbot: QtBot
) -> None:
    slides.add_fields([Field(path, 0, 600, 800, 128, 100)])
    qtbot.waitUntil(lambda: len(window.worklist.rows) == 1 and not slides.added.is_reading)
    controller, case = window.case_controller, window.worklist.rows[0].case
    window.worklist.open(case)
    qtbot.waitUntil(lambda: controller.current is not None)
    controller.show_prediction(None)  # empty labels, to be painted
    qtbot.waitUntil(lambda: controller.current.edit_session is not None)
    controller.current.labels_layer.data_setitem((np.array([5, 6]), np.array([7, 7])), 1)
    with qtbot.waitSignal(controller.decided):
        controller.accept()
    slides.show_slide()
    qtbot.waitUntil(lambda: "corrected fields of a.svs" in names(window))
    shown = window.viewer.layers["corrected fields of a.svs"]
    assert np.argwhere(np.asarray(shown.data[0][600:728, 800:900])).tolist() == [[5, 7], [6, 7]]
    assert not shown.editable
    before = shown.get_color(1).tolist()
    slides.slide.corrected.show([], get_task("instruments"))
    assert shown.get_color(1).tolist() != before  # none is shown in the colours of the task before
    assert not np.asarray(shown.data[0][600:728, 800:900]).any()


def test_other_files_of_a_drop_are_read_as_images(
    window: SimpleNamespace, slides: SlideView, path: Path, tmp_path: Path, qtbot: QtBot
) -> None:
    window.worklist.importer.read([path, write_phantom(tmp_path / "in", 1)])
    qtbot.waitUntil(lambda: slides.slide is not None and len(list_cases(window.ws)) == 1)


def test_a_folder_of_slides_lists_all_and_opens_the_first(
    window: SimpleNamespace, slides: SlideView, path: Path, qtbot: QtBot
) -> None:
    other = write_pyramid(path.with_name("b.svs"), make_picture(1100, 1100, seed=1), 4)
    window.worklist.importer.read([path.parent])
    qtbot.waitUntil(lambda: slides.is_on_slide)
    assert slides.slide.path == path
    assert [slides.strip.slides.itemData(n) for n in range(slides.strip.slides.count())] == [path, other]
    slides.strip.slide_chosen.emit(other)
    qtbot.waitUntil(lambda: slides.slide is not None and slides.slide.path == other and slides.is_on_slide)


def test_a_slide_that_cannot_be_opened_is_told_and_the_next_one_opens(
    slides: SlideView, path: Path, told: Texts, qtbot: QtBot
) -> None:
    broken = path.with_name("broken.svs")
    broken.write_bytes(path.read_bytes()[:100])
    slides.open(broken)
    qtbot.waitUntil(lambda: any("broken.svs" in text for text in told))
    assert slides.slide is None
    slides.open_slides([path])
    qtbot.waitUntil(lambda: slides.is_on_slide)
    assert slides.slide.path == path


@pytest.mark.parametrize(("zoom", "text"), [(4000, "0.25 µm 40×"), (1000, "1 µm 10×"), (2, "500 µm")])
def test_the_zoom_is_told_as_a_microscope_would(zoom: float, text: str) -> None:
    assert describe_zoom(zoom, in_mm=True) == text
