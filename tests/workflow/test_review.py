"""From prediction to correction: nothing lost, nothing overwritten, nothing wrong accepted."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from light_engine import write_light_python
from workflow_phantoms import SHAPE, phantom, phantom_labels, predicted, write_version

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.project.case_files import read_case_labels
from napari_medseg.core.records import Correction, Review, ReviewState
from napari_medseg.inference.engine.client import Engine
from napari_medseg.inference.events import PredictionResult
from napari_medseg.workflow.cases import add_cases, list_cases, list_current_corrections, load_image
from napari_medseg.workflow.draft_opening import begin_review
from napari_medseg.workflow.review import (
    WrittenPrediction,
    _write_predicted_labels,
    accept,
    list_draft_cases,
    merge_prediction,
    open_review,
    predict,
    record_prediction,
    reject,
    reset,
)
from napari_medseg.workflow.workspace import Workspace

Reopen = Callable[[], Workspace]

PAINTER = """
import sys, time
from pathlib import Path
from napari_medseg.core.records import Case
from napari_medseg.workflow.review import open_review
from napari_medseg.workflow.cases import list_cases
from napari_medseg.workflow.workspace import Workspace
ws = Workspace.open(Path(sys.argv[1]), Path(sys.argv[2]))
row = list_cases(ws)[0]
draft = open_review(ws, row.case, row.prediction)
for number in range(40):
    draft.record([number], int(draft.labels.ravel()[number]), 1)
draft.undo()
draft.add_seconds(33.0)
sys.stdout.write("painted\\n")
sys.stdout.flush()
time.sleep(60)
"""


def states(ws: Workspace) -> list[str]:
    return [row.state for row in list_cases(ws)]


def test_accepting_makes_an_immutable_correction_with_its_history(ws: Workspace) -> None:
    image = phantom(0)
    case, prediction = predicted(ws, image)
    assert states(ws) == ["predicted"]
    draft = open_review(ws, case, prediction)
    np.testing.assert_array_equal(draft.labels, phantom_labels())
    assert states(ws) == ["predicted"], "to look is not to edit"
    draft.record([0, 1, 2], 0, 1)
    draft.add_seconds(61.5)
    assert states(ws) == ["draft"]
    correction = accept(ws, draft, draft.labels, image)
    assert states(ws) == ["accepted"]
    assert (correction.seconds, correction.changed_voxels, correction.model) == (61.5, 3, "lungs-unet@1")
    assert correction.who
    labels = read_case_labels(ws.project.folder, case, correction)
    assert labels.ravel()[:4].tolist() == [1, 1, 1, 0]
    as_trained = formats.read(ws.project.folder / correction.image_file)
    np.testing.assert_array_equal(
        formats.read_labels(ws.project.folder / correction.labels_file, as_trained), draft.labels
    )
    review = ws.project.get_record(Review, correction.review_id)
    assert (review.state, review.seconds, review.changed_voxels) == (ReviewState.ACCEPTED, 61.5, 3)
    assert review.closed is not None
    with pytest.raises(MedSegError, match="closed already"):
        reject(ws, draft)


def test_kill_9_keeps_the_draft_for_the_next_start(open_workspace: Reopen, tmp_path: Path) -> None:
    ws = open_workspace()
    case, _ = predicted(ws, phantom(0))
    ws.close()
    command = [sys.executable, "-c", PAINTER, str(tmp_path / "project"), str(tmp_path / "registry")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as painter:
        assert painter.stdout is not None
        assert painter.stdout.readline() == b"painted\n"
        painter.send_signal(signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)

    ws = open_workspace()
    assert list_draft_cases(ws) == [case]
    draft = open_review(ws, case, list_cases(ws)[0].prediction)
    assert draft.labels.ravel()[:41].tolist() == [1] * 39 + [0, 0]
    assert draft.seconds == 33.0
    assert draft.redo() is not None, "what was undone can be made again"
    for _ in range(40):
        draft.undo()
    np.testing.assert_array_equal(draft.labels, phantom_labels())


def test_new_prediction_never_overwrites_an_edited_voxel(open_workspace: Reopen) -> None:
    ws = open_workspace()
    case, prediction = predicted(ws, phantom(0))
    draft = open_review(ws, case, prediction)
    draft.record([0, 1], 0, 1)
    newer = np.full(SHAPE, 2, np.uint8)
    merged = merge_prediction(draft, newer, "lungs-unet@2")
    assert merged.ravel()[:3].tolist() == [1, 1, 2]

    result = PredictionResult(newer, 0.2, None, 1.0, "CPU")
    second = record_prediction(ws, case, result, "lungs-unet@2")
    ws = open_workspace()
    draft = open_review(ws, case, second)
    assert draft.labels.ravel()[:3].tolist() == [1, 1, 2]
    assert draft.changed_voxels == 2
    assert accept(ws, draft, draft.labels, phantom(0)).model == "lungs-unet@2"


def test_untouched_draft_takes_over_a_newer_prediction_and_an_edited_one_does_not(ws: Workspace) -> None:
    case, prediction = predicted(ws, phantom(0))
    open_review(ws, case, prediction).close()
    newer = np.where(phantom_labels() == 1, 1, 0).astype(np.uint8)
    second = record_prediction(ws, case, PredictionResult(newer, 0.2, None, 1.0, "CPU"), "lungs-unet@2")
    draft = open_review(ws, case, second)
    np.testing.assert_array_equal(draft.labels, newer)
    assert (draft.model, draft.changed_voxels) == ("lungs-unet@2", 0)
    assert states(ws) == ["predicted"]
    draft.record([5], 0, 2)
    draft.close()
    third = record_prediction(ws, case, PredictionResult(phantom_labels(), 0.2, None, 1.0, "CPU"), "lungs-unet@3")
    draft = open_review(ws, case, third)
    assert draft.labels.ravel()[5] == 2
    assert draft.model == "lungs-unet@2"


def test_reset_brings_the_prediction_back_and_can_be_undone(ws: Workspace) -> None:
    case, prediction = predicted(ws, phantom(0))
    draft = open_review(ws, case, prediction)
    draft.record([0, 1], 0, 1)
    np.testing.assert_array_equal(reset(ws, draft), phantom_labels())
    draft.undo()
    assert draft.labels.ravel()[:2].tolist() == [1, 1]


def test_accepted_case_opens_again_with_what_was_accepted(ws: Workspace) -> None:
    image = phantom(0)
    case, prediction = predicted(ws, image)
    draft = open_review(ws, case, prediction)
    draft.record([0], 0, 1)
    first = accept(ws, draft, draft.labels, image)
    before = (ws.project.folder / first.labels_file).read_bytes()

    draft = open_review(ws, case, prediction)
    assert draft.labels.ravel()[0] == 1
    assert states(ws) == ["accepted"]
    assert draft.edited_indices.tolist() == [0]
    draft.record([1], 0, 1)
    assert states(ws) == ["draft"]
    second = accept(ws, draft, draft.labels, image)
    assert (second.id, second.changed_voxels) == (first.id + 1, 2)
    assert list_current_corrections(ws, "lungs") == [(case, second)]
    assert (ws.project.folder / first.labels_file).read_bytes() == before
    assert len(ws.project.read_records(Correction)) == 2


def test_an_opening_that_was_interrupted_starts_from_what_was_accepted(ws: Workspace) -> None:
    image = phantom(0)
    case, prediction = predicted(ws, image)
    draft = open_review(ws, case, prediction)
    draft.record([0], 0, 1)
    accept(ws, draft, draft.labels, image)
    begin_review(ws, case, prediction)  # then the window ends, before its thread has loaded the draft
    draft = open_review(ws, case, prediction)
    assert draft.labels.ravel()[0] == 1
    draft.reset()
    draft.close()
    assert open_review(ws, case, prediction).labels.ravel()[0] == 0, "it starts from it once"


def test_rejected_case_gives_no_correction_until_it_is_accepted(ws: Workspace) -> None:
    image = phantom(0)
    case, prediction = predicted(ws, image)
    draft = open_review(ws, case, prediction)
    accept(ws, draft, draft.labels, image)
    reject(ws, open_review(ws, case, prediction))
    assert states(ws) == ["rejected"]
    assert list_current_corrections(ws, "lungs") == []
    time.sleep(0.002)
    again = record_prediction(ws, case, PredictionResult(phantom_labels(), 0.1, None, 1.0, "CPU"), "lungs-unet@2")
    assert states(ws) == ["predicted"]
    accept(ws, open_review(ws, case, again), phantom_labels(), image)
    assert states(ws) == ["accepted"]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda labels: np.where(labels == 1, 2, np.where(labels == 2, 1, 0)).astype(np.uint8), "right|left|sides"),
        (lambda labels: np.where(labels == 2, 7, labels), "7"),
        (lambda labels: labels[:-1], "shape"),
    ],
    ids=["sides swapped", "unknown value", "another shape"],
)
def test_labels_that_must_not_become_truth_are_refused_and_the_draft_stays(
    ws: Workspace, spoil: Callable[[np.ndarray], np.ndarray], reason: str
) -> None:
    image = phantom(0)
    case, prediction = predicted(ws, image)
    draft = open_review(ws, case, prediction)
    draft.record([0], 0, 1)
    with pytest.raises(MedSegError, match=reason):
        accept(ws, draft, spoil(draft.labels.copy()), image)
    assert states(ws) == ["draft"]
    assert draft.labels.ravel()[0] == 1
    with pytest.raises(MedSegError, match="does not belong to"):
        accept(ws, draft, draft.labels, phantom(9))
    accept(ws, draft, draft.labels, image)


def test_edits_that_no_stroke_told_of_are_accepted_and_counted(ws: Workspace) -> None:
    case, prediction = predicted(ws, phantom(0))
    draft = open_review(ws, case, prediction)
    silent = draft.labels.copy()
    silent[0, :5] = 1
    correction = accept(ws, draft, silent, phantom(0))
    assert correction.changed_voxels == 5
    np.testing.assert_array_equal(read_case_labels(ws.project.folder, case, correction), silent)


@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.renames_open_folders
def test_a_renamed_project_refuses_to_save_and_keeps_the_draft(
    open_workspace: Reopen, tmp_path: Path, replaced: bool
) -> None:
    ws = open_workspace()
    image = phantom(0)
    case, prediction = predicted(ws, image)
    draft = open_review(ws, case, prediction)
    draft.record([5], 0, 1)
    folder, elsewhere = ws.project.folder, tmp_path / "renamed"
    folder.rename(elsewhere)
    if replaced:
        shutil.copytree(elsewhere, folder)
    before = set(folder.rglob("*")) if replaced else None
    with pytest.raises(MedSegError, match=r"was renamed, moved or replaced while it is open.*The draft is kept"):
        accept(ws, draft, draft.labels, image)
    with pytest.raises(MedSegError, match="was renamed"):
        reject(ws, draft)
    with pytest.raises(MedSegError, match="was renamed"):
        add_cases(ws, [phantom(1)], "lungs")
    draft.record([6], 0, 1)
    if replaced:
        assert set(folder.rglob("*")) == before
        folder.rename(tmp_path / "copy")
    assert not folder.exists(), "nothing is made at the old place"
    assert ws.project.get_record(Review, draft.review.id).state is ReviewState.OPEN
    assert ws.project.read_records(Correction) == []
    elsewhere.rename(folder)
    correction = accept(ws, draft, draft.labels, image)
    labels = read_case_labels(folder, case, correction)
    assert labels.ravel()[[5, 6]].tolist() == [1, 1], "also the stroke that was made meanwhile"


@pytest.mark.renames_open_folders
def test_the_first_stroke_in_a_renamed_project_is_refused_not_lost(ws: Workspace, tmp_path: Path) -> None:
    image = phantom(0)
    case, prediction = predicted(ws, image)
    draft = open_review(ws, case, prediction)
    painted = draft.labels.copy()
    painted.ravel()[5] = 1
    folder = ws.project.folder.rename(tmp_path / "renamed")
    with pytest.raises(MedSegError, match="was renamed"):
        draft.record_missed_changes(painted)
    folder.rename(ws.project.folder)
    correction = accept(ws, draft, painted, image)
    assert read_case_labels(ws.project.folder, case, correction).ravel()[5] == 1


def test_damaged_label_file_is_named(ws: Workspace) -> None:
    case, prediction = predicted(ws, phantom(0))
    path = ws.project.folder / prediction.labels_file
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(MedSegError, match="is damaged"):
        open_review(ws, case, prediction)
    path.unlink()
    with pytest.raises(MedSegError, match="is missing"):
        open_review(ws, case, prediction)


def test_labels_in_memory_open_a_review_like_those_on_disk(ws: Workspace) -> None:
    case, prediction = predicted(ws, phantom(0))
    from_disk = open_review(ws, case, prediction)
    from_disk.close()
    (ws.project.folder / prediction.labels_file).unlink()
    labels = phantom_labels().astype(np.uint32)
    draft = open_review(ws, case, prediction, labels)
    np.testing.assert_array_equal(draft.labels, from_disk.labels)
    assert draft.labels.dtype == from_disk.labels.dtype
    draft.record([0], 0, 1)
    assert labels.ravel()[0] == 0, "the labels belong to whoever gave them"


def test_equal_labels_are_written_once(ws: Workspace) -> None:
    case, prediction = predicted(ws, phantom(0))
    path = ws.project.folder / prediction.labels_file
    written = path.stat().st_mtime_ns
    again = record_prediction(ws, case, PredictionResult(phantom_labels(), 0.1, None, 1.0, "CPU"), "lungs-unet@1")
    assert again.labels_file == prediction.labels_file
    assert path.stat().st_mtime_ns == written


def test_a_large_volume_is_accepted_whole(ws: Workspace) -> None:
    rng = np.random.default_rng(0)
    shape = (120, 512, 512)
    labels = np.zeros(shape, np.uint8)
    labels[20:100, 100:400, 60:240] = 1
    labels[20:100, 100:400, 270:450] = 2
    pixels = np.where(labels > 0, np.int16(-850), np.int16(40))
    pixels += rng.integers(-30, 30, 512 * 512, dtype=np.int16).reshape(512, 512)
    volume = Image(pixels=pixels, axes="ZYX", spacing_mm=(1.0, 0.7, 0.7), units="HU", name="volume", group="p")
    case = add_cases(ws, [volume], "lungs")[0]
    prediction = record_prediction(ws, case, PredictionResult(labels, 0.1, None, 60.0, "CPU"), "lungs-unet@1")
    draft = open_review(ws, case, prediction)
    draft.record(np.arange(1000), 0, 1)
    correction = accept(ws, draft, draft.labels, volume)
    accepted = formats.read_labels(ws.project.folder / correction.labels_file, volume)
    np.testing.assert_array_equal(accepted, draft.labels)
    assert load_image(ws, case).content_hash == volume.content_hash


def test_engine_predicts_in_a_worker_and_the_main_thread_only_writes_the_row(ws: Workspace, tmp_path: Path) -> None:
    ws.engine = Engine(write_light_python(tmp_path))
    image = phantom(0)
    case = add_cases(ws, [image], "lungs")[0]
    events = predict(ws, case, image, with_uncertainty_map=True)
    with ThreadPoolExecutor(1) as worker:
        *_, result = worker.submit(list, events).result()
    assert isinstance(result, PredictionResult)
    assert result.uncertainty_map is not None
    files = list((ws.project.folder / "labels").iterdir())
    assert len(files) == 1
    prediction = record_prediction(ws, case, result, ws.registry.get_live_card("lungs").id)
    assert ws.project.folder / prediction.labels_file == files[0]
    np.testing.assert_array_equal(open_review(ws, case, prediction).labels, result.labels)


def test_what_computed_a_draft_is_known_of_prediction_and_correction(ws: Workspace) -> None:
    image = phantom(5)
    case = add_cases(ws, [image], "lungs")[0]
    result = PredictionResult(phantom_labels(), 0.1, None, 1.0, "CPU", runtime="torch 2.14.1, bf16")
    prediction = record_prediction(ws, case, result, "lungs-unet@1")
    correction = accept(ws, open_review(ws, case, prediction), phantom_labels(), image)
    for record in (prediction, ws.project.get_record(Correction, correction.id)):
        assert (record.device, record.runtime) == ("CPU", "torch 2.14.1, bf16")


def test_version_two_is_known_to_the_registry(ws: Workspace, tmp_path: Path) -> None:
    card = ws.registry.add(write_version(tmp_path / "run"))
    ws.registry.promote(card.id)
    _, prediction = predicted(ws, phantom(4))
    assert prediction.model == "lungs-unet@2"


def test_a_prediction_records_how_far_the_image_is_and_what_is_suspicious(ws: Workspace) -> None:
    pixels = np.full((64, 64, 3), (200, 120, 180), np.uint8)
    case = add_cases(ws, [Image(pixels, "YXC", name="tissue", group="s")], "nuclei")[0]
    empty = PredictionResult(np.zeros((64, 64), np.uint32), 0.1, None, 1.0, "CPU", domain_distance=1.25)
    events = _write_predicted_labels(
        iter([empty]), ws.project.folder, case, ws.tasks.get_task("nuclei"), Image(pixels, "YXC")
    )
    (written,) = events
    assert isinstance(written, WrittenPrediction)
    record_prediction(ws, case, written, "nuclei-unet@1")
    found = list_cases(ws, "nuclei")[0].prediction
    assert found is not None
    assert (found.domain_distance, found.is_unlike) == (1.25, True)
    assert "no nucleus was found" in found.remark
