"""Export in the window: files that name a patient are written after a question only, or without names."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_files import write_series
from plugin_phantoms import Texts
from pytestqt.qtbot import QtBot

from napari_medseg.core import formats
from napari_medseg.core.project.identities import SHARED_PATIENT
from napari_medseg.plugin.forms.export_form import ExportChoice, make_export_form
from napari_medseg.plugin.panels.export_progress import ExportProgress
from napari_medseg.plugin.widgets.inline_prompt import InlinePrompt
from napari_medseg.workflow.cases import add_cases
from napari_medseg.workflow.review import accept, open_review
from napari_medseg.workflow.workspace import Workspace


@pytest.fixture
def accepted(ws: Workspace, tmp_path: Path) -> Workspace:
    write_series(tmp_path / "ct", np.random.default_rng(0).integers(0, 900, (2, 48, 64)).astype(np.int16))
    image = formats.read(tmp_path / "ct")
    (case,) = add_cases(ws, [image], "lungs")
    labels = np.zeros(image.spatial_shape, np.uint8)
    labels[:, 10:30, 5:20], labels[:, 10:30, 40:60] = 1, 2
    accept(ws, open_review(ws, case, None), labels, image)
    return ws


@pytest.mark.parametrize(("answer", "names"), [(0, "*.rtstruct.dcm"), (1, "*/labels.rtstruct.dcm"), (2, "")])
def test_a_person_is_asked_before_a_patient_is_named(
    accepted: Workspace, qtbot: QtBot, tmp_path: Path, told: Texts, answer: int, names: str
) -> None:
    pytest.importorskip("highdicom")
    prompt, progress = InlinePrompt(), ExportProgress(accepted)
    for widget in (prompt, progress):
        qtbot.addWidget(widget)
    answers: list[Callable[[], None]] = []
    prompt.ask = lambda text, choices: answers.extend(call for _, call in choices)  # type: ignore[method-assign]
    progress.ask_and_write(prompt, "lungs", ExportChoice("rtstruct", tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    answers[answer]()
    qtbot.waitUntil(lambda: progress._worker is None, timeout=20_000)
    assert bool(names) == (tmp_path / "out").exists()
    assert not names or list((tmp_path / "out").glob(names))


def test_closing_while_dicom_is_shared_keeps_what_its_files_call_the_patient(
    accepted: Workspace, qtbot: QtBot, tmp_path: Path
) -> None:
    pytest.importorskip("highdicom")
    progress = ExportProgress(accepted)
    qtbot.addWidget(progress)
    progress.share("lungs", ExportChoice("dicom-seg", tmp_path / "out"))
    progress._worker.wait()  # all is written, and the window has not heard of it
    progress.close_down()
    assert accepted.project.identities.read_shared(SHARED_PATIENT)
    accepted.close()
    qtbot.waitUntil(lambda: progress._worker is None)


def test_a_data_set_is_written_from_the_form(accepted: Workspace, qtbot: QtBot, tmp_path: Path, told: Texts) -> None:
    prompt, progress = InlinePrompt(), ExportProgress(accepted)
    for widget in (prompt, progress):
        qtbot.addWidget(widget)
    form = make_export_form(lambda choice: progress.ask_and_write(prompt, "lungs", choice), ".tif", tmp_path, False)
    form.suffix.value, form.folder.value = "data set: monai", tmp_path / "out"
    form()
    qtbot.waitUntil(lambda: progress._worker is None, timeout=20_000)
    assert (tmp_path / "out" / "dataset.json").exists()
    assert (tmp_path / "out" / "labels" / "patient-1_case-1.nii.gz").exists()
