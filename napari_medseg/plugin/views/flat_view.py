"""napari's 3-D view is for volumes: a slide, a video, a plane and a stack of photographs are shown in 2-D."""

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.slides.slide_view import SlideView
from napari_medseg.plugin.video.video_desk import VideoDesk
from napari_medseg.plugin.views.stack_axis import find_stack_axis
from napari_medseg.plugin.widgets.notifications import show_notice

if TYPE_CHECKING:
    from napari import Viewer


class FlatView(QObject):
    """Goes back to 2-D where 3-D shows nothing; a case always opens on its slices.

    Parameters
    ----------
    viewer
        napari's viewer.
    slides, video, case_controller
        What may be seen.
    """

    def __init__(self, viewer: "Viewer", slides: SlideView, video: VideoDesk, case_controller: CaseController) -> None:
        super().__init__(slides)
        self._viewer = viewer
        self._slides = slides
        self._video = video
        self._case_controller = case_controller
        viewer.dims.events.ndisplay.connect(self._on_ndisplay)
        for begins in (slides.seen, video.seen, case_controller.leaving):
            begins.connect(self._show_slices)
        case_controller.opened.connect(self._on_opened)

    def close(self) -> None:
        """Disconnect from the viewer."""
        self._viewer.dims.events.ndisplay.disconnect(self._on_ndisplay)

    def explain(self) -> str:
        """Return why what is seen has no 3-D view; empty if it has one, or nothing of this program is seen."""
        current, shown = self._case_controller.current, self._video.shown
        what = ""
        if shown is not None and shown.is_visible:
            what = "a video"
        elif self._slides.is_on_slide:
            what = "a slide"
        elif current is not None and (axis := find_stack_axis(current.image)) != "z":
            what = {None: "this image", "t": "a series of frames"}.get(axis, "a stack of pictures")
        return f"The 3-D view is for volumes; {what} is shown in 2-D." if what else ""

    def _on_ndisplay(self, _event: object) -> None:
        if self._viewer.dims.ndisplay == 3 and (reason := self.explain()):
            self._show_slices()
            show_notice(reason)

    def _on_opened(self) -> None:
        if self._viewer.dims.ndisplay == 3 and self.explain():
            self._show_slices()

    def _show_slices(self) -> None:
        self._viewer.dims.ndisplay = 2
