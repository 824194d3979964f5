"""The coronal and sagittal slices follow the mouse, the slice and the strokes; a click goes there; nothing is slow."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from plugin_phantoms import phantom
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QMainWindow

from napari_medseg.core.image import Image
from napari_medseg.core.video.frame_paths import make_series
from napari_medseg.plugin.views.display_window import DisplayWindow
from napari_medseg.plugin.views.plane_slices import Plane
from napari_medseg.plugin.views.planes_dock import PlanesDock
from napari_medseg.workflow import cases
from napari_medseg.workflow.preferences import read_preferences

N_SLICES = 6


@pytest.fixture
def show(window: SimpleNamespace) -> Callable[[Image], None]:
    def open_image(image: Image) -> None:
        window.worklist.predicts_automatically = False
        (case,) = cases.add_cases(window.ws, [image], "lungs", force=True)
        window.case_controller.open(case, image)
        window.case_controller.restart_review()

    return open_image


@pytest.fixture
def planes(window: SimpleNamespace, qtbot: QtBot) -> Iterator[PlanesDock]:
    """The planes in a window of their own."""
    main = QMainWindow()
    qtbot.addWidget(main)
    chooser = DisplayWindow(window.case_controller, window.ws)
    dock = PlanesDock(window.viewer, window.ws, window.case_controller, chooser)
    dock.attach(main)
    main.resize(600, 300)
    main.show()
    yield dock
    dock.close_down()


def get_picture(planes: PlanesDock, plane: Plane) -> np.ndarray:
    pixels = planes.strip._views[plane]._pixels
    assert pixels is not None
    return pixels


def test_the_planes_are_offered_for_a_series_only_and_kept(
    window: SimpleNamespace, planes: PlanesDock, show: Callable[[Image], None]
) -> None:
    show(phantom(1))
    assert planes.checkbox.isHidden()
    show(phantom(2, N_SLICES))
    assert not planes.checkbox.isHidden()
    assert not planes.isVisible(), "off until somebody wants them"
    planes.checkbox.setChecked(True)
    assert planes.isVisible()
    assert read_preferences(window.ws.registry).shows_planes
    show(phantom(1))
    assert not planes.isVisible()
    show(phantom(2, N_SLICES))
    assert planes.isVisible()
    planes.close()
    assert not planes.checkbox.isChecked()
    assert not read_preferences(window.ws.registry).shows_planes


def test_frames_of_a_video_have_no_planes_through_time(
    window: SimpleNamespace, planes: PlanesDock, show: Callable[[Image], None], tmp_path: Path
) -> None:
    series = make_series(tmp_path / "op.mp4", 10, 10 + N_SLICES - 1)
    pixels = np.random.default_rng(1).integers(0, 255, (N_SLICES, 20, 30, 3), np.uint8)
    planes.checkbox.setChecked(True)
    show(Image(pixels, "ZYXC", units="rgb", name="op", sources=(series.path,)))
    assert planes.checkbox.isHidden()
    assert not planes.isVisible()
    assert planes.strip.focus is None


def test_they_follow_the_mouse_the_slice_and_the_strokes(
    window: SimpleNamespace, planes: PlanesDock, show: Callable[[Image], None], qtbot: QtBot
) -> None:
    show(phantom(2, N_SLICES))
    planes.checkbox.setChecked(True)
    current = window.case_controller.current
    window.viewer.cursor.position = current.image_layer.data_to_world((2, 20, 10))
    assert planes.strip.focus == (N_SLICES // 2, 20, 10)
    window.viewer.dims.set_point(0, 5.0)
    assert planes.strip.focus == (1, 20, 10)
    window.viewer.cursor.position = current.image_layer.data_to_world((2, 500, 10))
    assert planes.strip.focus == (1, 20, 10), "the mouse is beside the image"
    planes.strip.refresh()
    before = get_picture(planes, Plane.SAGITTAL).copy()
    assert np.array_equal(before[::-1, :, 0], current.image.pixels[:, :, 10])
    began = time.perf_counter()
    current.labels_layer.data_setitem((np.array([4]), np.array([20]), np.array([10])), 2)
    qtbot.waitUntil(lambda: not np.array_equal(before, get_picture(planes, Plane.SAGITTAL)))
    assert time.perf_counter() - began < 5, "far above 0.2 s, for a busy machine"
    changed = np.argwhere((before != get_picture(planes, Plane.SAGITTAL)).any(axis=-1))
    assert changed.tolist() == [[N_SLICES - 1 - 4, 20]]


def test_proportions_are_those_of_the_patient_and_sides_are_shown_only_if_known(
    planes: PlanesDock, show: Callable[[Image], None]
) -> None:
    show(phantom(2, N_SLICES))  # 5 x 0.5 x 0.5 mm
    planes.checkbox.setChecked(True)
    planes.strip.refresh()
    view = planes.strip._views[Plane.CORONAL]
    place = view._find_place()
    assert place.width() / place.height() == pytest.approx(64 * 0.5 / (N_SLICES * 5.0))
    assert not view._shows_sides
    affine = np.array([[0, 0, 0.5, 0], [0, 0.5, 0, 0], [5.0, 0, 0, 0], [0, 0, 0, 1]])
    show(replace(phantom(3, N_SLICES), affine=affine))
    planes.strip.refresh()
    assert view._shows_sides


def test_a_click_goes_to_slice_and_place(
    window: SimpleNamespace, planes: PlanesDock, show: Callable[[Image], None]
) -> None:
    show(phantom(2, N_SLICES))
    planes.checkbox.setChecked(True)
    planes.strip._views[Plane.CORONAL].pointed.emit(0.5, 0.0)
    assert planes.strip.focus == (N_SLICES - 1, 24, 32)
    assert window.viewer.dims.point[0] == pytest.approx(5.0 * (N_SLICES - 1))
    planes.strip._views[Plane.SAGITTAL].pointed.emit(1.0, 1.0)
    assert planes.strip.focus == (0, 47, 32)
    assert window.viewer.dims.point[0] == pytest.approx(0.0)


def test_nothing_is_drawn_while_they_are_hidden(
    window: SimpleNamespace, planes: PlanesDock, show: Callable[[Image], None]
) -> None:
    show(phantom(2, N_SLICES))
    window.viewer.cursor.position = (0, 5, 5)
    planes.strip.refresh()
    assert planes.strip._views[Plane.CORONAL]._pixels is None
    assert not planes.strip._timer.isActive()


def test_large_series_are_drawn_more_rarely_not_more_slowly(planes: PlanesDock, show: Callable[[Image], None]) -> None:
    show(replace(phantom(2), pixels=np.zeros((200, 400, 400), np.int16), axes="ZYX", spacing_mm=(1.0, 1.0, 1.0)))
    planes.checkbox.setChecked(True)
    planes.strip.refresh()
    began = time.process_time()
    for _ in range(5):
        planes.strip.refresh()
    assert (time.process_time() - began) / 5 < 0.06
    assert planes.strip._timer.interval() >= 50
