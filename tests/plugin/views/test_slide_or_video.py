"""A slide and a video are open together: one of them is seen, and the one seen last comes back after a case."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from plugin_phantoms import phantom
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QWidget
from slide_phantoms import make_picture, write_pyramid
from video_phantoms import write_video

from napari_medseg.core.image import Image
from napari_medseg.plugin.slides.slide_view import SlideView
from napari_medseg.plugin.video.video_desk import VideoDesk
from napari_medseg.plugin.views.flat_view import FlatView
from napari_medseg.plugin.views.slide_or_video import SlideOrVideo
from napari_medseg.workflow import cases


@pytest.fixture
def both(window: SimpleNamespace, qtbot: QtBot) -> Iterator[SimpleNamespace]:
    dock = QWidget()
    qtbot.addWidget(dock)
    window.worklist.predicts_automatically = False
    parts = window.viewer, window.ws, window.case_controller, window.worklist
    video = VideoDesk(*parts, window.prediction_queue, dock)
    slides = SlideView(*parts, dock)
    turns = SlideOrVideo(slides, video, window.case_controller)
    flat = FlatView(window.viewer, slides, video, window.case_controller)
    yield SimpleNamespace(video=video, slides=slides, turns=turns, flat=flat)
    flat.close()
    slides.close_down()
    video.close_down()


def is_on_video(both: SimpleNamespace) -> bool:
    shown = both.video.shown
    return shown is not None and shown.is_visible and not shown.is_waiting


def test_one_of_them_is_seen(window: SimpleNamespace, both: SimpleNamespace, qtbot: QtBot, tmp_path: Path) -> None:
    video, slides = both.video, both.slides
    window.worklist.importer.read(
        [write_pyramid(tmp_path / "S-1.svs", make_picture(), 4), write_video(tmp_path / "op.mp4")]
    )
    qtbot.waitUntil(lambda: video.shown is not None and slides.slide is not None)
    qtbot.waitUntil(lambda: is_on_video(both) != slides.is_on_slide)
    video.go_to(20)
    qtbot.waitUntil(lambda: is_on_video(both) and not slides.is_on_slide)
    slides.strip.back_requested.emit()
    assert slides.is_on_slide
    assert not is_on_video(both)
    assert not video.strip.back_button.isHidden()
    video.strip.back_requested.emit()
    qtbot.waitUntil(lambda: is_on_video(both) and not slides.is_on_slide)
    assert video.shown.wanted == 20
    video.take_frame()
    qtbot.waitUntil(lambda: window.case_controller.current is not None)
    assert not is_on_video(both)
    window.case_controller.close_case()
    qtbot.waitUntil(lambda: is_on_video(both) and not slides.is_on_slide)
    video.strip.close_requested.emit()
    assert slides.is_on_slide
    window.worklist.open(window.worklist.rows[0].case)
    qtbot.waitUntil(lambda: window.case_controller.current is not None)
    window.case_controller.close_case()
    assert slides.is_on_slide


def test_only_a_volume_is_seen_in_3d(
    window: SimpleNamespace, both: SimpleNamespace, qtbot: QtBot, tmp_path: Path
) -> None:
    dims = window.viewer.dims

    def open_image(image: Image) -> None:
        (case,) = cases.add_cases(window.ws, [image], "lungs", force=True)
        window.case_controller.open(case, image)

    dims.ndisplay = 3
    assert dims.ndisplay == 3, "what is not ours is left to napari"
    window.worklist.importer.read([write_pyramid(tmp_path / "S-1.svs", make_picture(), 4)])
    qtbot.waitUntil(lambda: both.slides.is_on_slide)
    assert dims.ndisplay == 2
    dims.ndisplay = 3
    assert dims.ndisplay == 2
    assert both.flat.explain() == "The 3-D view is for volumes; a slide is shown in 2-D."
    window.worklist.importer.read([write_video(tmp_path / "op.mp4")])
    qtbot.waitUntil(lambda: is_on_video(both))
    dims.ndisplay = 3
    assert dims.ndisplay == 2
    assert both.flat.explain() == "The 3-D view is for volumes; a video is shown in 2-D."
    open_image(phantom(2, 4))
    dims.ndisplay = 3
    assert dims.ndisplay == 3
    assert both.flat.explain() == ""
    open_image(phantom(3))
    assert dims.ndisplay == 2
    assert both.flat.explain() == "The 3-D view is for volumes; this image is shown in 2-D."
