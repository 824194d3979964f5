"""Clocks that are set, folders that are renamed, and several processes that work on the same files."""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_disks import check, open_workspace
from workflow_phantoms import phantom, predicted, write_version

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.project.lock import lock_shared_folder
from napari_medseg.workflow.cases import list_cases
from napari_medseg.workflow.preferences import Preferences, read_preferences, write_preferences
from napari_medseg.workflow.review import accept, open_review
from napari_medseg.workflow.workspace import Workspace

STEPS_S = (-10 * 365 * 86400.0, -3600.0, -1.0, 0.0, 3600.0, 10 * 365 * 86400.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_version(tmp_path / "bundled" / "lungs-unet" / "1")
    return tmp_path


def test_steps_of_the_clock_change_neither_order_nor_labels(
    folder: Path, monkeypatch: pytest.MonkeyPatch, is_long: bool
) -> None:
    rng, true_time = random.Random(0), time.time
    offset = [0.0]
    monkeypatch.setattr(time, "time", lambda: true_time() + offset[0])
    done: dict[int, np.ndarray] = {}
    ws = open_workspace(folder)
    for number in range(300 if is_long else 12):
        offset[0] = rng.choice(STEPS_S)
        image = phantom(number)
        case, prediction = predicted(ws, image)
        draft = open_review(ws, case, prediction)
        draft.record([number], draft.labels.flat[number], 2)
        offset[0] = rng.choice(STEPS_S)
        draft.add_seconds(1.0)
        done[case.id] = draft.labels.copy()
        accept(ws, draft, done[case.id], image)
        if number % 4 == 3:
            ws.close()
            ws = open_workspace(folder)
    check(ws, done, {})
    assert [row.case.id for row in list_cases(ws, "lungs")] == sorted(done)
    assert all(row.review is None or row.review.seconds < 100 for row in list_cases(ws, "lungs"))
    ws.close()


def test_a_project_that_is_renamed_while_it_is_open_loses_nothing(folder: Path, is_long: bool) -> None:
    rng = random.Random(0)
    done: dict[int, np.ndarray] = {}
    ws = open_workspace(folder)
    for number in range(100 if is_long else 6):
        image = phantom(number)
        case, prediction = predicted(ws, image)
        draft = open_review(ws, case, prediction)
        draft.record([number], 0, 2)
        labels = draft.labels.copy()
        (folder / "project").rename(folder / "elsewhere")
        for _ in range(rng.randrange(1, 4)):
            with pytest.raises(MedSegError, match="renamed"):
                accept(ws, draft, labels, image)
        assert not (folder / "project").exists(), "nothing is written at the old place"
        (folder / "elsewhere").rename(folder / "project")
        np.testing.assert_array_equal(draft.labels, labels)
        accept(ws, draft, labels, image)
        done[case.id] = labels
    check(ws, done, {})
    ws.close()


def run_in_processes(n: int, work: Callable[[int], None]) -> None:
    """Fork processes that do the same at the same time; all of them end well."""
    children = []
    for number in range(n):
        child = os.fork()
        if not child:
            try:
                work(number)
            except BaseException:  # noqa: BLE001 - the end of this process
                os._exit(1)
            os._exit(0)
        children.append(child)
    try:
        codes = [os.waitpid(child, 0)[1] for child in children]
    finally:
        for child in children:
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                continue
    assert codes == [0] * n


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_processes_that_share_a_registry_lose_no_change(folder: Path, is_long: bool) -> None:
    n_each, n_processes = (100, 4) if is_long else (6, 3)
    for name in range(n_processes):
        write_version(folder / f"new{name}", 1, f"weights {name}".encode())

    def work(name: int) -> None:
        for number in range(n_each):
            registry = ModelRegistry(folder / "registry", folder / "bundled")
            registry.promote(registry.add(folder / f"new{name}").id, f"{name} {number}")
            write_preferences(registry, Preferences(budget_s=1.0 + name))

    run_in_processes(n_processes, work)
    registry = ModelRegistry(folder / "registry", folder / "bundled")
    reasons = sorted(change.reason for change in registry.read_history("lungs"))
    assert reasons == sorted(f"{name} {number}" for name in range(n_processes) for number in range(n_each))
    assert len(registry.list_versions("lungs")) == n_processes * n_each + 1
    assert read_preferences(registry).budget_s in [1.0 + name for name in range(n_processes)]


def open_if_free(folder: Path) -> Workspace | None:
    """Open the project, or return `None` while another process has it open or makes it."""
    try:
        return open_workspace(folder)
    except MedSegError as error:
        reason = str(error)
    assert "open in another window" in reason or "already holds a project" in reason, reason
    return None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_processes_that_want_the_same_project_wait_or_are_refused(folder: Path, is_long: bool) -> None:
    n_each, n_processes = (60, 4) if is_long else (5, 3)

    def work(name: int) -> None:
        number, until = 0, time.monotonic() + 120
        while number < n_each and time.monotonic() < until:
            if (ws := open_if_free(folder)) is None:
                time.sleep(0.005)
                continue
            image = phantom(1000 * name + number)
            case, prediction = predicted(ws, image)
            draft = open_review(ws, case, prediction)
            draft.record([name], 0, 2)
            accept(ws, draft, draft.labels, image)
            ws.close()
            number += 1
        assert number == n_each

    run_in_processes(n_processes, work)
    ws = open_workspace(folder)
    rows = list_cases(ws, "lungs")
    assert len(rows) == n_processes * n_each
    assert {row.state for row in rows} == {"accepted"}
    ws.close()


def test_a_lock_that_is_held_is_waited_for(folder: Path) -> None:
    with lock_shared_folder(folder / "registry"):
        child = os.fork()
        if not child:
            write_preferences(ModelRegistry(folder / "registry", folder / "bundled"), Preferences(budget_s=9.0))
            os._exit(0)
        time.sleep(0.2)
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
    assert os.waitpid(child, 0)[1] == 0
    assert read_preferences(ModelRegistry(folder / "registry", folder / "bundled")).budget_s == 9.0
