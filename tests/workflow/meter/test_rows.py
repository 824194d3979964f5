"""What the meter knows of each correction: person, version, seconds, edited voxels, Dice of draft and correction."""

import csv
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from workflow_phantoms import accepted, phantom, phantom_labels

from napari_medseg.core.project.database import DATABASE
from napari_medseg.core.readings.records import DraftAgreement
from napari_medseg.core.records import Case
from napari_medseg.workflow.cases import add_cases, get_case_row
from napari_medseg.workflow.meter.rows import (
    describe_kind,
    list_meter_rows,
    list_unmeasured,
    measure_drafts,
    store_draft_agreement,
)
from napari_medseg.workflow.meter.table import describe_row, write_meter_csv
from napari_medseg.workflow.review import accept, open_review
from napari_medseg.workflow.workspace import Workspace

N_LABELLED = int((phantom_labels() > 0).sum())


def edit_and_accept(ws: Workspace, case: Case, number: int, n_voxels: int, seconds: float) -> None:
    draft = open_review(ws, case, get_case_row(ws, case).prediction)
    draft.record(range(n_voxels), draft.labels.ravel()[:n_voxels], 1)
    draft.add_seconds(seconds)
    accept(ws, draft, draft.labels, phantom(number))


def test_a_correction_is_measured_when_it_is_accepted(ws: Workspace) -> None:
    case = accepted(ws, 5)
    (row,) = list_meter_rows(ws, "lungs")
    assert (row.case, row.kind, row.model, row.correction.changed_voxels) == (case, "images", "lungs-unet@1", 1)
    right = N_LABELLED // 2
    assert row.dice == pytest.approx((2 * right / (2 * right + 1) + 1) / 2)
    assert row.edited_share == pytest.approx(1 / (N_LABELLED + 1))
    assert (row.counts, row.is_timed) == (True, False), "nobody worked on it in a window"
    assert list_unmeasured(ws, [row]) == []


def test_a_case_that_is_accepted_again_is_a_repeat(ws: Workspace) -> None:
    case = accepted(ws, 5)
    edit_and_accept(ws, case, 5, 20, 31.0)
    first, again = list_meter_rows(ws, "lungs")
    assert (first.is_repeat, again.is_repeat, again.counts, again.correction.seconds) == (False, True, False, 31.0)


def test_painting_without_a_model_counts_for_no_version(ws: Workspace) -> None:
    (case,) = add_cases(ws, [phantom(1)], "lungs")
    accept(ws, open_review(ws, case, None), phantom_labels(), phantom(1))
    (row,) = list_meter_rows(ws, "lungs")
    assert (row.model, row.agreement, row.counts) == ("", None, False)


def test_corrections_of_older_programs_are_measured_from_their_files(
    open_workspace: Callable[[], Workspace], tmp_path: Path
) -> None:
    ws = open_workspace()
    for number in range(3):
        accepted(ws, number)
    expected = [(row.dice, row.edited_share) for row in list_meter_rows(ws, "lungs")]
    ws.close()
    database = sqlite3.connect(tmp_path / "project" / DATABASE)
    database.execute("DELETE FROM draft_agreements")
    database.commit()
    database.close()
    ws = open_workspace()
    rows = list_meter_rows(ws, "lungs")
    assert [row.dice for row in rows] == [None] * 3
    (ws.project.folder / rows[1].correction.labels_file).unlink()
    for agreement in measure_drafts(ws.project.folder, ws.tasks.get_task("lungs"), list_unmeasured(ws, rows)):
        store_draft_agreement(ws, agreement)
        store_draft_agreement(ws, agreement)
    found = [(row.dice, row.edited_share) for row in list_meter_rows(ws, "lungs")]
    assert found == [expected[0], (None, None), expected[2]], "a lost file costs its own figure only"
    assert len(ws.project.read_records(DraftAgreement)) == 2


@pytest.mark.parametrize(
    ("axes", "shape", "kind"),
    [
        ("YX", (512, 512), "images"),
        ("YXC", (1000, 1000, 3), "images"),
        ("YXC", (4000, 3000, 3), "large images"),
        ("ZYX", (49, 512, 512), "volumes under 50 slices"),
        ("ZYX", (50, 512, 512), "volumes of 50 to 199 slices"),
        ("ZYX", (200, 512, 512), "volumes of 200 slices or more"),
    ],
)
def test_only_images_of_one_kind_are_compared(ws: Workspace, axes: str, shape: tuple[int, ...], kind: str) -> None:
    (case,) = add_cases(ws, [phantom(0)], "lungs")
    assert describe_kind(replace(case, axes=axes, shape=shape)) == kind


def test_the_table_names_readers_only_if_asked(ws: Workspace, tmp_path: Path) -> None:
    ws.reader.set_name("Dr. Anna Ä")
    accepted(ws, 1)
    rows, names = list_meter_rows(ws, "lungs"), ws.project.identities.read_readers()
    write_meter_csv(tmp_path / "meter.csv", rows)
    text = (tmp_path / "meter.csv").read_text(encoding="utf-8")
    (line,) = csv.DictReader(text.splitlines())
    assert (line["reader"], line["model"], line["edited_voxels"]) == ("reader 1", "lungs-unet@1", "1")
    assert "Anna" not in text
    assert "patient 1 case 1" in text
    assert describe_row(rows[0], names)["reader"] == "Dr. Anna Ä"
    write_meter_csv(tmp_path / "formula.csv", rows, {"reader 1": "=cmd"})
    assert "'=cmd" in (tmp_path / "formula.csv").read_text(encoding="utf-8")
