import numpy as np
import pytest
from workflow_phantoms import phantom_labels

from napari_medseg.core.editing.canvas import Canvas
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.editing.through_slices import propose_on_neighbours
from napari_medseg.core.image import Image
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.inference.events import PredictionResult
from napari_medseg.workflow.cases import add_cases
from napari_medseg.workflow.guidance.surroundings import Surroundings, has_changes_on_plane
from napari_medseg.workflow.review import open_review, record_prediction
from napari_medseg.workflow.workspace import Workspace


@pytest.mark.parametrize("plane", [0, 4, 7])
def test_the_slices_around_one_give_the_same_proposals_as_the_volume(ws: Workspace, plane: int) -> None:
    labels = np.stack([phantom_labels()] * 8)
    pixels = np.where(labels > 0, 30, 170).astype(np.uint8)
    image = Image(pixels, "ZYX", (5.0, 0.7, 0.7), name="volume", group="p")
    case = add_cases(ws, [image], "lungs")[0]
    prediction = record_prediction(ws, case, PredictionResult(labels, 0.1, None, 1.0, "CPU"), "lungs-unet@1")
    draft = open_review(ws, case, prediction)
    uncertainty = np.zeros(labels.shape, np.uint8)
    uncertainty[:, 20:30, 18:26] = 45
    assert not has_changes_on_plane(draft, plane)
    where = np.ravel_multi_index(np.mgrid[plane : plane + 1, 20:30, 18:26].reshape(3, -1), labels.shape)
    draft.record(where, 1, 0)
    draft.record(np.ravel_multi_index((plane - 1 if plane else 1, 22, 20), labels.shape)[None], 1, 1)
    assert has_changes_on_plane(draft, plane)
    (found,) = Surroundings.cut(draft, plane, TASKS["lungs"], image, uncertainty).propose()
    protected = np.zeros(labels.shape, np.bool_)
    protected.reshape(-1)[draft.edited_indices] = True
    whole = Canvas(draft.labels, TASKS["lungs"], image.spacing_mm, protected, pixels, uncertainty=uncertainty)
    change = Edit(labels.shape, draft._journal.applied_strokes[0].voxel_runs, "")
    wanted = propose_on_neighbours(whole, change, plane)
    assert found
    assert [edit.message for edit in found] == [edit.message for edit in wanted]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one.voxel_runs, other.voxel_runs)
        one.check_is_current(draft.labels)
