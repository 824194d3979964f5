"""What is found before a model learns, and that each finding names the case to open."""

from dataclasses import replace

import numpy as np
import pytest
from workflow_phantoms import accepted, phantom, phantom_labels, predicted

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.project.case_files import get_image_copy_path
from napari_medseg.core.project.review_region import RegionOutline, ReviewRegion
from napari_medseg.core.records import Case, Correction
from napari_medseg.workflow import retrain
from napari_medseg.workflow.data_checks import (
    DAMAGED_FILE,
    check_corrections,
    describe_label_mixups,
    list_corrections_to_check,
)
from napari_medseg.workflow.hold_out.content_check import CHECKS_FOLDER
from napari_medseg.workflow.hold_out.held_out_groups import set_held_out
from napari_medseg.workflow.review import accept, open_review
from napari_medseg.workflow.training_set import build_snapshot
from napari_medseg.workflow.workspace import Workspace
from training.from_folders.default_recipe import RecipeOverrides


def accepted_as(
    ws: Workspace, image: Image, labels: np.ndarray, seconds: float = 30.0, area: ReviewRegion | None = None
) -> Case:
    case, prediction = predicted(ws, image)
    draft = open_review(ws, case, prediction)
    draft.add_seconds(seconds)
    if area is not None:
        draft.save_review_region(area)
    draft.record_missed_changes(labels)
    accept(ws, draft, labels, image)
    return case


def found(ws: Workspace) -> list[tuple[str, str]]:
    return [(one.case.file_name, one.finding.kind) for one in check_corrections(ws, "lungs")]


def test_sound_corrections_have_no_findings(ws: Workspace) -> None:
    labels = phantom_labels()
    labels[10, 6:26] = 0
    for number in range(3):
        accepted_as(ws, phantom(number), labels)
    assert found(ws) == []


def test_slips_name_their_case(ws: Workspace) -> None:
    sound = phantom_labels()
    sound[10, 6:26] = 0
    holed, specked = sound.copy(), sound.copy()
    holed[20, 15] = 0
    specked[2, 2] = 1
    for number, labels in enumerate((np.zeros_like(sound), holed, specked, np.ones_like(sound), sound)):
        accepted_as(ws, phantom(number), labels)
    assert found(ws) == [("slice 0", "empty"), ("slice 1", "holes"), ("slice 2", "specks"), ("slice 3", "full")]


def test_what_nobody_reviewed_is_not_looked_at(ws: Workspace) -> None:
    specked = phantom_labels()
    specked[10, 6:26] = 0
    specked[2, 2] = 1
    below = ReviewRegion(outlines=(RegionOutline(corners=((6, 0), (6, 63), (47, 63), (47, 0))),))
    above = ReviewRegion(outlines=(RegionOutline(corners=((0, 0), (0, 63), (40, 63), (40, 0))),))
    case = accepted_as(ws, phantom(0), specked, area=below)
    assert found(ws) == []
    accepted_as(ws, phantom(1), specked, area=above)
    assert found(ws) == [("slice 1", "specks")]
    draft = open_review(ws, case, None)
    draft.save_review_region(above)
    accept(ws, draft, specked, phantom(0))
    assert found(ws) == [("slice 0", "specks"), ("slice 1", "specks")], "the same labels, another part of them"


def test_a_prediction_accepted_at_once_was_not_looked_at(ws: Workspace) -> None:
    accepted_as(ws, phantom(0), phantom_labels(), seconds=1.2)
    accepted_as(ws, phantom(1), phantom_labels(), seconds=4.0)
    changed = phantom_labels()
    changed[10, 6:26] = 0
    accepted_as(ws, phantom(2), changed, seconds=1.2)
    (one,) = check_corrections(ws, "lungs")
    assert (one.case.file_name, one.finding.kind) == ("slice 0", "unseen")
    assert "patient 1 case 1: accepted unchanged after 1.2 s" in one.text


def test_a_copy_of_a_hold_out_image_is_told_and_not_trained_on(ws: Workspace) -> None:
    labels = phantom_labels()
    labels[10, 6:26] = 0
    first = accepted_as(ws, phantom(0), labels)
    set_held_out(ws, first.group, True)
    copy = phantom(0)
    again = replace(copy, name="again", group="another", spacing_mm=(0.9, 0.9))
    accepted_as(ws, again, labels)
    set_held_out(ws, "another", False)
    brighter = replace(copy, pixels=(copy.pixels * 1.2).clip(0, 255).astype(np.uint8), name="brighter", group="third")
    accepted_as(ws, brighter, labels)
    set_held_out(ws, "third", False)
    one, other = check_corrections(ws, "lungs")
    assert (one.case.file_name, one.finding.kind, one.finding.blocking) == ("again", "duplicate", False)
    assert (other.case.file_name, other.finding.kind, other.finding.blocking) == ("brighter", "duplicate", False)
    assert "the same image as patient 1 case 1, which is held out" in one.text
    with pytest.raises(MedSegError, match="no correction to learn from"):
        build_snapshot(ws, "lungs")
    accepted_as(ws, phantom(7), labels)
    set_held_out(ws, "patient 7", False)
    snapshot, seen = build_snapshot(ws, "lungs")
    learnt = [item.name for item in snapshot.items if item.source == "corrections"]
    assert learnt == ["patient 1 case 1", "patient 4 case 4"]
    assert len(seen) == 2
    set_held_out(ws, "another", True)
    set_held_out(ws, "third", True)
    assert "duplicate" not in dict(found(ws)).values(), "pictures that stand on one side may be alike"


def test_answers_are_kept_and_damaged_ones_found_again(ws: Workspace) -> None:
    folder = ws.project.folder / CHECKS_FOLDER
    of_samples = set(folder.iterdir())
    accepted(ws, 0)
    first = check_corrections(ws, "lungs")
    kept = sorted(set(folder.iterdir()) - of_samples)
    assert [path.name for path in kept] == ["corrections.sqlite"]
    (piece,) = list_corrections_to_check(ws, "lungs")
    (ws.project.folder / piece.correction.labels_file).rename(ws.project.folder / "labels" / "away")
    assert check_corrections(ws, "lungs") == first, "nothing is read twice"
    (ws.project.folder / "labels" / "away").rename(ws.project.folder / piece.correction.labels_file)
    for path in kept:
        path.write_bytes(b"torn")
    assert check_corrections(ws, "lungs") == first


def test_groups_that_can_judge_are_counted(ws: Workspace) -> None:
    for number in range(5):
        accepted(ws, number, group=f"patient {number // 2}")
    held = {case.group for case in ws.project.read_records(Case) if case.held_out}
    assert retrain.count_hold_out_groups(ws, "lungs") == len(held) == 1


def test_labels_of_other_cases_are_told_and_let_nothing_be_called_better(ws: Workspace) -> None:
    shifts = [(0, 0), (7, 0), (-7, 3), (3, -5), (-4, -6), (8, 5)]
    images, sound = [], []
    for number, shift in enumerate(shifts):
        image = phantom(number)
        images.append(replace(image, pixels=np.roll(image.pixels, shift, (0, 1))))
        sound.append(np.roll(phantom_labels(), shift, (0, 1)))
    for number, image in enumerate(images):
        accepted_as(ws, image, sound[(number + 1) % 6])
    mixed = [one for one in check_corrections(ws, "lungs") if one.finding.kind == "mixed"]
    assert len(mixed) >= 3
    assert all("fit this image better: mixed up?" in one.text for one in mixed)
    assert describe_label_mixups(mixed).startswith("labels seem to be mixed up between cases (patient ")
    assert describe_label_mixups([]) == ""
    for number, image in enumerate(images):
        accepted_as(ws, image, sound[number])
    assert not [one for one in check_corrections(ws, "lungs") if one.finding.kind == "mixed"], "corrected anew"


def test_labels_that_do_not_occur_are_said_about_all_cases(ws: Workspace) -> None:
    right = np.where(phantom_labels() == 1, 1, 0)
    right[10, 6:26] = 0
    for number in range(2):
        accepted_as(ws, phantom(number, f"p{number}"), right)
    (one,) = check_corrections(ws, "lungs")
    assert one.case is None
    assert one.text == "left lung does not occur in any of the 2 images: it is not learnt and gets no score"


def test_corrections_without_any_label_are_not_trained_on_alone(ws: Workspace) -> None:
    for number in range(2):
        accepted_as(ws, phantom(number, f"p{number}"), np.zeros_like(phantom_labels()))
    for case in ws.project.read_records(Case):
        set_held_out(ws, case.group, False)
    assert "nothing to learn" in [one.finding.kind for one in check_corrections(ws, "lungs")]
    assert not [one for one in check_corrections(ws, "lungs") if one.finding.blocking]
    with pytest.raises(MedSegError, match="there is nothing to learn: nothing is labelled in all 2 training images"):
        retrain.start_run(ws, "lungs", changes=RecipeOverrides(weights="none"))


def test_a_damaged_file_is_a_finding_of_its_case_and_the_others_are_checked(ws: Workspace) -> None:
    broken = [accepted(ws, number) for number in range(3)]
    unseen = accepted_as(ws, phantom(7), phantom_labels(), seconds=0.1)
    image = get_image_copy_path(ws.project.folder, broken[0].content_hash)
    image.write_bytes(image.read_bytes()[:100])
    (correction,) = ws.project.read_records(Correction, "case_id", broken[1].id)
    (ws.project.folder / correction.labels_file).unlink()
    results = check_corrections(ws, "lungs")
    files = {one.case.id: one.finding for one in results if one.case and one.finding.kind == DAMAGED_FILE}
    assert set(files) == {broken[0].id, broken[1].id}
    assert all(finding.blocking for finding in files.values())
    assert "missing" in files[broken[1].id].text
    assert unseen.id in {one.case.id for one in results if one.case and one.finding.kind == "unseen"}
