"""A project with many cases for the benchmarks of the list; its rows are written as SQL, without images."""

from pathlib import Path

import numpy as np

from napari_medseg.core.project.database import Project

TASK = "lungs"
CASES_PER_GROUP = 3
SHARES = {"accepted": 0.2, "rejected": 0.05, "predicted": 0.35}
"""The other cases are new."""


def fill_project(project: Project, n_cases: int, seed: int = 0) -> None:
    """Write cases of one task: some accepted, rejected or predicted, the rest new."""
    rng = np.random.default_rng(seed)
    states = rng.choice([*SHARES, "new"], n_cases, p=[*SHARES.values(), 1 - sum(SHARES.values())])
    connection, time = project._connection, "2026-01-01T00:00:00.000+00:00"
    groups = [f"patient {n // CASES_PER_GROUP + 1} #{n // CASES_PER_GROUP:016x}" for n in range(n_cases)]
    with project.transaction():
        connection.executemany(
            'INSERT INTO cases (id, task, "group", content_hash, axes, shape, spacing_mm, created) '
            "VALUES (?, ?, ?, ?, 'YX', '[512, 512]', '[0.7, 0.7]', ?)",
            [(n + 1, TASK, groups[n], f"{n:064x}", time) for n in range(n_cases)],
        )
        connection.executemany(
            "INSERT INTO predictions (case_id, model, labels_file, sha256, seconds, uncertainty, created) "
            "VALUES (?, 'lungs-unet@1', ?, '0', 1.8, ?, ?)",
            [(n + 1, f"labels/{n}.tif", float(rng.random()), time) for n in range(n_cases) if states[n] != "new"],
        )
        decided = [n for n in range(n_cases) if states[n] in ("accepted", "rejected")]
        connection.executemany(
            "INSERT INTO reviews (id, case_id, state, seconds, changed_voxels, who, opened, closed) "
            "VALUES (?, ?, ?, 45, 900, 'ann', ?, '2026-01-02T00:00:00.000+00:00')",
            [(place + 1, n + 1, str(states[n]), time) for place, n in enumerate(decided)],
        )
        connection.executemany(
            "INSERT INTO corrections (review_id, case_id, model, image_file, labels_file, sha256, seconds, "
            "changed_voxels, who, created) VALUES (?, ?, 'lungs-unet@1', 'i', 'l', '0', 45, 900, 'ann', ?)",
            [(place + 1, n + 1, time) for place, n in enumerate(decided) if states[n] == "accepted"],
        )


def make_project(folder: Path, n_cases: int) -> Project:
    """Create a project with many cases."""
    project = Project.create(folder)
    fill_project(project, n_cases)
    return project
