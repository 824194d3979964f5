"""What the buttons of the strip ask before they do something."""

from enum import Enum
from typing import TYPE_CHECKING

from magicgui.widgets import FunctionGui
from qtpy.QtWidgets import QWidget

from napari_medseg.core.video.frame_index import FrameIndex
from napari_medseg.plugin.forms.form_dialog import FormDialog
from napari_medseg.plugin.video import video_forms
from napari_medseg.plugin.video.video_forms import FrameRange

if TYPE_CHECKING:
    from napari_medseg.plugin.video.video_desk import VideoDesk


class Question(Enum):
    """Which form is shown: the title of its window and the text of its button."""

    EVERY = ("Choose every n-th frame", "Choose")
    CHANGE = ("Choose frames where the image changes", "Choose")
    SERIES = ("Correct a short series through time", "Open")
    PREDICT = ("Predict a range", "Predict")
    EXPORT = ("Export of this video", "Export")


def show_form(desk: "VideoDesk", question: Question, index: FrameIndex, marked: FrameRange, parent: QWidget) -> None:
    """Show a form about the open video; `marked` are the first values of its range."""
    title, submit = question.value
    if question is Question.PREDICT:
        title += f" with {desk.cases.model or 'no model'}"
    FormDialog(title, submit, _make_form(desk, question, index, marked), parent).show()


def _make_form(desk: "VideoDesk", question: Question, index: FrameIndex, marked: FrameRange) -> FunctionGui:
    match question:
        case Question.EVERY:
            return video_forms.make_every_form(index, marked, desk.cases.choose_every)
        case Question.CHANGE:
            return video_forms.make_change_form(index, marked, desk.cases.choose_by_change)
        case Question.SERIES:
            return video_forms.make_series_form(index, desk.strip.number.value(), desk.cases.open_series)
        case Question.PREDICT:
            return video_forms.make_predict_form(index, marked, desk.predict_range)
    return video_forms.make_video_export_form(index, marked, desk.work.export_folder, desk.export)
