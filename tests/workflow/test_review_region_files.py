"""From the reviewed area of a draft to what a run learns from: real files, a real store, the trainer's own reader."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from workflow_phantoms import SHAPE, accepted, phantom, phantom_labels, predicted

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import Architecture, ModelCard, Preprocessing
from napari_medseg.core.project.case_files import read_case_labels
from napari_medseg.core.project.review_region import (
    WHOLE_IMAGE,
    RegionOutline,
    ReviewRegion,
    get_draft_region_path,
    read_reviewed_pixels,
)
from napari_medseg.core.project.undo_journal import get_journal_path
from napari_medseg.core.records import Correction, Run, RunState
from napari_medseg.core.snapshot import IGNORE_INDEX, Role, write_snapshot
from napari_medseg.core.tasks.bundled_tasks import get_task
from napari_medseg.workflow import retrain
from napari_medseg.workflow.cases import add_cases
from napari_medseg.workflow.hold_out.held_out_groups import set_held_out
from napari_medseg.workflow.output.export import list_accepted_rows, read_export_items
from napari_medseg.workflow.review import accept, open_review
from napari_medseg.workflow.training_set import build_snapshot
from napari_medseg.workflow.workspace import Workspace
from training.data.sample_reader import SampleReader
from training.evaluation.evaluate import evaluate_cases, make_folder_source
from training.evaluation.hold_out_evaluation import make_labelled_case
from training.losses.losses import get_loss
from training.run_folder import Compared, append_event

Reopen = Callable[[], Workspace]


def left_part(width: int = 30, plane: int = 0) -> RegionOutline:
    corners = ((-0.5, -0.5), (-0.5, width - 0.5), (SHAPE[0] - 0.5, width - 0.5), (SHAPE[0] - 0.5, -0.5))
    return RegionOutline(corners=corners, plane=plane)


LEFT_PART = ReviewRegion(outlines=(left_part(),))


def accepted_in_part(ws: Workspace, number: int, area: ReviewRegion = LEFT_PART) -> Correction:
    image = phantom(number)
    draft = open_review(ws, *predicted(ws, image))
    draft.record([number], 0, 1)
    draft.save_review_region(area)
    return accept(ws, draft, draft.labels, image)


def reader() -> SampleReader:
    card = ModelCard(
        name="lungs-unet",
        version=1,
        task="lungs",
        architecture=Architecture(name="unet", in_channels=1, classes=3),
        preprocessing=Preprocessing(min_side_px=SHAPE[0], max_side_px=SHAPE[1]),
    )
    return SampleReader(Path(), card, get_task("lungs"), seed=0)


def test_the_area_of_a_draft_is_there_again_after_a_restart(open_workspace: Reopen) -> None:
    ws = open_workspace()
    case, prediction = predicted(ws, phantom(0))
    draft = open_review(ws, case, prediction)
    assert draft.review_region == WHOLE_IMAGE
    draft.save_review_region(LEFT_PART)
    assert draft.has_changed_review_region
    draft.close()
    again = open_review(open_workspace(), case, prediction)
    assert again.review_region == LEFT_PART
    again.save_review_region(WHOLE_IMAGE)
    assert not again.has_changed_review_region
    assert open_review(open_workspace(), case, prediction).review_region == WHOLE_IMAGE


def test_accepting_writes_what_was_reviewed_beside_the_labels(ws: Workspace) -> None:
    correction = accepted_in_part(ws, 3)
    case = add_cases(ws, [phantom(3)], "lungs")[0]
    seen = read_reviewed_pixels(ws.project.folder, case, correction)
    assert seen is not None
    assert seen[:, :30].all()
    assert not seen[:, 30:].any()
    labels = read_case_labels(ws.project.folder, case, correction)
    assert (labels[:, 30:] == phantom_labels()[:, 30:]).all(), "the model's labels outside stay as they are"
    assert ws.project.get_record(Correction, correction.id) == correction


def test_a_case_reviewed_as_a_whole_is_as_before(ws: Workspace) -> None:
    everything = ReviewRegion(outlines=(RegionOutline.from_plane(0, *SHAPE),))
    for number, area in enumerate((WHOLE_IMAGE, everything)):
        assert accepted_in_part(ws, number, area).reviewed_file == ""
    assert not any(item.is_partial for item in build_snapshot(ws, "lungs")[0].items)


def test_an_accepted_case_is_opened_with_its_area_and_keeps_it(open_workspace: Reopen) -> None:
    first = accepted_in_part(open_workspace(), 0)
    ws = open_workspace()
    case, prediction = predicted(ws, phantom(0))
    draft = open_review(ws, case, prediction)
    assert draft.review_region == LEFT_PART
    assert not draft.has_changed_review_region
    draft.close()
    draft = open_review(ws, case, prediction)  # the review that was opened just now
    assert draft.review_region == LEFT_PART
    second = accept(ws, draft, draft.labels, phantom(0))
    assert (second.reviewed_file, second.reviewed_sha256) == (first.reviewed_file, first.reviewed_sha256)
    draft = open_review(ws, case, prediction)
    draft.save_review_region(WHOLE_IMAGE)
    assert draft.has_changed_review_region
    assert accept(ws, draft, draft.labels, phantom(0)).reviewed_file == ""
    assert open_review(ws, case, prediction).review_region == WHOLE_IMAGE


def test_an_area_off_the_image_is_refused_and_nothing_is_lost(ws: Workspace) -> None:
    case, prediction = predicted(ws, phantom(0))
    draft = open_review(ws, case, prediction)
    draft.record([5], 0, 1)
    draft.save_review_region(ReviewRegion(outlines=(RegionOutline(corners=((100, 100), (100, 200), (200, 200))),)))
    with pytest.raises(MedSegError, match=r"reviewed area of patient 1 case 1 is empty.*Draw the area on the image"):
        accept(ws, draft, draft.labels, phantom(0))
    assert not ws.project.read_records(Correction)
    again = open_review(ws, case, prediction)
    assert again.labels.ravel()[5] == 1
    again.save_review_region(LEFT_PART)
    assert accept(ws, again, again.labels, phantom(0)).reviewed_file


def test_what_lies_outside_reaches_no_loss(ws: Workspace) -> None:
    """From accepting to the planes that a run learns from: labels outside are ignored, those inside are as drawn."""
    accepted_in_part(ws, 0)
    snapshot = build_snapshot(ws, "lungs")[0]
    (item,) = [item for item in snapshot.items if item.role is Role.TRAIN]
    assert item.is_partial
    (plane,) = reader().read_image(item).planes
    (whole,) = reader().read_image(item.model_copy(update={"reviewed_mask": ""})).planes
    assert (plane.labels[:, 30:] == IGNORE_INDEX).all()
    np.testing.assert_array_equal(plane.labels[:, :30], whole.labels[:, :30])
    np.testing.assert_array_equal(plane.views[0], whole.views[0])
    target = torch.from_numpy(plane.labels).long()[None]
    logits = torch.randn(1, 3, *plane.labels.shape, generator=torch.Generator().manual_seed(0), requires_grad=True)
    get_loss("cross_entropy_dice")(logits, target).backward()
    assert logits.grad is not None
    assert not logits.grad[..., 30:].any()
    assert logits.grad[..., :30].any()


def test_in_a_volume_only_slices_with_an_outline_are_learnt_from(ws: Workspace) -> None:
    pixels = np.stack([phantom(n).pixels for n in range(5)])
    stack = Image(pixels=pixels, axes="ZYX", name="stack", group="g", spacing_mm=(5.0, 0.7, 0.7))
    case = add_cases(ws, [stack], "lungs")[0]
    draft = open_review(ws, case, None)
    draft.record_missed_changes(np.stack([phantom_labels() * (n in (1, 3)) for n in range(5)]))
    assert draft.edited_planes == [1, 3]
    draft.save_review_region(ReviewRegion(outlines=(left_part(plane=1),)).add_planes([3], *SHAPE))
    accept(ws, draft, draft.labels, stack)
    (item,) = [item for item in build_snapshot(ws, "lungs")[0].items if item.role is Role.TRAIN]
    planes = reader().read_image(item).planes
    assert [float((plane.labels == IGNORE_INDEX).mean()) for plane in planes] == [34 / 64, 0.0]


def test_a_held_out_case_is_judged_by_its_reviewed_part(ws: Workspace, tmp_path: Path) -> None:
    accepted_in_part(ws, 0)
    held_out = accepted_in_part(ws, 1)
    set_held_out(ws, "patient 1", True)
    case = add_cases(ws, [phantom(1)], "lungs")[0]
    wrong_outside = read_case_labels(ws.project.folder, case, held_out).copy()
    wrong_outside[:, 30:] = 0
    theirs = tmp_path / "theirs"
    (item,) = build_snapshot(ws, "lungs")[0].filter_by_role(Role.HOLD_OUT)
    judged = make_labelled_case(item, tmp_path)
    formats.write_labels(theirs / f"{judged.name}.tif", wrong_outside, phantom(1))
    (one,) = evaluate_cases(make_folder_source(theirs), [judged], get_task("lungs"))
    assert set(one.score.dice.values()) == {1.0}
    assert (one.score.agreement, one.score.miou) == (1.0, 1.0)
    wrong_inside = wrong_outside.copy()
    wrong_inside[10:38, 6:26] = 0
    formats.write_labels(theirs / f"{judged.name}.tif", wrong_inside, phantom(1))
    (one,) = evaluate_cases(make_folder_source(theirs), [judged], get_task("lungs"))
    # 28 x 20 of the 48 x 30 pixels that count, and the one stroke
    assert one.score.agreement == pytest.approx(1 - 560 / (48 * 30))
    assert one.score.accuracy["right lung"] == one.score.agreement


def test_a_comparison_says_which_cases_were_judged_in_part(ws: Workspace) -> None:
    accepted(ws, 0)
    accepted_in_part(ws, 1)
    accepted(ws, 2)
    for number in (1, 2):
        set_held_out(ws, f"patient {number}", True)
    snapshot, _ = build_snapshot(ws, "lungs")
    folder = ws.project.folder / "runs" / "r1"
    folder.mkdir(parents=True)
    write_snapshot(snapshot, folder / "snapshot.json")
    for item in snapshot.filter_by_role(Role.HOLD_OUT):
        append_event(folder, Compared(item.name, item.source, 0.8, 0.9, {"right lung": 0.8}, {"right lung": 0.9}))
    run = ws.project.insert(Run("r1", "lungs", "lungs-unet@1", "runs/r1", RunState.FINISHED, 1, None, "2025"))
    rows = retrain.read_comparison(ws, run).rows
    assert {row.case.file_name: row.is_partly_reviewed for row in rows if row.case is not None} == {
        "slice 1": True,
        "slice 2": False,
    }


def test_another_mask_is_another_snapshot_and_a_changed_file_is_refused(ws: Workspace) -> None:
    correction = accepted_in_part(ws, 0)
    before = build_snapshot(ws, "lungs")[0]
    (item,) = before.filter_by_role(Role.TRAIN)
    accepted_in_part(ws, 0, ReviewRegion(outlines=(left_part(20),)))
    assert build_snapshot(ws, "lungs")[0].sha256 != before.sha256
    path = ws.project.folder / correction.reviewed_file
    path.write_bytes((ws.project.folder / correction.labels_file).read_bytes())
    with pytest.raises(MedSegError, match="changed after the snapshot was frozen"):
        reader().read_image(item)
    with pytest.raises(MedSegError, match=r"with the reviewed area of .* is damaged"):
        list(read_export_items(ws, [(case, correction, "") for case, _, _ in list_accepted_rows(ws, "lungs")]))


def test_a_damaged_area_says_what_to_do(ws: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    case, prediction = predicted(ws, phantom(0))
    draft = open_review(ws, case, prediction)
    draft.save_review_region(LEFT_PART)
    get_draft_region_path(get_journal_path(ws.project.folder, draft.review.id)).write_text("{", encoding="utf-8")
    assert open_review(ws, case, prediction).review_region == WHOLE_IMAGE
    assert "Draw the area again before you accept" in caplog.text
    correction = accepted_in_part(ws, 1)
    (ws.project.folder / correction.reviewed_file).with_suffix(".json").unlink()
    with pytest.raises(MedSegError, match="Restore it from a backup"):
        open_review(ws, *predicted(ws, phantom(1)))
