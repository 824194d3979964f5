"""A project of an older version: its names move into one table, its groups one to one, and no byte keeps them."""

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import pytest

from napari_medseg.core.nifti.header import clear_header_texts
from napari_medseg.core.project.database import DATABASE, Project
from napari_medseg.core.project.identity_migration import IDENTITIES_VERSION
from napari_medseg.core.project.migrations import MIGRATIONS
from napari_medseg.core.records import Case

NAMES = ("Zqerika", "Zqotto", "Zqpaul", "Zqfolder")
SERIES = "1.2.777.9"


def write_old_project(folder: Path) -> None:
    """A project of version 7: case 3 was given another group later, and pages were freed on the way."""
    (folder / "images").mkdir(parents=True)
    database = sqlite3.connect(folder / DATABASE)
    for statement in (one for steps in MIGRATIONS[: IDENTITIES_VERSION - 1] for one in steps):
        database.execute(statement)
    cases = [(1, "lungs", "Zqerika"), (2, "lungs", "Zqotto"), (3, "nuclei", "Zqpaul"), (4, "lungs", "Zqerika")]
    for number, task, group in cases:
        sources = json.dumps([f"/data/Zqfolder/{group}_{number}.dcm"])
        row = (number, task, f"{group} thorax", group, f"c{number}", "YX", "[4, 5]", "null", sources, "2025")
        database.execute(f"INSERT INTO cases VALUES ({', '.join('?' * 10)})", row)
        database.execute('INSERT INTO hold_out ("group", held_out, created) VALUES (?, ?, ?)', [group, number == 2, ""])
        database.execute("INSERT INTO reviews VALUES (?, ?, NULL, 'accepted', 1, 0, 'mara', '', '')", [number, number])
        values = (number, number, number, "lungs-unet@1", "", "", "", 1, 0, "mara", "2025", "", "")
        database.execute(f"INSERT INTO corrections VALUES ({', '.join('?' * 13)})", values)
        (folder / "images" / f"c{number}.json").write_text(json.dumps(an_origin()), encoding="utf-8")
    database.execute("INSERT INTO runs VALUES ('r1', 'lungs', '', 'runs/r1', 'finished', 2, NULL, '2025')")
    database.executemany("INSERT INTO run_items VALUES ('r1', ?, ?, 'train')", [(1, "Zqerika"), (2, "Zqotto")])
    database.execute("INSERT INTO case_groups (case_id, \"group\", created) VALUES (3, 'Zqerika', '2025')")
    database.execute("INSERT INTO group_patterns (pattern, created) VALUES ('(Zqerika|Zqotto)', '2025')")
    database.executemany("INSERT INTO group_patterns (pattern, created) VALUES (?, '')", [("Zqerika" * 500,)] * 20)
    database.execute("DELETE FROM group_patterns WHERE id > 1")  # old pages keep the names
    database.execute(f"PRAGMA user_version = {IDENTITIES_VERSION - 1}")
    database.commit()
    database.close()


def an_origin() -> dict[str, object]:
    header = nib.Nifti1Header()
    header["descrip"], header["aux_file"] = b"Zqerika", b"Zqotto"
    return {
        "modality": "CT",
        "units": "HU",
        "series": SERIES,
        "nifti_header": header.binaryblock.hex(),
        "acquisition": {"sop_class": "", "body_part": "CHEST Zqerika", "view": ""},
    }


@pytest.fixture
def migrated(tmp_path: Path) -> Iterator[Project]:
    write_old_project(tmp_path)
    with contextlib.closing(Project.open(tmp_path)) as project:
        yield project


def test_cases_keep_their_clear_names_in_the_table_only(migrated: Project) -> None:
    first, second, third, fourth = migrated.read_records(Case)
    assert [case.name for case in (first, second, third)] == [
        "patient 1 case 1",
        "patient 2 case 2",
        "patient 1 case 3",
    ]
    assert (first.file_name, first.sources) == ("Zqerika thorax", ("/data/Zqfolder/Zqerika_1.dcm",))
    assert first.series == SERIES
    assert first.group == third.group == fourth.group != second.group
    assert migrated.identities.read_groups()[first.group] == "Zqerika"
    assert migrated.identities.read_pattern() == "(Zqerika|Zqotto)"
    assert migrated.identities.key_group("Zqerika") == first.group, "a new image of the patient joins"


def test_the_hold_out_and_what_runs_saw_are_the_same(migrated: Project) -> None:
    cases = migrated.read_records(Case)
    assert [case.held_out for case in cases] == [False, True, False, False]
    assert [item.group for item in migrated.read_run_items()] == [cases[0].group, cases[1].group]
    labels = sorted(group.partition(" #")[0] for group in migrated.read_hold_out_groups())
    assert labels == ["patient 1", "patient 2", "slide 1"]


def test_no_byte_outside_the_table_keeps_a_name(migrated: Project) -> None:
    folder = migrated.folder
    migrated.close()
    assert [path.name for path in folder.glob("*.sqlite*")] == [DATABASE], "neither the backup nor a log stays"
    database = sqlite3.connect(folder / DATABASE)
    database.execute("PRAGMA secure_delete = ON")
    database.execute("DELETE FROM identities")
    database.commit()
    database.close()
    for path in (path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        assert not [name for name in (*NAMES, SERIES) if name.encode() in content], path.name
    origin = json.loads((folder / "images" / "c1.json").read_text(encoding="utf-8"))
    assert origin["acquisition"]["body_part"] == "CHEST"
    assert bytes.fromhex(origin["nifti_header"]) == clear_header_texts(bytes.fromhex(origin["nifti_header"]))


def test_a_migration_that_was_killed_is_completed(tmp_path: Path) -> None:
    """The backup is the last to go: while it is there, the files are cleaned again."""
    write_old_project(tmp_path)
    Project.open(tmp_path).close()
    backup = tmp_path / f"project.before-version-{IDENTITIES_VERSION}.sqlite"
    backup.write_bytes(b"as it was")
    origin = tmp_path / "images" / "c1.json"
    origin.write_text(json.dumps(an_origin()), encoding="utf-8")
    Project.open(tmp_path).close()
    assert not backup.exists()
    assert SERIES not in origin.read_text(encoding="utf-8")


def test_two_projects_have_two_keys(tmp_path: Path) -> None:
    groups = set()
    for name in ("a", "b"):
        with contextlib.closing(Project.create(tmp_path / name)) as project:
            groups.add(project.identities.key_group("Zqerika"))
    assert len(groups) == 2
    assert {group.partition(" #")[0] for group in groups} == {"patient 1"}
