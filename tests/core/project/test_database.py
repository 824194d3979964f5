"""The project's database: what is written stays, what is unreadable says so."""

import contextlib
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.project.database import DATABASE, Project
from napari_medseg.core.project.migrations import MIGRATIONS
from napari_medseg.core.project.rows import RunItem
from napari_medseg.core.records import Case, Correction, Prediction, Review, ReviewState, Run, RunState, now
from napari_medseg.core.snapshot import Role


def a_case(content: str = "c0", group: str = "patient 1") -> Case:
    return Case(0, "lungs", "slice", group, content, "YX", (4, 5), (0.7, 0.7), ("/data/slice.dcm",), False, now())


def a_review(case: Case) -> Review:
    return Review(0, case.id, None, ReviewState.OPEN, 0.0, 0, "ann", now(), None)


def a_correction(review: Review) -> Correction:
    return Correction(0, review.id, review.case_id, "lungs-unet@1", "i.tif", "l.tif", "ab", 12.5, 7, "ann", now())


def test_records_come_back_as_they_went_after_reopening(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "p")
    case = project.insert(a_case())
    bare = project.insert(replace(a_case("c1"), spacing_mm=None, sources=()))
    prediction = project.insert(Prediction(0, case.id, "lungs-unet@1", "labels/x.tif", "ab", 1.5, None, now()))
    review = project.insert(replace(a_review(case), prediction_id=prediction.id))
    correction = project.insert(a_correction(review))
    run = project.insert(Run("r1", "lungs", "lungs-unet@1", "runs/r1", RunState.RUNNING, 1, None, now()))
    project.close()

    project = Project.open(tmp_path / "p")
    assert project.read_records(Case) == [case, bare]
    assert project.read_records(Prediction, "case_id", case.id) == [prediction]
    assert project.get_record(Review, review.id) == review
    assert project.get_record(Correction, correction.id) == correction
    assert project.get_record(Run, "r1") == run
    assert project.read_records(Prediction, "case_id", bare.id) == []
    project.close()


def test_states_of_reviews_and_runs_change_once_and_survive(tmp_path: Path) -> None:
    project = Project.create(tmp_path)
    review = project.insert(a_review(project.insert(a_case())))
    closed = replace(review, state=ReviewState.ACCEPTED, seconds=61.0, changed_voxels=12, closed=now())
    project.close_review(closed)
    assert project.get_record(Review, review.id) == closed
    with pytest.raises(MedSegError, match="closed already"):
        project.close_review(replace(closed, state=ReviewState.REJECTED))
    run = project.insert(Run("r1", "lungs", "lungs-unet@1", "runs/r1", RunState.RUNNING, 1, None, now()))
    after = project.set_run_state(run, RunState.PROMOTED, "lungs-unet@2")
    assert project.get_record(Run, "r1") == after
    assert after.result_model == "lungs-unet@2"
    project.close()


def test_corrections_and_what_runs_saw_are_immutable(tmp_path: Path) -> None:
    project = Project.create(tmp_path)
    correction = project.insert(a_correction(project.insert(a_review(project.insert(a_case())))))
    project.insert(Run("r1", "lungs", "lungs-unet@1", "runs/r1", RunState.RUNNING, 1, None, now()))
    project.add_run_items([RunItem("r1", correction.id, "patient 1", Role.TRAIN)])
    project.close()
    database = sqlite3.connect(tmp_path / DATABASE)
    for statement in (
        "UPDATE corrections SET labels_file = 'other.tif'",
        "DELETE FROM corrections",
        "UPDATE run_items SET role = 'hold_out'",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="immutable"):
            database.execute(statement)
    database.close()


def test_transaction_keeps_all_or_nothing(tmp_path: Path) -> None:
    project = Project.create(tmp_path)

    def fail_half_way() -> None:
        with project.transaction():
            project.insert(a_case())
            raise RuntimeError("the power is gone")

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert project.read_records(Case) == []
    with pytest.raises(sqlite3.IntegrityError):
        project.insert(a_review(replace(a_case(), id=99)))
    project.close()


def test_a_transaction_inside_another_is_taken_back_alone(tmp_path: Path) -> None:
    project = Project.create(tmp_path)

    def fail_half_way() -> None:
        with project.transaction():
            project.insert(a_review(project.insert(a_case("bad"))))
            assert len(project.read_records(Case)) == 2
            raise MedSegError("this case is refused")

    with project.transaction():
        good = project.insert(a_case("a"))
        before = project.n_changes
        with pytest.raises(MedSegError, match="refused"):
            fail_half_way()
        assert project.n_changes > before + 3, "what was read inside is not current any more"
        other = project.insert(a_case("b"))
    assert [case.id for case in project.read_records(Case)] == [good.id, other.id]
    assert project.read_records(Review) == []
    project.close()


def test_last_decision_on_a_group_counts_for_all_its_cases(tmp_path: Path) -> None:
    project = Project.create(tmp_path)
    first, second = project.insert(a_case("a")), project.insert(a_case("b"))
    other = project.insert(a_case("c", group="patient 2"))
    project.set_hold_out("patient 1", True)
    assert [case.held_out for case in project.read_records(Case)] == [True, True, False]
    project.set_hold_out("patient 1", False)
    assert not project.get_record(Case, first.id).held_out
    assert not project.get_record(Case, second.id).held_out
    assert project.read_hold_out_groups() == {first.group: False}
    assert project.identities.read_groups() == {first.group: "patient 1", other.group: "patient 2"}
    project.close()


def test_items_of_failed_runs_do_not_count_as_seen(tmp_path: Path) -> None:
    project = Project.create(tmp_path)
    correction = project.insert(a_correction(project.insert(a_review(project.insert(a_case())))))
    run = project.insert(Run("r1", "lungs", "lungs-unet@1", "runs/r1", RunState.RUNNING, 1, None, now()))
    item = RunItem("r1", correction.id, project.read_records(Case)[0].group, Role.TRAIN)
    project.add_run_items([item])
    assert project.read_run_items() == [item]
    project.set_run_state(run, RunState.FAILED)
    assert project.read_run_items() == []
    project.close()


def test_database_of_version_1_is_migrated(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / DATABASE)
    for statement in MIGRATIONS[0]:
        database.execute(statement)
    database.execute(
        "INSERT INTO cases VALUES (7, 'lungs', 'old', 'patient 1', 'c0', 'YX', '[4, 5]', 'null', '[]', '2025')"
    )
    database.execute("PRAGMA user_version = 1")
    database.commit()
    database.close()

    project = Project.open(tmp_path)
    assert project.get_record(Case, 7).file_name == "old"
    review = project.insert(a_review(project.get_record(Case, 7)))
    project.insert(a_correction(review))
    project.close()

    database = sqlite3.connect(tmp_path / DATABASE)
    assert database.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)
    with pytest.raises(sqlite3.IntegrityError, match="immutable"):
        database.execute("DELETE FROM corrections")
    database.close()
    assert not list(tmp_path.glob("*.before-version-*")), "a copy with clear names does not stay"


def test_project_of_a_newer_program_is_refused_and_untouched(tmp_path: Path) -> None:
    Project.create(tmp_path).close()
    database = sqlite3.connect(tmp_path / DATABASE)
    database.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    database.close()
    with pytest.raises(MedSegError, match=r"newer napari-medseg .* Update"):
        Project.open(tmp_path)
    database = sqlite3.connect(tmp_path / DATABASE)
    assert database.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS) + 1
    database.close()


def test_second_window_is_refused_until_the_first_closes(tmp_path: Path) -> None:
    project = Project.create(tmp_path)
    with pytest.raises(MedSegError, match="open in another window"):
        Project.open(tmp_path)
    project.close()
    project.close()
    with contextlib.closing(Project.open(tmp_path)) as project:
        assert not project.read_records(Case)


@pytest.mark.parametrize("damage", [b"this is not a database" * 100, b""])
def test_damaged_database_is_named(tmp_path: Path, damage: bytes) -> None:
    Project.create(tmp_path).close()
    (tmp_path / DATABASE).write_bytes(damage)
    if not damage:
        Project.open(tmp_path).close()  # an empty file is an empty database
        return
    with pytest.raises(MedSegError, match=r"is damaged.*backup"):
        Project.open(tmp_path)


def test_a_name_that_is_no_text_costs_its_case_and_is_not_called_damage(tmp_path: Path) -> None:
    """File names on Linux are bytes; Python reads those that are no UTF-8 as lone surrogates."""
    with contextlib.closing(Project.create(tmp_path)) as project:
        with pytest.raises(MedSegError, match=r"'Kn\\\\udcf6tchen' cannot be stored.*Rename the file") as refused:
            project.insert(replace(a_case(), file_name="Kn\udcf6tchen"))
        assert "damaged" not in str(refused.value)
        assert project.read_records(Case) == []
        assert project.insert(a_case("c1")).id


@pytest.mark.parametrize("loss", ["zero bytes", "no tables", "missing"])
@pytest.mark.parametrize("left", ["labels/correction-1-0123456789abcdef.tif", "journal/3.journal"])
def test_labels_without_their_database_are_no_empty_project(tmp_path: Path, loss: str, left: str) -> None:
    Project.create(tmp_path).close()
    (tmp_path / left).write_bytes(b"work")
    (tmp_path / "project.before-version-7.sqlite").write_bytes(b"copy")
    (tmp_path / DATABASE).unlink()
    if loss == "zero bytes":
        (tmp_path / DATABASE).touch()
    elif loss == "no tables":
        empty = sqlite3.connect(tmp_path / DATABASE)
        empty.execute("PRAGMA journal_mode = WAL")
        empty.close()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and "lock" not in path.name}
    say = rf"files of a project lie beside it, such as {left}.*project.before-version-7.sqlite"
    with pytest.raises(MedSegError, match=say):
        Project.create(tmp_path) if loss == "missing" else Project.open(tmp_path)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and "lock" not in path.name}
    assert after == before


def test_unfinished_files_of_a_killed_window_are_removed_by_the_next(tmp_path: Path) -> None:
    project = Project.create(tmp_path)
    left = [tmp_path / name / ".writing-0123abcd-x.tif" for name in ("labels", "images", "exports", ".")]
    for path in left:
        path.touch()
    with pytest.raises(MedSegError, match="another window"):
        Project.open(tmp_path)
    assert all(path.exists() for path in left), "the other window may be writing them"
    project.close()
    Project.open(tmp_path).close()
    assert not any(path.exists() for path in left)


def test_a_project_that_was_never_begun_and_a_folder_of_pictures_open(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "slice_1.tif").write_bytes(b"mine")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "slice_1.tif").write_bytes(b"mine")
    Project.create(tmp_path).close()
    (tmp_path / DATABASE).write_bytes(b"")  # killed before the first table
    with contextlib.closing(Project.open(tmp_path)) as project:
        assert not project.read_records(Case)


def test_overwritten_page_is_noticed_at_opening(tmp_path: Path) -> None:
    project = Project.create(tmp_path)
    for number in range(300):
        project.insert(a_case(f"c{number}"))
    project.close()
    data = bytearray((tmp_path / DATABASE).read_bytes())
    half = len(data) // 2 // 4096 * 4096
    data[half : half + 3 * 4096] = b"\xa5" * (3 * 4096)
    (tmp_path / DATABASE).write_bytes(data)
    with pytest.raises(MedSegError, match="is damaged"):
        Project.open(tmp_path)


def change_bytes(path: Path, before: bytes, after: bytes) -> None:
    data = path.read_bytes()
    assert before in data
    assert len(before) == len(after)
    path.write_bytes(data.replace(before, after, 1))


@pytest.mark.parametrize("shape", [b"[4, 5}", b"[4, \xff]", b"44, 55", b"{4, 5]"])
def test_a_damaged_row_is_named_once_and_the_others_are_read(
    tmp_path: Path, shape: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    project = Project.create(tmp_path)
    cases = [project.insert(a_case(f"c{number}")) for number in range(3)]
    for case in cases:
        project.close_review(replace(project.insert(a_review(case)), state=ReviewState.ACCEPTED, closed=now()))
        project.insert(a_correction(project.read_records(Review)[-1]))
    project.close()
    change_bytes(tmp_path / DATABASE, b"c1YX[4, 5]", b"c1YX" + shape)
    project = Project.open(tmp_path)
    for _ in range(70):
        assert project.read_records(Case) == [cases[0], cases[2]]
        assert [one.case for one in project.read_case_histories()] == [cases[0], cases[2]]
        assert [case for case, _ in project.read_accepted_cases("lungs")] == [cases[0], cases[2]]
    told = [record.message for record in caplog.records if "is left out" in record.message]
    assert len(told) == 1
    assert told[0].startswith(f"{tmp_path / DATABASE}: the row 2 of the table cases is damaged")
    with pytest.raises(MedSegError, match="the row 2 of the table cases is damaged"):
        project.read_case_history(2)
    with pytest.raises(MedSegError, match="no case 2"):
        project.get_record(Case, 2)
    project.close()


def test_a_wrong_byte_in_a_name_costs_the_name_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    project = Project.create(tmp_path)
    project.insert(replace(a_case(), name="a long name"))
    project.insert(a_case("c1"))
    project.close()
    change_bytes(tmp_path / DATABASE, b"a long name", b"a l\xffng name")
    project = Project.open(tmp_path)
    for _ in range(70):
        assert [case.file_name for case in project.read_records(Case)] == ["a l\ufffdng name", "slice"]
    project.close()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "has wrong bytes" in caplog.text
    assert "ng name" not in caplog.text


@pytest.mark.parametrize("damage", [b"CREATE TABLE casez", b"CREATE TABLE\0cases", b"CREATE\xffTABLE cases"])
def test_a_damaged_schema_is_a_message(tmp_path: Path, damage: bytes) -> None:
    project = Project.create(tmp_path)
    project.insert(a_case())
    project.close()
    change_bytes(tmp_path / DATABASE, b"CREATE TABLE cases", damage)
    with pytest.raises(MedSegError, match="is damaged"):
        Project.open(tmp_path).read_records(Case)


def test_folder_without_project_and_with_one(tmp_path: Path) -> None:
    with pytest.raises(MedSegError, match="holds no project"):
        Project.open(tmp_path / "nowhere")
    Project.create(tmp_path).close()
    with pytest.raises(MedSegError, match="already holds"):
        Project.create(tmp_path)


def test_other_threads_may_not_touch_the_store(tmp_path: Path) -> None:
    project = Project.create(tmp_path)
    caught: list[BaseException] = []

    def intrude() -> None:
        try:
            project.read_records(Case)
        except sqlite3.ProgrammingError as error:
            caught.append(error)

    thread = threading.Thread(target=intrude)
    thread.start()
    thread.join()
    assert len(caught) == 1
    project.close()


def test_missing_record_is_named(tmp_path: Path) -> None:
    project = Project.create(tmp_path)
    with pytest.raises(MedSegError, match="no case 12"):
        project.get_record(Case, 12)
    project.close()
