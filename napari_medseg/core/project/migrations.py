"""The schema of `project.sqlite` as an append-only list of migrations. Entry `n` migrates version `n` to `n + 1`."""

import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.project.identity_migration import (
    IDENTITIES_VERSION,
    finish_identities,
    get_backup_path,
    move_identities,
)
from napari_medseg.core.project.lost_database import ensure_database_not_lost
from napari_medseg.core.project.rows import decode_text
from napari_medseg.core.project.sqlite_errors import translate_sqlite_errors
from napari_medseg.core.readings.readers import move_readers

Step = str | Callable[[sqlite3.Connection], None]
"""A statement, or a function for what SQL cannot do; both in the transaction of their migration."""

MIGRATIONS: tuple[tuple[Step, ...], ...] = (
    (
        """CREATE TABLE cases (
            id INTEGER PRIMARY KEY, task TEXT NOT NULL, name TEXT NOT NULL, "group" TEXT NOT NULL,
            content_hash TEXT NOT NULL, axes TEXT NOT NULL, shape TEXT NOT NULL, spacing_mm TEXT NOT NULL,
            sources TEXT NOT NULL, created TEXT NOT NULL, UNIQUE (task, content_hash))""",
        """CREATE TABLE predictions (
            id INTEGER PRIMARY KEY, case_id INTEGER NOT NULL REFERENCES cases(id), model TEXT NOT NULL,
            labels_file TEXT NOT NULL, sha256 TEXT NOT NULL, seconds REAL NOT NULL, uncertainty REAL,
            created TEXT NOT NULL)""",
        """CREATE TABLE reviews (
            id INTEGER PRIMARY KEY, case_id INTEGER NOT NULL REFERENCES cases(id),
            prediction_id INTEGER REFERENCES predictions(id), state TEXT NOT NULL, seconds REAL NOT NULL,
            changed_voxels INTEGER NOT NULL, who TEXT NOT NULL, opened TEXT NOT NULL, closed TEXT)""",
        """CREATE TABLE corrections (
            id INTEGER PRIMARY KEY, review_id INTEGER NOT NULL UNIQUE REFERENCES reviews(id),
            case_id INTEGER NOT NULL REFERENCES cases(id), model TEXT NOT NULL, image_file TEXT NOT NULL,
            labels_file TEXT NOT NULL, sha256 TEXT NOT NULL, seconds REAL NOT NULL,
            changed_voxels INTEGER NOT NULL, who TEXT NOT NULL, created TEXT NOT NULL)""",
        """CREATE TABLE runs (
            id TEXT PRIMARY KEY, task TEXT NOT NULL, base_model TEXT NOT NULL, folder TEXT NOT NULL,
            state TEXT NOT NULL, n_corrections INTEGER NOT NULL, result_model TEXT, created TEXT NOT NULL)""",
        """CREATE TABLE run_items (
            run_id TEXT NOT NULL REFERENCES runs(id), correction_id INTEGER NOT NULL REFERENCES corrections(id),
            "group" TEXT NOT NULL, role TEXT NOT NULL, PRIMARY KEY (run_id, correction_id))""",
        """CREATE TABLE hold_out (
            id INTEGER PRIMARY KEY, "group" TEXT NOT NULL, held_out INTEGER NOT NULL, created TEXT NOT NULL)""",
        """CREATE VIEW cases_with_side AS SELECT cases.*, coalesce((SELECT held_out FROM hold_out
            WHERE hold_out."group" = cases."group" ORDER BY hold_out.id DESC LIMIT 1), 0) AS held_out FROM cases""",
    ),
    (
        "CREATE INDEX predictions_by_case ON predictions (case_id)",
        "CREATE INDEX reviews_by_case ON reviews (case_id)",
        "CREATE INDEX corrections_by_case ON corrections (case_id)",
        'CREATE INDEX hold_out_by_group ON hold_out ("group", id)',
        # Decisions of a person are history: the database does not allow to change them.
        """CREATE TRIGGER corrections_stay BEFORE UPDATE ON corrections
            BEGIN SELECT RAISE(ABORT, 'a correction is immutable'); END""",
        """CREATE TRIGGER corrections_remain BEFORE DELETE ON corrections
            BEGIN SELECT RAISE(ABORT, 'a correction is immutable'); END""",
        """CREATE TRIGGER run_items_stay BEFORE UPDATE ON run_items
            BEGIN SELECT RAISE(ABORT, 'what a run saw is immutable'); END""",
    ),
    (
        # The region of interest, such as the lungs for lesions: its volume is needed for percentages.
        "ALTER TABLE predictions ADD COLUMN field_file TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE predictions ADD COLUMN field_model TEXT NOT NULL DEFAULT ''",
    ),
    (
        # The review region, if it is not the whole image.
        "ALTER TABLE corrections ADD COLUMN reviewed_file TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE corrections ADD COLUMN reviewed_sha256 TEXT NOT NULL DEFAULT ''",
    ),
    (
        # New version for the run states "paused" and "discarded": programs that do not know them must not open it.
        "CREATE INDEX runs_by_state ON runs (state)",
    ),
    (
        # Later decisions about the group of a case, and the pattern that named them; a case row itself stays as it is.
        """CREATE TABLE case_groups (
            id INTEGER PRIMARY KEY, case_id INTEGER NOT NULL REFERENCES cases(id), "group" TEXT NOT NULL,
            created TEXT NOT NULL)""",
        "CREATE INDEX case_groups_by_case ON case_groups (case_id, id)",
        "CREATE TABLE group_patterns (id INTEGER PRIMARY KEY, pattern TEXT NOT NULL, created TEXT NOT NULL)",
        "DROP VIEW cases_with_side",
        """CREATE VIEW cases_with_group AS SELECT id, task, name, coalesce((SELECT case_groups."group" FROM case_groups
            WHERE case_groups.case_id = cases.id ORDER BY case_groups.id DESC LIMIT 1), cases."group") AS "group",
            content_hash, axes, shape, spacing_mm, sources, created FROM cases""",
        """CREATE VIEW cases_with_side AS SELECT cases_with_group.*, coalesce((SELECT held_out FROM hold_out
            WHERE hold_out."group" = cases_with_group."group" ORDER BY hold_out.id DESC LIMIT 1), 0) AS held_out
            FROM cases_with_group""",
    ),
    (
        # Whether a case is on the list of its task. The last row of a case counts; earlier decisions are history.
        """CREATE TABLE removed_cases (
            id INTEGER PRIMARY KEY, case_id INTEGER NOT NULL REFERENCES cases(id), removed INTEGER NOT NULL,
            created TEXT NOT NULL)""",
        "CREATE INDEX removed_cases_by_case ON removed_cases (case_id, id)",
    ),
    (
        # Names, paths and ids leave all other tables: groups become keyed hashes.
        move_identities,
    ),
    (
        # Masks of other programs and persons: where labels come from, and what the values of a source mean.
        """CREATE TABLE imported_masks (
            id INTEGER PRIMARY KEY, case_id INTEGER NOT NULL REFERENCES cases(id),
            review_id INTEGER NOT NULL REFERENCES reviews(id), source_sha256 TEXT NOT NULL,
            labels_sha256 TEXT NOT NULL, meaning TEXT NOT NULL, how TEXT NOT NULL, who TEXT NOT NULL,
            created TEXT NOT NULL)""",
        "CREATE INDEX imported_masks_by_case ON imported_masks (case_id)",
        "CREATE INDEX imported_masks_by_source ON imported_masks (source_sha256)",
        "ALTER TABLE corrections ADD COLUMN imported TEXT NOT NULL DEFAULT ''",
        """CREATE TABLE mask_meanings (
            id INTEGER PRIMARY KEY, task TEXT NOT NULL, source TEXT NOT NULL, meaning TEXT NOT NULL,
            created TEXT NOT NULL)""",
    ),
    (
        # How many doubtful places of the model's labels there were, and how many of them the person saw.
        "ALTER TABLE reviews ADD COLUMN doubtful_places INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE reviews ADD COLUMN doubtful_places_seen INTEGER NOT NULL DEFAULT 0",
    ),
    (
        # How far the image is from the training images of the model, and what is suspicious about the labels.
        "ALTER TABLE predictions ADD COLUMN domain_distance REAL",
        "ALTER TABLE predictions ADD COLUMN remark TEXT NOT NULL DEFAULT ''",
    ),
    (
        # Readings: people become labels, a second person reads a case blind, and how far labels agree is kept.
        move_readers,
        "ALTER TABLE reviews ADD COLUMN reading INTEGER NOT NULL DEFAULT 1",
        "ALTER TABLE corrections ADD COLUMN reading INTEGER NOT NULL DEFAULT 1",
        "CREATE INDEX reviews_by_reading ON reviews (reading, case_id)",
        """CREATE TABLE draft_agreements (
            id INTEGER PRIMARY KEY, correction_id INTEGER NOT NULL UNIQUE REFERENCES corrections(id), dice REAL,
            labelled_voxels INTEGER NOT NULL, created TEXT NOT NULL)""",
        """CREATE TABLE version_agreements (
            id INTEGER PRIMARY KEY, case_id INTEGER NOT NULL REFERENCES cases(id), older TEXT NOT NULL,
            newer TEXT NOT NULL, dice REAL, created TEXT NOT NULL, UNIQUE (older, newer, case_id))""",
        """CREATE TABLE reader_agreements (
            id INTEGER PRIMARY KEY, first_id INTEGER NOT NULL REFERENCES corrections(id),
            second_id INTEGER NOT NULL REFERENCES corrections(id), unit TEXT NOT NULL, scores TEXT NOT NULL,
            created TEXT NOT NULL, UNIQUE (first_id, second_id))""",
        """CREATE TABLE second_reading_shares (
            id INTEGER PRIMARY KEY, share REAL NOT NULL, who TEXT NOT NULL, created TEXT NOT NULL)""",
        """CREATE TABLE second_reading_choices (
            id INTEGER PRIMARY KEY, case_id INTEGER NOT NULL REFERENCES cases(id), is_chosen INTEGER NOT NULL,
            who TEXT NOT NULL, created TEXT NOT NULL)""",
        """CREATE TABLE ground_truth_choices (
            id INTEGER PRIMARY KEY, case_id INTEGER NOT NULL REFERENCES cases(id),
            correction_id INTEGER NOT NULL REFERENCES corrections(id), made_after INTEGER NOT NULL,
            who TEXT NOT NULL, created TEXT NOT NULL)""",
        "CREATE INDEX ground_truth_choices_by_case ON ground_truth_choices (case_id, id)",
    ),
    (
        # What a person says about a case: the last row counts. Its texts may name someone: they are identities.
        """CREATE TABLE case_notes (
            id INTEGER PRIMARY KEY, case_id INTEGER NOT NULL REFERENCES cases(id), is_flagged INTEGER NOT NULL,
            who TEXT NOT NULL, created TEXT NOT NULL)""",
        "CREATE INDEX case_notes_by_case ON case_notes (case_id, id)",
        """CREATE VIEW case_notes_with_texts AS
            SELECT n.*, coalesce(t.value, '') AS note, coalesce(r.value, '') AS reason FROM case_notes AS n
            LEFT JOIN identities AS t ON t.kind = 'note' AND t.subject = CAST(n.id AS TEXT)
            LEFT JOIN identities AS r ON r.kind = 'rejection reason' AND r.subject = CAST(n.id AS TEXT)""",
        # Findings that a person said to be right; `place_digest` is the hash of the labels there.
        """CREATE TABLE dismissed_findings (
            id INTEGER PRIMARY KEY, case_id INTEGER NOT NULL REFERENCES cases(id), kind TEXT NOT NULL,
            place_digest TEXT NOT NULL, who TEXT NOT NULL, created TEXT NOT NULL)""",
        "CREATE INDEX dismissed_findings_by_case ON dismissed_findings (case_id)",
    ),
    (
        # The share of groups that a person wants to hold out; the last row counts.
        "CREATE TABLE hold_out_shares (id INTEGER PRIMARY KEY, one_in INTEGER NOT NULL, created TEXT NOT NULL)",
    ),
    (
        # Notes of a second reading stand beside those of the first. Whose they are was told by the reviews until now.
        "ALTER TABLE case_notes ADD COLUMN reading INTEGER NOT NULL DEFAULT 1",
        """UPDATE case_notes SET reading = 2 WHERE EXISTS (SELECT 1 FROM reviews AS r
            WHERE r.case_id = case_notes.case_id AND r.who = case_notes.who AND r.reading = 2)""",
    ),
    (
        # Learning at Accept: the adapted weights that predicted, and which corrections they had learnt from.
        *(
            f"ALTER TABLE {table} ADD COLUMN {column}"
            for table in ("predictions", "corrections")
            for column in ("adapted_sha256 TEXT NOT NULL DEFAULT ''", "adapted_corrections TEXT NOT NULL DEFAULT '[]'")
        ),
    ),
    (
        # What the axes of arrays of one kind are; the last row of a source counts, which is a keyed hash.
        """CREATE TABLE array_layouts (
            id INTEGER PRIMARY KEY, source TEXT NOT NULL, layout TEXT NOT NULL, created TEXT NOT NULL)""",
        "CREATE INDEX array_layouts_by_source ON array_layouts (source, id)",
    ),
    (
        # Corrections of a run that its trainer did not read, for want of time or memory: it learnt nothing from them.
        """CREATE TABLE unread_corrections (
            id INTEGER PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs(id),
            correction_id INTEGER NOT NULL REFERENCES corrections(id), UNIQUE (run_id, correction_id))""",
    ),
    (
        # What computed a draft, and with which runtime and precision; unknown of older ones.
        *(
            f"ALTER TABLE {table} ADD COLUMN {column} TEXT NOT NULL DEFAULT ''"
            for table in ("predictions", "corrections")
            for column in ("device", "runtime")
        ),
    ),
)


def open_database(path: Path) -> sqlite3.Connection:
    """Open the database of a project, new or of any earlier version; raise `MedSegError` if that is impossible."""
    with translate_sqlite_errors(path):
        connection = sqlite3.connect(path, isolation_level=None, timeout=5.0)
        connection.text_factory = partial(decode_text, path)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            if (verdict := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise sqlite3.DatabaseError(verdict)
            if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                ensure_database_not_lost(path)
            migrate(connection, path)
        except (sqlite3.Error, UnicodeError, MedSegError):
            connection.close()
            raise
    return connection


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Migrate a database to this program's version, one transaction per step; a backup of the old one is kept.

    The backup of a version with clear names in its tables is removed when the migration is complete.

    Raises
    ------
    MedSegError
        If a newer version of the program wrote it.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        raise MedSegError(
            f"{path} was written by a newer napari-medseg (database version {version}; this program knows "
            f"{len(MIGRATIONS)}). Update napari-medseg, or open another project; nothing was changed."
        )
    connection.execute("PRAGMA secure_delete = ON")
    if 0 < version < len(MIGRATIONS):
        has_names = version < IDENTITIES_VERSION
        _back_up_database(connection, get_backup_path(path, IDENTITIES_VERSION if has_names else len(MIGRATIONS)))
    for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for step in statements:
                step(connection) if callable(step) else connection.execute(step)
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except sqlite3.Error:
            if connection.in_transaction:  # SQLite itself rolls back on a full disk; a second time would hide that
                connection.execute("ROLLBACK")
            raise
    finish_identities(connection, path)


def _back_up_database(connection: sqlite3.Connection, path: Path) -> None:
    copy = sqlite3.connect(path)
    try:
        connection.backup(copy)
    finally:
        copy.close()
