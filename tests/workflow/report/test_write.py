"""The report of a project: what stands on it, whom it names, and that damaged files cost only themselves."""

import re
from collections.abc import Generator
from pathlib import Path

import pytest
from workflow_phantoms import (
    CLEAR_NAMES,
    SERIES,
    accepted,
    phantom,
    phantom_labels,
    predicted,
    work_with_names,
    write_version,
)

from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.readings.records import DraftAgreement, ReaderAgreement
from napari_medseg.core.records import Correction, Run, RunState, now
from napari_medseg.workflow.hold_out.held_out_groups import set_held_out
from napari_medseg.workflow.report.write import ReportOptions, write_project_report
from napari_medseg.workflow.review import accept, open_review, reject
from napari_medseg.workflow.workspace import Workspace
from training.run_folder import Compared, Finished, append_event


def write(ws: Workspace, out: Path, **options: bool) -> str:
    work: Generator[object, None, Path] = write_project_report(
        ws.project.folder, ws.registry, out, ReportOptions(**options)
    )
    while True:
        try:
            next(work)
        except StopIteration as ended:
            return Path(ended.value).read_text(encoding="utf-8")


def strip(page: str) -> str:
    """The text of a page, with single spaces."""
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL).split())


@pytest.fixture
def worked(ws: Workspace, tmp_path: Path) -> Workspace:
    """Two accepted cases, one of them held out and far from its draft, a rejected one, and a promoted run."""
    accepted(ws, 1, "Anna Berg")
    case, prediction = predicted(ws, phantom(2, "Otto Roth"))
    labels = phantom_labels()
    labels[10:38, 6:16] = 0
    accept(ws, open_review(ws, case, prediction), labels, phantom(2, "Otto Roth"))
    set_held_out(ws, "Anna Berg", held_out=False)
    set_held_out(ws, "Otto Roth", held_out=True)
    case, prediction = predicted(ws, phantom(3, "Anna Berg"))
    reject(ws, open_review(ws, case, prediction))
    folder = ws.project.folder / "runs" / "r1"
    folder.mkdir(parents=True)
    for name, old, new in (("patient 2 case 2", 0.9, 0.95), ("patient 2 case 9", 0.8, 0.87)):
        append_event(folder, Compared(name, "corrections", old, new, {}, {}, name))
    append_event(folder, Finished(3, 0.9, cancelled=False, seconds=91.0))
    ws.registry.promote(ws.registry.add(write_version(tmp_path / "made", 2, b"better", parent="lungs-unet@1")).id)
    ws.project.insert(Run("r1", "lungs", "lungs-unet@1", "runs/r1", RunState.PROMOTED, 2, "lungs-unet@2", now()))
    return ws


def test_it_tells_who_did_what_and_what_it_was_good_for(worked: Workspace, tmp_path: Path) -> None:
    page = write(worked, tmp_path / "out")
    text = strip(page)
    assert "cases 3 accepted 2 rejected 1" in text
    assert re.search(r"reader 1 lungs-unet@1 2 \d+ s 28\d 0", text)
    assert re.search(r"lungs-unet@1 images 2 0 of 8 needed 2 of 8 needed 2 of 8 needed 0\.83", text)
    assert "No figure of minutes saved: it needs two versions with 8 timed cases each" in text
    assert "No case was read twice." in text
    assert "no reason given 1" in text
    assert re.search(r"lungs-unet@1 lungs-unet@2 promoted 0\.8500 0\.9100 \+0\.0600 \+0\.0500 2 2 1:31 min", text)
    assert "lungs-unet@2 (live)" in text
    assert "1 of 2 groups are held out, with 1 of 3 cases" in text
    assert "1 of 2 accepted cases (50 %) are held out" in text
    assert "spacing, rows 0.7 mm" in text
    assert re.search(r"right lung 2 \S+ mm²", text)
    assert page.count("data:image/png") == 2
    assert "patient 2 case 2, draft of lungs-unet@1: Dice 0.8" in text, "the worst one is shown first"
    assert not re.search(r"https?://(?!www\.w3\.org)|src=\"(?!data:)|<script|<link", page), "it needs no network"


def test_it_names_nobody_unless_it_is_asked(worked: Workspace, tmp_path: Path) -> None:
    work_with_names(worked, tmp_path)
    names = (*CLEAR_NAMES, "Anna Berg", "Otto Roth", "slice 1")
    clear = "".join(map(str, worked.project._connection.execute("SELECT * FROM identities").fetchall()))
    assert [name for name in names if name not in clear] == []
    page = write(worked, tmp_path / "out")
    without_pictures = re.sub(r"data:image/png;base64,[^\"]*", "", page)  # any three letters may be in them
    assert [name for name in (*names, "Blank", "Ute", str(tmp_path)) if name in without_pictures] == []
    page = write(worked, tmp_path / "out", clear_names=True, pictures=False)
    assert "This page shows clear names" in page
    shown = [name for name in names if name not in (SERIES, "Anna Berg", "Blank^Ute")]  # groups of training have no row
    assert [name for name in shown if name not in page] == []
    assert "data:image" not in page


def test_the_readers_and_what_they_said_of_cases_are_told_without_names(worked: Workspace, tmp_path: Path) -> None:
    work_with_names(worked, tmp_path)
    page = write(worked, tmp_path / "out", pictures=False)
    text = strip(page)
    assert re.search(r"reader 2 lungs-unet@2 1 \d+ s 400 0", text)
    assert "cases 7 accepted 3 rejected 4 flagged 1" in text
    assert "right lung 1 0.783 0.783 7.0 mm 7.0 mm left lung 1 0.783 0.783 7.0 mm 7.0 mm" in text
    assert "1 case read twice" in text
    assert "patient 3 case 4 reader 1 reader 2 right lung 0.783 7.0 mm first reading" in text
    assert "no reason given 2 another reason (typed) 1 not usable: quality 1" in text
    assert re.search(
        r"patient 3 case 5 flagged rejected reader 2 \S+ patient 3 case 4 accepted reader 2, second reading \S+ a note",
        text,
    )
    before = worked.project.read_records(ReaderAgreement)
    assert before == [], "the project itself is not changed"


def test_a_second_reader_who_rejects_is_told(ws: Workspace, tmp_path: Path) -> None:
    ws.reader.set_name("Vera")
    case = accepted(ws, 1)
    ws.second_readings.choose(case, is_chosen=True)
    ws.reader.set_name("Paul")
    reject(ws, open_review(ws, case, ws.project.read_case_history(case.id).prediction))
    text = strip(write(ws, tmp_path / "out", pictures=False))
    assert "patient 1 case 1 reader 1 reader 2 rejected by the second reader first reading" in text
    assert "accepted 1" in text


def test_minutes_saved_have_an_interval_and_old_corrections_are_measured_for_the_page(
    ws: Workspace, tmp_path: Path
) -> None:
    for number in range(16):
        if number == 8:
            ws.registry.promote(ws.registry.add(write_version(tmp_path / "made", 2, b"better")).id)
        case, prediction = predicted(ws, phantom(number))
        draft = open_review(ws, case, prediction)
        draft.record([number], 0, 1)
        draft.add_seconds(300 + number if number < 8 else 120 + number)
        accept(ws, draft, draft.labels, phantom(number))
    ws.project._connection.execute("DELETE FROM draft_agreements")
    text = strip(write(ws, tmp_path / "out", pictures=False))
    assert re.search(r"lungs-unet@2 saved 2\d \(2\d to 2\d\) min on 8 cases against lungs-unet@1", text)
    assert re.search(r"lungs-unet@1 images 8 5:0\d min \(5:0\d to 5:0\d\) 0\.1 % \(0\.1 to 0\.1\) 1\.000", text)
    assert ws.project.read_records(DraftAgreement) == []


def test_a_verdict_with_names_of_an_older_version_is_left_out(worked: Workspace, tmp_path: Path) -> None:
    folder = worked.project.folder / "runs" / "r1"
    append_event(folder, Compared("berg_anna_1", "corrections", 0.9, 0.2, {}, {}, "Anna Berg"))
    page = write(worked, tmp_path / "out")
    assert "berg_anna" not in page
    assert "names cases as an older version" in page
    assert "berg_anna_1" in write(worked, tmp_path / "out", clear_names=True, pictures=False)


def test_an_empty_project_and_one_without_retrains_have_a_page(ws: Workspace, tmp_path: Path) -> None:
    assert "The project has no cases yet" in write(ws, tmp_path / "out")
    predicted(ws, phantom(1))
    text = strip(write(ws, tmp_path / "out"))
    assert "No case was corrected yet" in text
    assert "No model was retrained yet" in text


def test_damaged_files_are_named_and_the_rest_is_shown(worked: Workspace, tmp_path: Path) -> None:
    folder, corrections = worked.project.folder, worked.project.read_records(Correction)
    (folder / corrections[0].labels_file).write_bytes(b"damaged")
    (folder / corrections[1].image_file).unlink()
    with (folder / "runs" / "r1" / "events.jsonl").open("ab") as events:
        events.write(b"no event\n")
    (folder / "tasks").mkdir(exist_ok=True)
    (folder / "tasks" / "own.json").write_text("{")
    worked.project._connection.execute("UPDATE cases SET shape = 'x' WHERE id = 3")
    page = write(worked, tmp_path / "out")
    text = strip(page)
    assert "Damaged or missing files" in text
    assert f"{Path(corrections[0].labels_file).name} with labels of patient 1 case 1 is damaged" in text
    assert "copy of patient 2 case 2 is damaged" in text
    assert "events.jsonl is damaged" in text
    assert "own.json is not a task" in text
    assert "the row 3 of the table cases is damaged" in text
    assert "0.8500 0.9100" in text
    assert str(tmp_path) not in page


def test_the_registry_may_lack_the_models(worked: Workspace, tmp_path: Path) -> None:
    worked.registry = ModelRegistry(tmp_path / "none", tmp_path / "neither")
    text = strip(write(worked, tmp_path / "out"))
    assert "There is no version yet" in text
    assert "promoted" in text
