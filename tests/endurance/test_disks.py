"""A full disk, a disk that can only be read, a folder without permission: nothing is lost, and work goes on after."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from workflow_phantoms import phantom, predicted, write_version

from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.project.case_files import read_case_labels
from napari_medseg.core.project.database import DATABASE, Project
from napari_medseg.core.project.undo_journal import StrokeJournal, get_journal_path
from napari_medseg.inference.engine.client import Engine
from napari_medseg.workflow.cases import list_current_corrections
from napari_medseg.workflow.output.export import export_corrections, list_accepted_rows, read_export_items
from napari_medseg.workflow.preferences import Preferences, read_preferences, write_preferences
from napari_medseg.workflow.review import accept, open_review
from napari_medseg.workflow.workspace import Workspace


def open_workspace(folder: Path) -> Workspace:
    place = folder / "project"
    project = Project.open(place) if (place / DATABASE).exists() else Project.create(place)
    return Workspace(project, ModelRegistry(folder / "registry", folder / "bundled"), Engine(), samples=folder)


def work(ws: Workspace, first: int, n: int, done: dict[int, np.ndarray], strokes: dict[int, int]) -> None:
    """Add, paint and accept cases; remember what was promised. Raises `MedSegError` where the disk ends."""
    with translate_errors():
        for number in range(first, first + n):
            image = phantom(number)
            case, prediction = predicted(ws, image)
            draft = open_review(ws, case, prediction)
            try:
                for place in range(20):
                    draft.record([100 + place], draft.labels.flat[100 + place], 2)
                    strokes[draft.review.id] = place + 1
                labels = draft.labels.copy()
                accept(ws, draft, labels, image)
                done[case.id] = labels
            finally:
                draft.close()


def check(ws: Workspace, done: dict[int, np.ndarray], strokes: dict[int, int]) -> None:
    found = {case.id: (case, correction) for case, correction in list_current_corrections(ws, "lungs")}
    assert found.keys() >= done.keys()
    for case_id, labels in done.items():
        np.testing.assert_array_equal(read_case_labels(ws.project.folder, *found[case_id]), labels)
    for review_id, n_strokes in strokes.items():
        journal = StrokeJournal(get_journal_path(ws.project.folder, review_id))
        assert len(journal.applied_strokes) >= n_strokes
        journal.close()


def fill(disk: Path, done: dict[int, np.ndarray], strokes: dict[int, int]) -> str:
    """Work until the disk is full, look that all is there, and return the message."""
    ws, reason = None, ""
    try:
        ws = open_workspace(disk)
        work(ws, 0, 1000, done, strokes)
    except MedSegError as error:
        reason = str(error)
    if ws is not None:
        check(ws, done, strokes)
        ws.close()
    return reason


@pytest.mark.timeout(0)
def test_a_disk_that_fills_up_costs_nothing_that_was_promised(mount: Callable[..., Path], is_long: bool) -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(150, 1500, 200 if is_long else 6)
    for size_kib in map(int, sizes):
        disk = mount(size_kib)
        write_version(disk / "bundled" / "lungs-unet" / "1")
        done: dict[int, np.ndarray] = {}
        strokes: dict[int, int] = {}
        reason = fill(disk, done, strokes)
        assert any(word in reason for word in ("disk", "space", "full")), reason
        mount(folder=disk, options=f"remount,size={size_kib + 4096}k")
        ws = open_workspace(disk)
        check(ws, done, strokes)
        work(ws, 5000, 2, done, strokes)
        check(ws, done, strokes)
        ws.close()


def test_a_disk_that_can_only_be_read_is_named_and_nothing_changes(mount: Callable[..., Path], tmp_path: Path) -> None:
    disk = mount(8192)
    write_version(disk / "bundled" / "lungs-unet" / "1")
    ws = open_workspace(disk)
    done: dict[int, np.ndarray] = {}
    strokes: dict[int, int] = {}
    work(ws, 0, 2, done, strokes)
    items = read_export_items(ws, list_accepted_rows(ws, "lungs"))
    write_preferences(ws.registry, Preferences(budget_s=30.0))
    ws.close()
    before = {path: path.read_bytes() for path in disk.rglob("*") if path.is_file()}
    mount(folder=disk, options="remount,ro")
    for change in (
        lambda: open_workspace(disk),
        lambda: write_preferences(ws.registry, Preferences(budget_s=60.0)),
        lambda: ws.registry.promote("lungs-unet@1"),
        lambda: export_corrections(items, disk / "export", ".tif", True),
    ):
        with pytest.raises(MedSegError, match=str(disk)), translate_errors():
            change()
    assert read_preferences(ws.registry).budget_s == 30.0
    mount(folder=disk, options="remount,rw")
    left = {path: path.read_bytes() for path in disk.rglob("*") if path.is_file() and "lock" not in path.name}
    assert left == {path: content for path, content in before.items() if "lock" not in path.name}
    ws = open_workspace(disk)
    check(ws, done, strokes)
    ws.close()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root ignores permissions")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(MedSegError, match="locked"):
        open_workspace(tmp_path / "locked")
