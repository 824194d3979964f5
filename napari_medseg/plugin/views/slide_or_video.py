"""A slide and a video may be open at the same time: only one of them is in the canvas, and none beside a case."""

from qtpy.QtCore import QObject

from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.slides.slide_view import SlideView
from napari_medseg.plugin.video.video_desk import VideoDesk


class SlideOrVideo(QObject):
    """Hides the one when the other is shown. When a case is closed, the one comes back that was seen last.

    Parameters
    ----------
    slides, video, case_controller
        Both, and the open case.
    """

    def __init__(self, slides: SlideView, video: VideoDesk, case_controller: CaseController) -> None:
        super().__init__(video)
        self._slides = slides
        self._video = video
        self._case_controller = case_controller
        self._is_video_last = False
        slides.may_return = lambda: not (self._is_video_last and video.shown is not None)
        video.may_return = lambda: self._is_video_last or slides.slide is None
        slides.seen.connect(self._on_slide_seen)
        video.seen.connect(self._on_video_seen)
        slides.strip.close_requested.connect(self._on_closed)
        video.strip.close_requested.connect(self._on_closed)
        video.place.closed.connect(self._on_closed)

    def _on_slide_seen(self) -> None:
        self._is_video_last = False
        self._video.hide()

    def _on_video_seen(self) -> None:
        self._is_video_last = True
        self._slides.hide_slide()

    def _on_closed(self) -> None:
        """Show the other one if nothing else is seen."""
        if self._case_controller.current is not None:
            return
        if self._video.shown is not None:
            self._video.show_again()
        elif self._slides.slide is not None:
            self._slides.show_slide()
