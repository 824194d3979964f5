"""A mask of another person as the second reading of a case that was accepted here.

The first reading stays the ground truth until somebody chooses the other one, as of every second reading.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.project.case_files import read_case_labels
from napari_medseg.core.readings.records import FIRST, SECOND
from napari_medseg.core.records import Case, Correction, Review, ReviewState, now
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.workflow.cases import find_image_case
from napari_medseg.workflow.draft_opening import ReviewStart
from napari_medseg.workflow.second_reader.current_reader import clean_name
from napari_medseg.workflow.workspace import Workspace


def find_first_reading(ws: Workspace, image: Image, task: str) -> tuple[Case, Correction] | None:
    """Return the case of an image with its first accepted labels; `None` if nobody accepted any."""
    case = find_image_case(ws, image, task)
    if case is None:
        return None
    history = ws.project.read_case_history(case.id)
    is_accepted = history.closed_review is not None and history.closed_review.state is ReviewState.ACCEPTED
    firsts = [one for one in ws.project.read_records(Correction, "case_id", case.id) if one.reading == FIRST]
    return (case, firsts[-1]) if is_accepted and firsts else None


def begin_second_reading(
    ws: Workspace, image: Image, task: Task, labels: NDArray[Any], reader: str
) -> tuple[Case, ReviewStart | None]:
    """Open the second review of a case for labels that another person made elsewhere; in the main thread.

    Parameters
    ----------
    ws, image, task, labels
        Open project; the image, its task, and the labels on its grid.
    reader
        Clear name of that person, which stays in the project's table of identities.

    Returns
    -------
    tuple
        The case, and its review; `None` if the case has these labels of that person already.

    Raises
    ------
    MedSegError
        If nobody accepted the case, the same person did, or it has a second reading.
    """
    found = find_first_reading(ws, image, task.name)
    if found is None:
        raise MedSegError(
            "nobody accepted labels of this image here, so there is no first reading to compare with. Import or accept "
            "those first."
        )
    case, first = found
    name = clean_name(reader)
    label = ws.project.identities.find_reader(name)
    if label and label == first.who:
        raise MedSegError(f"{name} read this case first. A second reading is by another person.")
    others = [one for one in ws.project.read_records(Review, "case_id", case.id) if one.reading == SECOND]
    done = [one for one in ws.project.read_records(Correction, "case_id", case.id) if one.reading == SECOND]
    if others:
        if done and done[-1].who == label and np.array_equal(_read(ws, case, done[-1]), labels):
            return case, None
        raise MedSegError("a second person has read this case already, or begun to. Two readings are kept of a case.")
    return case, _open(ws, case, task, label or ws.project.identities.key_reader(name))


def _open(ws: Workspace, case: Case, task: Task, who: str) -> ReviewStart:
    review = ws.project.insert(
        Review(
            id=0,
            case_id=case.id,
            prediction_id=None,  # no model of this project proposed these labels
            state=ReviewState.OPEN,
            seconds=0.0,
            changed_voxels=0,
            who=who,
            opened=now(),
            closed=None,
            reading=SECOND,
        )
    )
    return ReviewStart(
        folder=ws.project.folder,
        case=case,
        review=review,
        first=None,
        newest=None,
        correction=None,
        was_compared=False,
        is_of_instances=task.instances,
        label_dtype=np.dtype(np.uint16) if task.instances else np.min_scalar_type(task.largest_value),
        is_new=True,
    )


def _read(ws: Workspace, case: Case, correction: Correction) -> NDArray[Any]:
    return read_case_labels(ws.project.folder, case, correction)
