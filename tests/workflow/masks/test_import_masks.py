"""Masks of elsewhere become drafts or corrections, once; what a person did is never replaced."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from workflow_phantoms import accepted, phantom, phantom_labels

from napari_medseg.core import formats
from napari_medseg.core.project.case_files import read_case_labels
from napari_medseg.core.records import Case, Correction, ImportedMask, Review
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.workflow import review
from napari_medseg.workflow.cases import list_cases, list_current_corrections
from napari_medseg.workflow.masks.import_masks import ImportOutcome, import_pairs
from napari_medseg.workflow.masks.meaning import MaskMeaning
from napari_medseg.workflow.masks.pairs import find_pairs
from napari_medseg.workflow.masks.read_pair import MaskSettings
from napari_medseg.workflow.meter.effort import read_efforts
from napari_medseg.workflow.workspace import Workspace

LUNGS = MaskSettings(TASKS["lungs"])


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Three images with masks of the right and left lung."""
    images, masks = tmp_path / "images", tmp_path / "masks"
    for number in (1, 2, 3):
        formats.write_image(images / f"patient{number}.tif", phantom(number))
        formats.write_labels(masks / f"patient{number}.png", phantom_labels(), phantom(number))
    return images, masks


def run(
    ws: Workspace, folders: tuple[Path, Path], *, accepts: bool = False, settings: MaskSettings = LUNGS
) -> list[ImportOutcome]:
    pairs, lacking = find_pairs(*folders)
    assert not lacking
    return list(import_pairs(ws, pairs, settings, accepts=accepts))


def count(outcomes: list[ImportOutcome]) -> Counter[str]:
    return Counter(outcome.state for outcome in outcomes)


def test_drafts_hold_the_mask_in_one_stroke_and_are_not_doubled(
    open_workspace: Callable[[], Workspace], folders: tuple[Path, Path]
) -> None:
    ws = open_workspace()
    assert count(run(ws, folders)) == {"draft": 3}
    assert [row.state for row in list_cases(ws, "lungs")] == ["draft"] * 3
    ws = open_workspace()
    draft = review.open_review(ws, list_cases(ws, "lungs")[0].case, None)
    assert np.array_equal(draft.labels, phantom_labels())
    draft.undo()
    assert not draft.labels.any()
    draft.redo()
    draft.close()
    assert count(run(ws, folders)) == {"already there": 3}
    assert (len(list_cases(ws)), len(ws.project.read_records(Review)), len(ws.project.read_records(ImportedMask))) == (
        3,
        3,
        3,
    )


def test_accepted_masks_are_corrections_with_who_when_and_where_from(ws: Workspace, folders: tuple[Path, Path]) -> None:
    assert count(run(ws, folders, accepts=True)) == {"accepted": 3}
    assert count(run(ws, folders, accepts=True)) == {"already there": 3}
    assert count(run(ws, folders)) == {"already there": 3}
    corrections = list_current_corrections(ws, "lungs")
    assert len(corrections) == len(ws.project.read_records(Correction)) == 3
    case, correction = corrections[0]
    assert np.array_equal(read_case_labels(ws.project.folder, case, correction), phantom_labels())
    assert correction.imported == "values as the task numbers them"
    assert correction.who
    assert correction.created
    assert read_efforts(ws, "lungs") == [], "no model and no person worked on them"


def test_drafts_are_accepted_by_a_second_import(ws: Workspace, folders: tuple[Path, Path]) -> None:
    run(ws, folders)
    assert count(run(ws, folders, accepts=True)) == {"accepted": 3}
    assert len(ws.project.read_records(Correction)) == 3


def test_an_interrupted_import_goes_on(ws: Workspace, folders: tuple[Path, Path]) -> None:
    pairs, _ = find_pairs(*folders)
    stopped = import_pairs(ws, pairs, LUNGS, accepts=True)
    assert next(stopped).state == "accepted"
    stopped.close()
    assert count(run(ws, folders, accepts=True)) == {"already there": 1, "accepted": 2}


def test_what_cannot_be_written_is_taken_back_and_imported_later(
    ws: Workspace, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    place = ws.project.folder / "labels"
    if place.exists():
        place.rename(tmp_path / "aside")
    place.write_text("in the way", encoding="utf-8")
    outcomes = run(ws, folders, accepts=True)
    assert count(outcomes) == {"refused": 3}
    assert ws.project.read_records(Review) == [], "no empty review stays open"
    assert not list((ws.project.folder / "journal").glob("*.journal"))
    draft = review.open_review(ws, list_cases(ws, "lungs")[0].case, None)
    assert not draft.labels.any(), "else it would look edited by a person, and the next import would refuse it"
    draft.close()
    place.unlink()
    assert count(run(ws, folders, accepts=True)) == {"accepted": 3}


def test_a_review_that_was_there_before_a_failed_import_stays(
    ws: Workspace, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    run(ws, folders)
    (ws.project.folder / "labels").mkdir(exist_ok=True)
    (ws.project.folder / "labels").rename(tmp_path / "aside")
    (ws.project.folder / "labels").write_text("in the way", encoding="utf-8")
    assert count(run(ws, folders, accepts=True)) == {"refused": 3}
    assert [row.state for row in list_cases(ws)] == ["draft"] * 3


def test_a_wrong_meaning_is_corrected_by_another_import(ws: Workspace, folders: tuple[Path, Path]) -> None:
    covid = MaskSettings(TASKS["covid"], MaskMeaning(label_of={1: 1, 2: 2}))
    right = MaskSettings(TASKS["covid"], MaskMeaning(label_of={1: 2, 2: 3}))
    for accepts in (False, True):
        assert count(run(ws, folders, accepts=accepts, settings=covid))["refused"] == 0
        assert count(run(ws, folders, accepts=accepts, settings=right)) == {"accepted" if accepts else "draft": 3}
    (case, correction) = list_current_corrections(ws, "covid")[0]
    assert np.array_equal(np.unique(read_case_labels(ws.project.folder, case, correction)), [0, 2, 3])
    assert correction.imported == "1 consolidation, 2 pleural effusion"


def test_what_a_person_did_is_not_replaced(ws: Workspace, folders: tuple[Path, Path]) -> None:
    own = accepted(ws, 1)
    run(ws, folders)
    drawn, rejected = (row.case for row in list_cases(ws, "lungs")[1:])
    draft = review.open_review(ws, drawn, None)
    draft.record([0], 0, 1)
    draft.close()
    review.reject_unopened(ws, rejected)
    outcomes = run(ws, folders, accepts=True)
    assert [outcome.state for outcome in outcomes] == ["refused"] * 3
    assert "a person accepted other labels of it" in outcomes[0].text
    assert "it has a draft that a person edited" in outcomes[1].text
    assert "the case was rejected" in outcomes[2].text
    assert [one.case_id for one in ws.project.read_records(Correction)] == [own.id]
    draft = review.open_review(ws, drawn, None)
    assert draft.labels.ravel()[0] == 1
    draft.close()


def test_names_that_were_repaired_are_imported_again(ws: Workspace, folders: tuple[Path, Path]) -> None:
    table = folders[1] / "dataset.json"
    table.write_text('{"labels": {"background": 0, "left lung": 1, "right lung": 2}}')
    assert count(run(ws, folders)) == {"refused": 3}, "the sides are swapped"
    table.write_text('{"labels": {"background": 0, "right lung": 1, "left lung": 2}}')
    assert count(run(ws, folders)) == {"draft": 3}
    before = find_pairs(*folders)[0][0].compute_sha256("")
    table.write_text('{"labels": {"background": 0, "right lung": 1, "left lung": 3}}')
    assert find_pairs(*folders)[0][0].compute_sha256("") != before


def test_what_a_person_called_right_or_accepted_is_not_replaced(ws: Workspace, folders: tuple[Path, Path]) -> None:
    run(ws, folders)
    confirmed, seen, _ = (row.case for row in list_cases(ws, "lungs"))
    draft = review.open_review(ws, confirmed, None)
    draft.record([700, 701], draft.labels.ravel()[[700, 701]], draft.labels.ravel()[[700, 701]])
    draft.close()
    draft = review.open_review(ws, seen, None)
    draft.add_seconds(60.0)
    review.accept(ws, draft, draft.labels, phantom(2))
    before = len(ws.project.read_records(Correction))
    for number in (1, 2, 3):
        labels = np.where(phantom_labels() == 2, 0, phantom_labels())
        formats.write_labels(folders[1] / f"patient{number}.png", labels, phantom(number))
    assert [outcome.state for outcome in run(ws, folders, accepts=True)] == ["refused", "refused", "accepted"]
    assert len(ws.project.read_records(Correction)) == before + 1


def test_pairs_that_do_not_fit_are_refused_one_by_one(ws: Workspace, folders: tuple[Path, Path]) -> None:
    images, masks = folders
    swapped = np.array([0, 2, 1], np.uint8)[phantom_labels()]
    formats.write_labels(masks / "patient1.png", swapped, phantom(1))
    small = phantom(2).replace_pixels(phantom(2).pixels[::2, ::2])
    formats.write_labels(masks / "patient2.png", phantom_labels()[::2, ::2], small)
    (images / "patient4.tif").write_bytes(b"II*\0 damaged")
    formats.write_labels(masks / "patient4.png", phantom_labels(), phantom(4))
    formats.write_labels(masks / "patient5.png", phantom_labels() * 9, phantom(5))
    formats.write_image(images / "patient5.tif", phantom(5))
    by_name = {outcome.name: outcome for outcome in run(ws, folders)}
    assert "right lung and left lung are exchanged" in by_name["patient1"].text
    assert "24 x 32" in by_name["patient2"].text
    assert "Add --resample" in by_name["patient2"].text
    assert by_name["patient3"].state == "draft"
    assert by_name["patient4"].state == "refused"
    assert "the values 9, 18 are unknown" in by_name["patient5"].text
    assert len(ws.project.read_records(Case)) == 1, "a refused image is no case"
    again = {one.name: one for one in run(ws, folders, settings=MaskSettings(TASKS["lungs"], resamples=True))}
    assert (again["patient2"].state, again["patient3"].state) == ("draft", "already there")
    assert "taken to show the same field of view" in again["patient2"].notes[0]
    assert "resampled from 24 x 32" in ws.project.read_records(ImportedMask)[-1].how


def test_numbered_objects_keep_their_numbers_and_a_binary_mask_is_numbered(ws: Workspace, tmp_path: Path) -> None:
    task = MaskSettings(TASKS["nuclei"])
    numbers = np.where(phantom_labels() > 0, phantom_labels().astype(np.uint32) * 70_000, 0).astype(np.uint32)
    for number, labels in ((1, numbers), (2, (numbers > 0).astype(np.uint8) * 255)):
        formats.write_image(tmp_path / "i" / f"{number}.tif", phantom(number))
        formats.write_labels(tmp_path / "m" / f"{number}.tif", labels, phantom(number))
    assert count(run(ws, (tmp_path / "i", tmp_path / "m"), accepts=True, settings=task)) == {"accepted": 2}
    values = [
        np.unique(read_case_labels(ws.project.folder, case, correction)).tolist()
        for case, correction in list_current_corrections(ws, "nuclei")
    ]
    assert values == [[0, 70_000, 140_000], [0, 1, 2]]


def test_an_empty_mask_is_accepted_as_empty_but_makes_no_draft(ws: Workspace, folders: tuple[Path, Path]) -> None:
    formats.write_labels(folders[1] / "patient1.png", phantom_labels() * 0, phantom(1))
    first = run(ws, folders)[0]
    assert (first.state, "--accept" in first.text) == ("refused", True)
    assert len(list_cases(ws)) == len(ws.project.read_records(Review)) == 2, "the refused pair left nothing behind"
    first = run(ws, folders, accepts=True)[0]
    assert (first.state, first.notes) == ("accepted", ("nothing is labelled",))
