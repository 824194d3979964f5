"""What a copy of a project holds that can be passed on: the labels of people, and allowed files only."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from workflow_phantoms import accepted

from napari_medseg.core.project.database import DATABASE, Project
from napari_medseg.core.records import Correction, Review
from napari_medseg.workflow.storage.deidentify import clean_file, may_be_passed_on, remove_identities
from napari_medseg.workflow.storage.file_kinds import list_project_files
from napari_medseg.workflow.storage.project_copy import copy_database
from napari_medseg.workflow.workspace import Workspace
from training.run_folder import Failed, Notice, Paused, append_event, read_events


def pass_on(ws: Workspace, folder: Path) -> Project:
    """Return a copy of the project's rows, without identities, as another person opens it."""
    folder.mkdir()
    copy_database(ws.project.folder / DATABASE, folder / DATABASE)
    remove_identities(folder / DATABASE)
    return Project.open(folder)


def test_who_works_on_in_a_passed_on_copy_is_another_reader(ws: Workspace, tmp_path: Path) -> None:
    accepted(ws, 0, "Anna Berg")
    known = {ws.project.identities.key_reader(name) for name in ("anna.berg", "otto")}
    made_by = {correction.who for correction in ws.project.read_records(Correction)}
    project = pass_on(ws, tmp_path / "copy")
    try:
        assert known <= set(project.identities.read_readers())
        assert all(label == name for label, name in project.identities.read_readers().items())
        new = project.identities.key_reader("somebody else")
        assert new not in known | made_by | {review.who for review in project.read_records(Review)}
        assert project.identities.key_reader("somebody else") == new
    finally:
        project.close()


def test_a_label_that_only_rows_have_is_taken(ws: Workspace, tmp_path: Path) -> None:
    """Archives of the version before have no row of a reader at all."""
    accepted(ws, 0)
    project = pass_on(ws, tmp_path / "copy")
    with project.transaction():
        project._connection.execute("DELETE FROM identities WHERE kind = 'reader'")
        project._connection.execute("UPDATE reviews SET who = 'reader 7'")
    try:
        assert project.identities.key_reader("anna.berg") == "reader 8"
        assert project.identities.key_reader("otto") == "reader 9"
    finally:
        project.close()


def test_a_reader_whose_label_could_name_someone_is_removed(ws: Workspace, tmp_path: Path) -> None:
    accepted(ws, 0)
    with ws.project.transaction():
        ws.project._connection.execute(
            "INSERT INTO identities (kind, subject, value, created) VALUES ('reader', 'anna.berg', 'anna.berg', '')"
        )
    pass_on(ws, tmp_path / "copy").close()
    with closing(sqlite3.connect(tmp_path / "copy" / DATABASE)) as connection:
        assert not connection.execute("SELECT 1 FROM identities WHERE value = 'anna.berg'").fetchall()
    assert b"anna.berg" not in (tmp_path / "copy" / DATABASE).read_bytes()


def test_of_a_run_only_allowed_files_go_along_and_no_free_text(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "r1"
    (run / "start").mkdir(parents=True)
    for event in (Notice("anna.berg"), Paused(1, 2, 3.0), Failed("/home/anna.berg/x cannot be read")):
        append_event(run, event)
    (run / "recipe.json").write_text(json.dumps({"base": r"C:\Users\anna.berg\7", "field_base": "/home/anna.berg/8"}))
    names = ("report.html", "log.txt", "split.json", "evaluation.csv", "doubt.txt", "anna.berg.txt", "start/card.json")
    for name in (*names, "checkpoint.safetensors", "model.safetensors"):
        (run / name).write_text("anna.berg")
    for place in ("images/anna.berg.tif", "labels/anna.berg.tif", "journal/anna.berg.json", "anna.berg.txt"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text("anna.berg")
    kept = [file for file in list_project_files(tmp_path) if may_be_passed_on(file)]
    assert {Path(file.path).name for file in kept} == {"events.jsonl", "recipe.json", "model.safetensors"}
    cleaned = {Path(file.path).name: clean_file(tmp_path, file) for file in kept}
    assert b"anna.berg" not in (cleaned["events.jsonl"] or b"") + (cleaned["recipe.json"] or b"")
    (run / "events.jsonl").write_bytes(cleaned["events.jsonl"] or b"")
    assert [event for event, _ in read_events(run)] == [Notice("left out"), Paused(1, 2, 3.0), Failed("left out")]
