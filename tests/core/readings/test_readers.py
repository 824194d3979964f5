"""Accounts of older projects become labels; what rows say about persons stays the same."""

import sqlite3
from pathlib import Path

import pytest

from napari_medseg.core.project.database import DATABASE, Project
from napari_medseg.core.project.migrations import MIGRATIONS
from napari_medseg.core.readings.readers import move_readers
from napari_medseg.core.records import Correction, ImportedMask, Review

N_BEFORE = next(number for number, steps in enumerate(MIGRATIONS) if move_readers in steps)


def test_accounts_become_labels_and_corrections_stay_immutable(tmp_path: Path) -> None:
    Project.create(tmp_path).close()  # the folders
    (tmp_path / DATABASE).unlink()
    database = sqlite3.connect(tmp_path / DATABASE)
    for steps in MIGRATIONS[:N_BEFORE]:
        for step in steps:
            step(database) if callable(step) else database.execute(step)
    database.execute("INSERT INTO cases VALUES (1, 'lungs', 'patient 1 #0', 'c', 'YX', '[4, 5]', 'null', '2025')")
    for number, who in enumerate(["mara", "reader 1", "mara"], start=1):
        database.execute(
            "INSERT INTO reviews (id, case_id, state, seconds, changed_voxels, who, opened) "
            "VALUES (?, 1, 'open', 3, 0, ?, '')",
            [number, who],
        )
        database.execute(
            "INSERT INTO corrections (review_id, case_id, model, image_file, labels_file, sha256, seconds, "
            "changed_voxels, who, created) VALUES (?, 1, 'm@1', '', '', '', 3, 0, ?, '')",
            [number, who],
        )
    database.execute(
        "INSERT INTO imported_masks (case_id, review_id, source_sha256, labels_sha256, meaning, how, who, created) "
        "VALUES (1, 1, '', '', '', '', 'jo', '')"
    )
    database.execute(f"PRAGMA user_version = {N_BEFORE}")
    database.commit()
    database.close()

    project = Project.open(tmp_path)
    assert project.identities.read_readers() == {"reader 1": "mara", "reader 2": "reader 1", "reader 3": "jo"}
    expected = ["reader 1", "reader 2", "reader 1"]
    assert [review.who for review in project.read_records(Review)] == expected
    assert [(one.who, one.reading) for one in project.read_records(Correction)] == [(who, 1) for who in expected]
    assert [mask.who for mask in project.read_records(ImportedMask)] == ["reader 3"]
    project.close()
    database = sqlite3.connect(tmp_path / DATABASE)
    with pytest.raises(sqlite3.IntegrityError, match="immutable"):
        database.execute("UPDATE corrections SET who = 'x'")
    database.close()
