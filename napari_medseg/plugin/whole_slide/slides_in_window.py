"""Slides in the window: the view of a slide with its fields, and the prediction of all of it."""

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

from napari_medseg.plugin.controllers.case_controller import CaseController
from napari_medseg.plugin.controllers.prediction_queue import PredictionQueue
from napari_medseg.plugin.controllers.worklist import Worklist
from napari_medseg.plugin.slides.slide_view import SlideView
from napari_medseg.plugin.whole_slide.whole_slide_prediction import WholeSlidePrediction
from napari_medseg.workflow.workspace import Workspace

if TYPE_CHECKING:
    from napari import Viewer


def make_slide_view(
    viewer: "Viewer",
    workspace: Workspace,
    cases: CaseController,
    worklist: Worklist,
    queue: PredictionQueue,
    parent: QWidget,
) -> SlideView:
    """Return the view of slides, whose strip has the row that predicts the whole slide; parameters as of both."""
    view = SlideView(viewer, workspace, cases, worklist, parent)
    prediction = WholeSlidePrediction(viewer, workspace, queue, lambda: worklist.task, view)
    prediction.add_to(view.strip)
    worklist.task_changed.connect(prediction.follow_task)
    return view
