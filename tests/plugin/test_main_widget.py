"""The dock in a real napari window: its place, its drops, its end."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cut_texts import find_cut_texts
from napari._qt import qt_main_window
from napari._qt.dialogs.qt_notification import NapariQtNotification
from napari._qt.qt_main_window import _instantiate_dock_widget
from napari.settings import get_settings
from plugin_phantoms import Texts, drop_on, phantom, write_phantom
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QCloseEvent, QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractSpinBox, QApplication, QComboBox, QScrollArea

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.plugin.keymap import STATUS_HELP
from napari_medseg.plugin.main_widget import CloseChoice, MedSegWidget
from napari_medseg.plugin.reader_preference import prefer_our_reader
from napari_medseg.plugin.views.plane_slices import Plane
from napari_medseg.plugin.widgets.notifications import settle_messages, show_notice, show_problem
from napari_medseg.workflow import review
from napari_medseg.workflow.workspace import Workspace
from training.run_folder import EpochEnded, Started

pytestmark = pytest.mark.skipif(
    os.environ.get("QT_QPA_PLATFORM") == "offscreen" or (sys.platform == "linux" and not os.environ.get("DISPLAY")),
    reason="needs a display with OpenGL: xvfb-run",
)
NAME = "MedSeg"


@pytest.fixture
def proxy(make_napari_viewer_proxy: Callable[..., Any]) -> Any:
    """What napari gives a plugin: private names are out of reach."""
    return make_napari_viewer_proxy(show=True)


@pytest.fixture
def viewer(proxy: Any) -> Any:
    """The same viewer, for the person who drops, looks and closes."""
    viewer = proxy.__wrapped__
    viewer.window._qt_window.setGeometry(0, 0, 1280, 720)
    return viewer


@pytest.fixture
def choice() -> list[CloseChoice]:
    """What the person answers when the window closes while a model learns."""
    return [CloseChoice.LEAVE_RUNNING]


@pytest.fixture
def widget(viewer: Any, proxy: Any, ws: Workspace, choice: list[CloseChoice], qtbot: QtBot) -> Iterator[MedSegWidget]:
    widget = MedSegWidget(proxy, ws, ask=lambda _: choice[0])
    viewer.window.add_dock_widget(widget, name=NAME)
    qtbot.waitUntil(widget.isVisible)
    yield widget
    widget.close_down()


def predicted(widget: MedSegWidget, name: str) -> bool:
    current = widget.dock.case_controller.current
    return current is not None and current.case.file_name == name and current.labels_layer is not None


def test_a_file_dropped_on_the_canvas_is_predicted(
    viewer: Any, widget: MedSegWidget, qtbot: QtBot, tmp_path: Path
) -> None:
    assert drop_on(viewer.window._qt_viewer, write_phantom(tmp_path, 1))
    qtbot.waitUntil(lambda: predicted(widget, "case1"))
    assert drop_on(viewer.window._qt_viewer._welcome_widget, write_phantom(tmp_path, 2))
    qtbot.waitUntil(lambda: predicted(widget, "case2"))
    assert drop_on(widget.dock, write_phantom(tmp_path, 3))
    qtbot.waitUntil(lambda: predicted(widget, "case3"))
    assert [layer.name for layer in viewer.layers] == ["patient 3 case 3", "lungs: patient 3 case 3 (predicted)"]


def test_medical_files_open_with_our_reader_unless_the_user_chose_another(widget: MedSegWidget) -> None:
    chosen = get_settings().plugins.extension2reader
    assert chosen["*.dcm"] == "napari-medseg"
    assert "*.png" not in chosen
    get_settings().plugins.extension2reader = {**chosen, "*.dcm": "another"}
    assert prefer_our_reader() == []
    assert get_settings().plugins.extension2reader["*.dcm"] == "another"


def test_an_unusable_drop_is_one_message_and_nothing_changes(
    viewer: Any, widget: MedSegWidget, qtbot: QtBot, tmp_path: Path, told: Texts
) -> None:
    mine = viewer.add_points([[1, 2]])
    (tmp_path / "broken.dcm").write_bytes(b"no DICOM at all")
    drop_on(viewer.window._qt_viewer, tmp_path / "broken.dcm")
    qtbot.waitUntil(lambda: "broken.dcm" in told)
    qtbot.wait(50)
    assert len([text for text in told if "broken.dcm" in text]) == 1
    assert list(viewer.layers) == [mine]


def test_all_sections_are_in_view_at_1280_by_720_in_both_themes(
    viewer: Any, widget: MedSegWidget, qtbot: QtBot, tmp_path: Path
) -> None:
    drop_on(viewer.window._qt_viewer, write_phantom(tmp_path, 1))
    qtbot.waitUntil(lambda: predicted(widget, "case1"))
    widget.messages.dismiss_all()  # a notice of the file would fade in 13 s
    area = widget.dock.findChild(QScrollArea)
    qtbot.waitUntil(lambda: area.viewport().height() > 560)
    improve = widget.dock.retrain_panel
    for theme in ("dark", "light"):
        viewer.theme = theme
        for page in (improve._hint_page, improve.progress):
            improve._pages.show_page(page)
            qtbot.wait(50)
            content = area.widget()
            assert content.minimumSizeHint().width() <= area.viewport().width(), theme
            assert viewer.help == STATUS_HELP  # napari's names digits that do something else here
            assert content.sizeHint().height() <= area.viewport().height(), theme
            assert find_cut_texts(widget) == [], theme
        assert widget.width() <= 360, theme
    case_panel = widget.dock.case_panel
    case_panel._held_out.show()
    case_panel.set_status("1,212 of 9,500, 9 h 10 left")
    case_panel._unfold.click()
    widget.dock.review_panel.set_status("saved · 12:02 · 120k vox")
    qtbot.wait(50)
    assert find_cut_texts(case_panel) == []
    assert find_cut_texts(widget.dock.review_panel) == []
    accept = widget.dock.review_panel._accept
    assert accept.mapTo(widget, accept.rect().bottomLeft()).y() < widget.height()


def test_the_buttons_that_end_a_review_never_move_while_one_works(
    viewer: Any, widget: MedSegWidget, qtbot: QtBot, tmp_path: Path
) -> None:
    """A click on Accept must not hit another button because a text came or went."""
    drop_on(viewer.window._qt_viewer, write_phantom(tmp_path, 1))
    qtbot.waitUntil(lambda: predicted(widget, "case1"))
    widget.messages.dismiss_all()  # a notice of the file would fade in 13 s
    qtbot.waitUntil(lambda: widget.dock.findChild(QScrollArea).viewport().height() > 560)
    dock, next_place = widget.dock, widget.dock.guidance.places_row.button
    review, case_panel = dock.review_panel, dock.case_panel
    long_text = "place 3 of 12, right lung: 84 of 1,200 voxels may be wrong; ` if it is right, and more words. " * 2
    show_notice("a notice that is gone after some seconds")
    widget.messages.dismiss()

    def find_places() -> list[QPoint]:
        qtbot.wait(30)
        buttons = (review._accept, review._reject, review._reset)
        return [button.mapTo(widget, QPoint(0, 0)) for button in buttons]

    before, next_before = find_places(), next_place.mapTo(widget, QPoint(0, 0))
    assert before[0].y() > next_before.y()
    happenings: dict[str, Callable[[], object]] = {
        "a tool says something": lambda: dock.correction.editor.said.emit(long_text),
        "a notice": lambda: show_notice(long_text),
        "an error": lambda: show_problem(MedSegError(long_text)),
    }
    for what, happen in happenings.items():
        happen()
        assert find_places() == before, what
        moved = next_place.mapTo(widget, QPoint(0, 0)) - next_before  # a scroll bar may come
        assert moved.manhattanLength() < next_place.height() // 2, f"{what}: the mouse is still over it"
    more: dict[str, Callable[[], object]] = {
        "proposals": lambda: (
            dock.guidance.places_row._proposed.setText(long_text),
            dock.guidance.places_row._proposed.show(),
        ),
        "a warning": lambda: (case_panel._warnings.setText(long_text), case_panel._warnings.show()),
        "a question above": lambda: dock.prompt.ask(long_text, [("OK", list)]),
        "a question below": lambda: review.prompt.ask_reason(long_text, "reason", "Reject", lambda _reason: None),
        "a prediction": lambda: case_panel._pages.setCurrentIndex(1),
        "a page of IMPROVE": lambda: dock.retrain_panel._pages.show_page(dock.retrain_panel.progress),
        "the list": case_panel._unfold.click,
        "an export": dock.exporter.show,
        "a folded section": lambda: dock.labels_panel.fold(folded=True),
    }
    for what, happen in more.items():
        happen()
        assert find_places() == before, what


def test_letters_act_while_a_number_field_has_the_keyboard_and_digits_are_typed_there(
    viewer: Any, widget: MedSegWidget, qtbot: QtBot, tmp_path: Path
) -> None:
    drop_on(viewer.window._qt_viewer, write_phantom(tmp_path, 1))
    qtbot.waitUntil(lambda: predicted(widget, "case1"))
    layer = widget.dock.case_controller.current.labels_layer
    controls = viewer.window._qt_viewer.controls.widgets[layer]
    box = next(spin for spin in controls.findChildren(QAbstractSpinBox) if spin.parent() is controls)  # contour
    choices = next(combo for combo in controls.findChildren(QComboBox) if combo.isVisible())
    viewer.window._qt_window.activateWindow()
    widget.dock.case_panel._unfold.click()
    table, layers_of_napari = widget.dock.case_panel.list_panel.table, viewer.window._qt_viewer.layers
    for field in (box, choices, table, layers_of_napari):
        field.setFocus()
        qtbot.waitUntil(field.hasFocus)
        was, shown = layer.contour, field.currentText() if field is choices else ""
        QTest.keyClick(field, Qt.Key.Key_W)
        assert bool(layer.contour) is not bool(was)
        assert field is not choices or field.currentText() == shown
        QTest.keyPress(field, Qt.Key.Key_Q)
        assert layer.opacity == 0
        QTest.keyRelease(field, Qt.Key.Key_Q)
        qtbot.waitUntil(lambda: layer.opacity > 0)
    box.setFocus()
    box.selectAll()
    selected = layer.selected_label
    QTest.keyClick(box, Qt.Key.Key_3)
    assert ("3" in box.text(), layer.selected_label) == (True, selected)


def test_an_error_is_in_the_message_line_until_it_is_dismissed_and_not_in_a_pop_up(
    viewer: Any, widget: MedSegWidget
) -> None:
    before = viewer.window._qt_window.findChildren(NapariQtNotification)
    show_problem("both sides are exchanged. patient 1 case 1 cannot be accepted so: correct the labels, then accept.")
    assert widget.messages.isVisible()
    assert viewer.window._qt_window.findChildren(NapariQtNotification) == before
    assert find_cut_texts(widget.messages) == []
    settle_messages("patient 1 case 1")
    assert not widget.messages.isVisible()


def test_closing_the_window_saves_the_draft_and_lets_go_of_the_project(
    viewer: Any, widget: MedSegWidget, qtbot: QtBot, tmp_path: Path, open_workspace: Callable[[], Workspace]
) -> None:
    drop_on(viewer.window._qt_viewer, write_phantom(tmp_path, 1))
    qtbot.waitUntil(lambda: predicted(widget, "case1"))
    widget.dock.case_controller.current.labels_layer.data[:4, :4] = 1  # without a paint event
    viewer.close()
    assert widget.workspace is None
    ws = open_workspace()
    assert [case.file_name for case in review.list_draft_cases(ws)] == ["case1"]


def click_x(viewer: Any) -> None:
    """Close the window as its X does: the event comes from the window system, and napari asks only then."""
    QApplication.sendEvent(viewer.window._qt_window.windowHandle(), QCloseEvent())


def test_closing_while_a_model_learns_asks_once(
    viewer: Any, widget: MedSegWidget, choice: list[CloseChoice], monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled: list[bool] = []
    monkeypatch.setattr(type(widget.dock.run_monitor), "is_running", True)
    monkeypatch.setattr(widget.dock.run_monitor, "cancel", lambda: cancelled.append(True))
    choice[0] = CloseChoice.STAY
    click_x(viewer)
    assert viewer.window._qt_window.isVisible()
    assert widget.workspace is not None
    choice[0] = CloseChoice.CANCEL_RUN
    viewer.close()
    assert cancelled == [True]
    assert widget.workspace is None


def test_nothing_is_closed_before_the_window_really_closes(
    viewer: Any,
    widget: MedSegWidget,
    choice: list[CloseChoice],
    monkeypatch: pytest.MonkeyPatch,
    qtbot: QtBot,
    tmp_path: Path,
) -> None:
    drop_on(viewer.window._qt_viewer, write_phantom(tmp_path, 1))
    qtbot.waitUntil(lambda: predicted(widget, "case1"))
    asked, ended = [], []
    monkeypatch.setattr(qt_main_window.ConfirmCloseDialog, "exec_", lambda _: asked.append(1))  # any answer but "yes"
    monkeypatch.setattr(get_settings().application, "confirm_close_window", True)
    monitor = widget.dock.run_monitor
    monkeypatch.setattr(monitor, "pause", lambda: ended.append("paused"))
    monkeypatch.setattr(monitor, "cancel", lambda: ended.append("cancelled"))
    click_x(viewer)
    monkeypatch.setattr(type(monitor), "is_running", True)
    for choice[0] in (CloseChoice.PAUSE_RUN, CloseChoice.CANCEL_RUN, CloseChoice.LEAVE_RUNNING):
        click_x(viewer)
    assert len(asked) == 4
    assert ended == [], "the run goes on"
    assert viewer.window._qt_window.isVisible()
    assert widget.workspace.engine.state == "ready"
    layer = widget.dock.case_controller.current.labels_layer
    assert layer.editable
    layer.paint((2, 2), 1)
    assert widget.dock.case_controller.current.state == "draft", "strokes are recorded"
    choice[0] = CloseChoice.PAUSE_RUN
    viewer.close()
    assert ended == ["paused"]
    assert widget.workspace is None


def test_closing_the_dock_ends_its_work_and_it_can_be_opened_again(
    viewer: Any, widget: MedSegWidget, open_workspace: Callable[[], Workspace], qtbot: QtBot, tmp_path: Path
) -> None:
    drop_on(viewer.window._qt_viewer, write_phantom(tmp_path, 1))
    qtbot.waitUntil(lambda: predicted(widget, "case1"))
    widget.dock.case_controller.current.labels_layer.paint((2, 2), 1)
    left = widget.dock.case_controller.current.labels_layer
    viewer.window.remove_dock_widget(widget)
    assert widget.workspace is None
    assert not left.editable, "nobody would save what is painted now"
    again = MedSegWidget(viewer, open_workspace())
    viewer.window.add_dock_widget(again, name=NAME)
    qtbot.waitUntil(lambda: predicted(again, "case1"))
    assert [layer.name for layer in viewer.layers] == ["patient 1 case 1", "lungs: patient 1 case 1 (draft)"]
    assert again.dock.case_controller.current.labels_layer.data[2, 2] == 1
    again.close_down()


def test_another_project_takes_the_place_and_one_that_cannot_be_opened_does_not(
    widget: MedSegWidget, tmp_path: Path, told: Texts
) -> None:
    before = widget.workspace.project.folder
    (tmp_path / "a file").touch()
    widget.open_project(tmp_path / "a file")
    assert widget.workspace.project.folder == before
    assert "Choose a folder you may write in" in told
    widget.open_project(tmp_path / "second")
    assert widget.workspace.project.folder == tmp_path / "second"
    assert "second" in widget._project_button.text()
    assert widget.workspace.registry.user_dir.name == "registry"


def test_a_project_that_another_window_has_is_a_message_not_a_crash(
    viewer: Any, ws: Workspace, monkeypatch: pytest.MonkeyPatch, told: Texts
) -> None:
    def locked() -> Workspace:
        return Workspace.open(ws.project.folder, ws.registry.user_dir)

    monkeypatch.setattr(Workspace, "open_default", locked)
    widget = MedSegWidget(viewer)
    assert widget.dock is None
    assert "is open in another window" in told
    assert "no project is open" in widget._project_button.text()
    widget.close_down()


def test_napari_can_make_the_widget_by_itself(viewer: Any, ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Workspace, "open_default", lambda: ws)
    widget = _instantiate_dock_widget(MedSegWidget, viewer)
    assert widget.workspace is ws
    widget.close_down()


def test_removing_layers_does_not_crash_the_renderer() -> None:
    """Mesa crashes where textures are freed in Qt's own context; in a process, as a crash would take pytest along."""
    program = """
import time, numpy, napari
from qtpy.QtGui import QCloseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from napari_medseg.plugin.gl_context import CanvasContext
viewer = napari.Viewer()
def live():
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        QApplication.processEvents()
live()
context = CanvasContext(viewer, viewer.window._qt_window)
grey = numpy.zeros((400, 500), numpy.uint8)
first = viewer.add_image(grey)
labels = viewer.add_labels(grey)
live()
viewer.add_image(grey)
live()
viewer.layers.remove(labels)
live()
viewer.layers.remove(first)
live()
context.close()
viewer.close()
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert answer.returncode == 0, answer.stderr[-2000:]


def test_the_curve_takes_the_colours_of_the_theme(viewer: Any, widget: MedSegWidget) -> None:
    curve = widget.dock.retrain_panel.progress.curve
    curve.add_epoch(EpochEnded(1, 2, 0.5, 0.7, True, 1.0, 1.0))
    widget.dock.run_monitor.event_received.emit(Started(1, 1, 1, 1, "cpu", 30.0, 0.0))
    colours = []
    for theme in ("dark", "light"):
        viewer.theme = theme
        colours.append(curve.backgroundBrush().color().name())
    assert colours[0] != colours[1]


def test_input_on_the_canvas_counts_as_work(viewer: Any, widget: MedSegWidget) -> None:
    widget.dock.idle_timer.take_active_s()
    QTest.mouseMove(viewer.window._qt_viewer.canvas.native, QPoint(30, 30))
    QTest.keyClick(viewer.window._qt_viewer.canvas.native, Qt.Key.Key_Shift)
    assert widget.dock.idle_timer._active_until_s > time.monotonic()


def test_the_middle_button_sets_the_window_and_the_planes_lie_below_the_canvas(
    viewer: Any, widget: MedSegWidget, qtbot: QtBot, tmp_path: Path
) -> None:
    path = tmp_path / "series.tif"
    formats.write_image(path, phantom(1, n_slices=6))
    drop_on(viewer.window._qt_viewer, path)
    qtbot.waitUntil(lambda: predicted(widget, "series"))
    current, canvas = widget.dock.case_controller.current, viewer.window._qt_viewer.canvas.native
    before = current.labels_layer.data.copy()
    current.labels_layer.mode = "paint"
    middle, still = Qt.MouseButton.MiddleButton, Qt.KeyboardModifier.NoModifier
    QTest.mousePress(canvas, middle, still, QPoint(200, 200))
    for x in (220, 260, 300):
        at, there = QPointF(x, 200), QPointF(canvas.mapToGlobal(QPoint(x, 200)))
        QApplication.sendEvent(
            canvas, QMouseEvent(QEvent.Type.MouseMove, at, there, Qt.MouseButton.NoButton, middle, still)
        )
    QTest.mouseRelease(canvas, middle, still, QPoint(300, 200))
    low, high = current.image_layer.contrast_limits
    assert high - low > 255 * 1.5
    assert canvas in widget.dock.views._drag._watched
    assert (current.labels_layer.mode, (current.labels_layer.data == before).all()) == ("paint", True)

    planes = widget.dock.views.planes
    planes.checkbox.setChecked(True)
    qtbot.waitUntil(lambda: planes.strip._views[Plane.CORONAL]._pixels is not None)
    at = canvas.mapTo(viewer.window._qt_window, QPoint(0, canvas.height()))
    assert planes.y() >= at.y()
    assert planes.width() < viewer.window._qt_window.width() - widget.width(), "not below the dock"
