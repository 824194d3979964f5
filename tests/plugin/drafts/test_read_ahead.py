"""Image and labels of the next case are read while a person works on the open one."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from plugin_phantoms import phantom, write_phantom
from pytestqt.qtbot import QtBot

from napari_medseg.core.project import case_files
from napari_medseg.plugin.drafts import preparer, read_ahead
from napari_medseg.workflow import draft_opening
from napari_medseg.workflow.cases import list_cases


@pytest.fixture
def two(window: SimpleNamespace, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Two predicted cases, large enough to be read in threads; the first one is open."""
    for where in (read_ahead, preparer):
        monkeypatch.setattr(where, "MAX_VOXELS_AT_ONCE", 10)
    with qtbot.waitSignal(window.worklist.importer.finished):
        window.worklist.importer.read([write_phantom(tmp_path / "in", number) for number in (1, 2)])
    qtbot.waitUntil(lambda: [row.state for row in list_cases(window.ws)] == ["predicted", "predicted"])
    return window


def count_reads(monkeypatch: pytest.MonkeyPatch, where: object) -> list[object]:
    reads: list[object] = []
    read: Callable[..., np.ndarray] = case_files.read_case_labels

    def read_and_count(folder: Path, case: object, record: object) -> np.ndarray:
        reads.append(record)
        return read(folder, case, record)

    monkeypatch.setattr(where, "read_case_labels", read_and_count)
    return reads


def test_the_next_case_opens_without_reading_a_file(
    two: SimpleNamespace, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, row = two.case_controller, list_cases(two.ws)[1]
    qtbot.waitUntil(lambda: desk.current is not None and desk.current.edit_session is not None)
    qtbot.waitUntil(lambda: row.prediction in desk.labels_ahead)
    reads = count_reads(monkeypatch, draft_opening)
    two.worklist.step(1)
    qtbot.waitUntil(lambda: desk.current.case.id == row.case.id and desk.current.edit_session is not None)
    assert reads == []
    assert row.prediction not in desk.labels_ahead, "they are the draft's now"
    np.testing.assert_array_equal(desk.current.image.pixels, phantom(2).pixels)
    assert desk.current.labels_layer.data.any()


def test_labels_of_an_older_prediction_are_not_used(
    two: SimpleNamespace, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, row = two.case_controller, list_cases(two.ws)[1]
    qtbot.waitUntil(lambda: row.prediction in desk.labels_ahead)
    two.worklist.predict_again([row.case])
    qtbot.waitUntil(lambda: list_cases(two.ws)[1].prediction != row.prediction)
    newer = list_cases(two.ws)[1].prediction
    qtbot.waitUntil(lambda: row.prediction not in desk.labels_ahead)
    qtbot.waitUntil(lambda: newer in desk.labels_ahead)
    assert row.prediction not in desk.labels_ahead
