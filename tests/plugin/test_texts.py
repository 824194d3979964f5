"""No text is cut: in the dock and its forms, in both themes, at 100 % and at 200 % of the display's scale."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cut_texts import find_cut_texts
from napari.components import ViewerModel
from plugin_phantoms import PhantomEngine, write_version
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QVBoxLayout, QWidget

from napari_medseg.core.label_places.place import Place
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.project.database import Project
from napari_medseg.core.quality.label_checks import Finding
from napari_medseg.core.quality.promotion_gate import decide_promotion
from napari_medseg.core.records import Case, Run, RunState
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.plugin.dock import Dock
from napari_medseg.plugin.forms.form_dialog import FormDialog
from napari_medseg.plugin.forms.task_form import TaskDialog
from napari_medseg.plugin.main_widget import WIDTH_PX
from napari_medseg.plugin.panels.labels_panel import NEVER_DRAWN
from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.message_line import MessageLine
from napari_medseg.plugin.widgets.notifications import show_problem, show_result
from napari_medseg.workflow.findings.case_finding import CaseFinding
from napari_medseg.workflow.retrain import CandidateComparison, ComparisonRow
from napari_medseg.workflow.workspace import Workspace
from training.run_folder import Compared, Started

HEIGHT_PX = 690
CASE = Case(1, "lungs", "patient 128 case 1042", "patient 128 #0", "", "YX", (9, 9), None, (), False, "")
PLACE = Place((1, 1), (0, 0), (2, 2), "d")


@pytest.mark.parametrize("scale", ["1", "2"])
def test_no_text_is_cut(scale: str, tmp_path: Path) -> None:
    environment = dict(os.environ, QT_SCALE_FACTOR=scale, PYTHONPATH=os.pathsep.join([*sys.path, str(Path.cwd())]))
    done = subprocess.run(
        [sys.executable, __file__], env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == []


def test_a_cut_text_is_found(qapp: QApplication) -> None:
    window = QWidget()
    button = theme.make_button("Retrain on corrections", "")
    button.setParent(window)
    window.show()
    button.resize(button.sizeHint())
    assert find_cut_texts(window) == []
    button.resize(button.width() // 2, button.height())
    assert "Retrain on corrections" in find_cut_texts(window)[0]
    button.resize(button.sizeHint())
    window.setFixedWidth(button.width() // 2)
    assert "px of a QWidget" in find_cut_texts(window)[0]
    window.close()


def show_states(dock: Dock, messages: MessageLine) -> Iterator[tuple[str, QWidget]]:
    """Bring the dock into its states, and open its forms, one after the other."""
    improve = dock.retrain_panel
    yield "empty", dock
    dock.labels_panel.set_task(TASKS["covid"])
    for value, size in dock.labels_panel._sizes.items():
        size.setText(NEVER_DRAWN if value == 3 else "123,456 px, 18.6 %")
    yield "lesions", dock
    dock.labels_panel.set_task(TASKS["lungs"])
    improve.progress.begin("Instruments (endoscopy)")
    improve.progress.show_event(Started(128, 16, 1, 3, "cpu", 90.0, time.time()))
    improve._show_page(improve.progress)
    yield "training", dock
    improve.progress.offer_to_continue(RunState.PAUSED)
    yield "paused", dock
    rows = [Compared(f"patient {n} case {n}", "corrections", 0.995, 0.995, {}, {}, group=str(n)) for n in range(6)]
    view = CandidateComparison(tuple(ComparisonRow(None, "", row) for row in rows), decide_promotion(rows))
    run = Run("r", "lungs", "lungs-unet@1", "", RunState.FINISHED, 7, None, "")
    improve.decision.show_comparison(run, view, dock._workspace.registry.get_live_card("lungs"), "lungs-unet@12")
    improve._show_page(improve.decision)
    yield "comparison", dock
    improve.decision.promote_or_ask_reason()
    yield "reason", dock
    improve._show_page(improve._hint_page)
    specks = Finding("specks", "right lung has 12 specks (smallest 1 px)", False, 1, (PLACE,) * 12)
    improve.findings._task_name = "lungs"
    unseen = Finding("unseen", "accepted unchanged after 1.5 s: was it looked at?", False, 1, ())
    improve.findings._show_findings([CaseFinding(CASE, each, "a") for each in (specks, unseen, specks, specks)])
    improve.findings._go_to_next_place(0)
    yield "findings", dock
    improve.findings._list.setCurrentRow(1)
    assert improve.findings._whole_text.text().endswith(f"({CASE.name})"), "a row is too narrow for its text"
    assert improve.findings._whole_text.isVisible()
    yield "finding with a long text", dock
    dock.prompt.ask(
        "Predict patient 1 case 1 again? The 1,204 voxels that you edited keep your labels.", [("Predict", print)]
    )
    dock.review_panel._reject.ask_note(CASE)
    yield "questions", dock
    dock.prompt.ask(
        "2 endoscopy images for Instruments, 1 histology image for Nuclei (H&E).",
        [(f"All for {title}", print) for title in ("Instruments", "Nuclei", "COVID-19 lesions")],
    )
    yield "question with long answers", dock
    show_problem("right lung and left lung are exchanged. patient 1 case 1 cannot be accepted so: correct the labels.")
    yield "error", messages
    show_result("No better: 0.995 -> 0.995. The training for Lungs (CT, X-ray) has ended.", [("Show", print)])
    yield "result", messages
    for form in (dock.show_export_form, dock.show_preferences_form, improve.show_options_form, dock.show_new_task_form):
        form()
        for dialog in dock.findChildren(FormDialog) + dock.findChildren(TaskDialog):
            yield form.__name__, dialog
            dialog.close()
            dialog.setParent(None)


def print_cut_texts(folder: Path) -> None:
    """Print a line for each text that is cut, in both themes."""
    application = QApplication([])  # noqa: F841 - it lives as long as its name
    write_version(folder / "bundled" / "lungs-unet" / "1")
    registry = ModelRegistry(folder / "registry", folder / "bundled")
    workspace = Workspace(Project.create(folder / "project"), registry, PhantomEngine(), samples=folder)
    for name in ("dark", "light"):
        viewer = ViewerModel()
        window, dock, messages = QWidget(), Dock(viewer, workspace), MessageLine()
        rows = QVBoxLayout(window)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addWidget(dock, stretch=1)
        rows.addWidget(messages)
        window.setStyleSheet(theme.make_style_sheet(name))
        window.resize(WIDTH_PX, HEIGHT_PX)
        window.show()
        for state, widget in show_states(dock, messages):
            if widget is not dock and widget is not messages:
                widget.adjustSize()
            QTest.qWait(30)  # unlike `processEvents`, it deletes what is to be deleted later
            for line in find_cut_texts(widget):
                sys.stdout.write(f"{name}, {state}: {line}\n")
        messages.close_down()
        dock.close_down()
        window.close()
    workspace.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        print_cut_texts(Path(name))
