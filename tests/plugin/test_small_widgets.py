"""Section, question, cards, keys, thumbnails, activity: each by itself."""

import app_model.types
import numpy as np
import pytest
from app_model.types import KeyCode, KeyMod, OperatingSystem
from napari.components import ViewerModel
from napari.layers import Image as ImageLayer
from napari.layers import Labels
from napari.utils.action_manager import action_manager
from napari.utils.key_bindings import coerce_keybinding
from napari.utils.notifications import notification_manager
from napari.utils.shortcuts import default_shortcuts
from plugin_phantoms import phantom, phantom_card
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent, QWheelEvent
from qtpy.QtWidgets import QApplication, QHBoxLayout, QLabel, QPushButton, QWidget

from napari_medseg.core.errors import report_damage
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import Calibration
from napari_medseg.plugin.case_table.thumbnails import MAX_THUMBNAIL_PX, make_thumbnail
from napari_medseg.plugin.keymap import REDO_KEY, UNDO_KEY, KeyBinding, KeyMap, build_help_html, get_key_title
from napari_medseg.plugin.panels.comparison_table import ComparisonTable
from napari_medseg.plugin.panels.model_card_view import ModelCardDialog, render_card_html, summarise_card
from napari_medseg.plugin.panels.training_curve import TrainingCurve
from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.collapsible_section import CollapsibleSection, PageStack
from napari_medseg.plugin.widgets.eliding_button import ElidingButton
from napari_medseg.plugin.widgets.idle_timer import IDLE_AFTER_S, IdleTimer
from napari_medseg.plugin.widgets.inline_prompt import InlinePrompt
from napari_medseg.plugin.widgets.notifications import DamageNotifier
from training.run_folder import Compared, EpochEnded


def test_a_folded_section_keeps_its_state_in_view(qtbot: QtBot) -> None:
    section = CollapsibleSection("Review")
    qtbot.addWidget(section)
    body = QLabel("inside")
    section.add(body)
    section.set_status("saved now")
    section.show()
    section.fold(True)
    assert not body.isVisible()
    assert section._status.isVisible()
    section.fold(False)
    assert body.isVisible()


def test_only_one_page_takes_space(qtbot: QtBot) -> None:
    first, second = QWidget(), QWidget()
    second.setFixedHeight(200)
    pages = PageStack(first, second)
    qtbot.addWidget(pages)
    pages.show()
    assert pages.sizeHint().height() < 100
    pages.show_page(second)
    assert pages.sizeHint().height() >= 200


def test_an_answer_hides_the_question_and_calls(qtbot: QtBot) -> None:
    question = InlinePrompt()
    qtbot.addWidget(question)
    called: list[str] = []
    question.ask("Predict again?", [("Predict", lambda: called.append("yes")), ("Leave it", lambda: None)])
    assert question.text == "Predict again?"
    question.press_answer("Predict")
    assert called == ["yes"]
    assert question.text == ""
    with pytest.raises(ValueError, match="no answer"):
        question.press_answer("Perhaps")


def test_a_lasting_question_comes_back_until_it_is_answered(qtbot: QtBot) -> None:
    question = InlinePrompt()
    qtbot.addWidget(question)
    called: list[str] = []
    answers = [("Undo", lambda: called.append("undo")), ("OK", lambda: None)]
    question.ask_lasting("Who corrects now?", [("Give a name", lambda: called.append("name")), ("Later", lambda: None)])
    question.ask_lasting("Removing 20 of 40 cases", [])
    question.ask_lasting("40 cases removed", answers)
    question.ask("Open the next draft?", [("Open", lambda: None), ("Later", lambda: None)])
    question.ask("Predicted", [("OK", lambda: None)])
    question.press_answer("OK")
    assert question.text == "40 cases removed"
    question.press_answer("Undo")
    assert question.text == "Who corrects now?"
    question.press_answer("Give a name")
    assert (called, question.text) == (["undo", "name"], "")


def test_an_offer_to_undo_ends_when_a_person_goes_on(qtbot: QtBot) -> None:
    question = InlinePrompt()
    qtbot.addWidget(question)
    question.ask_lasting("3 removed", [("Undo", print), ("OK", print)])
    question.ask_lasting("Who corrects?", [("Give a name…", print), ("Later", print)])
    question.ask_lasting("patient 8: held out", [("Undo", print), ("OK", print)])
    question.forget_undo()
    assert question.text == "Who corrects?", "a question that is no undo stays, and no other undo comes back"
    question.forget_undo()
    assert question.text == "Who corrects?"
    question.press_answer("Later")
    assert question.text == ""


def test_a_long_name_does_not_widen_its_button(qtbot: QtBot) -> None:
    row, button = QWidget(), ElidingButton("4   " + "anterior basal segment of the left lower lobe " * 2)
    qtbot.addWidget(row)
    QHBoxLayout(row).addWidget(button)
    row.resize(200, 40)
    row.show()
    qtbot.waitExposed(row)
    assert button.width() <= 200 < button.sizeHint().width()
    assert ElidingButton("ok").minimumSizeHint().width() < button.minimumSizeHint().width()


def test_a_question_follows_the_lists_of_its_tasks(qtbot: QtBot) -> None:
    question = InlinePrompt()
    qtbot.addWidget(question)
    question.show_for("lungs")
    answers = [("Keep", lambda: None), ("Undo", lambda: None)]
    question.ask_lasting("3 CT slices for Lungs, 2 images for Nuclei", answers, ["lungs", "nuclei"])
    question.ask_lasting("case 1: now on the list of Nuclei", answers, ["nuclei"])
    assert question.text == "3 CT slices for Lungs, 2 images for Nuclei", "the other one waits for its list"
    question.show_for("covid")
    assert question.text == ""
    question.show_for("nuclei")
    question.press_answer("Keep")
    assert question.text == "3 CT slices for Lungs, 2 images for Nuclei"
    question.show_for("covid")
    question.withdraw("3 CT slices for Lungs, 2 images for Nuclei")
    question.show_for("lungs")
    assert question.text == ""


def test_a_question_about_the_open_case_goes_with_it(qtbot: QtBot) -> None:
    question = InlinePrompt()
    qtbot.addWidget(question)
    question.ask_of_case("Predict case 1 again?", [("Predict", lambda: None), ("Cancel", lambda: None)])
    question.forget_case()
    assert question.text == ""
    question.ask("Open the next draft?", [("Open", lambda: None)])
    question.forget_case()
    assert question.text == "Open the next draft?"


def test_a_note_that_was_typed_is_kept_when_the_next_case_opens(qtbot: QtBot) -> None:
    question = InlinePrompt()
    qtbot.addWidget(question)
    kept: list[str] = []
    question.ask_text("Note on case 1", "", "Keep", kept.append, "before")
    question._reason.setText("blurred edge")
    question.leave()
    question.leave()
    question.ask_text("Note on case 2", "", "Keep", kept.append, "before")
    question.leave()
    question.ask_reason("Why is case 3 not usable?", "", "Reject", kept.append)
    question._reason.setText("half a reas")
    question.leave()
    assert kept == ["blurred edge"]


def test_a_reason_must_be_typed(qtbot: QtBot) -> None:
    question = InlinePrompt()
    qtbot.addWidget(question)
    reasons: list[str] = []
    question.ask_reason("Promote all the same?", "reason", "Promote", reasons.append)
    question.press_answer("Promote")
    assert not reasons
    question._reason.setText("   ")
    question.press_answer("Promote")
    assert not reasons
    question._reason.setText(" better for children ")
    question.press_answer("Promote")
    assert reasons == ["better for children"]
    question.ask("Something else?", [("Yes", lambda: None)])
    question._reason.setText("typed into a hidden field")
    assert question._buttons.itemAt(0).widget().isEnabled()


def test_a_greyed_button_says_why(qtbot: QtBot) -> None:
    button = theme.make_button("Accept", "")
    qtbot.addWidget(button)
    theme.set_enabled(button, False, "Accepts", "Open a case first")
    assert (button.isEnabled(), button.toolTip()) == (False, "Open a case first")
    theme.set_enabled(button, True, "Accepts", "Open a case first")
    assert (button.isEnabled(), button.toolTip()) == (True, "Accepts")
    assert button.focusPolicy() == Qt.FocusPolicy.TabFocus


def test_scrolling_over_a_list_does_not_change_it(qtbot: QtBot) -> None:
    choice = theme.CompactComboBox("what")
    choice.addItems(["one", "two", "three"])
    qtbot.addWidget(choice)
    choice.show()
    nowhere, down = QPoint(0, 0), QPoint(0, -120)
    wheel = QWheelEvent(
        QPointF(3, 3),
        QPointF(3, 3),
        nowhere,
        down,
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    choice.wheelEvent(wheel)
    assert choice.currentText() == "one"


@pytest.mark.parametrize("name", ["dark", "light", "system"])
def test_the_style_sheet_is_made_of_the_theme(name: str, qtbot: QtBot) -> None:
    button = QPushButton()
    qtbot.addWidget(button)
    button.setStyleSheet(theme.make_style_sheet(name))
    assert "{" in theme.make_style_sheet(name)
    assert "None" not in theme.make_style_sheet(name)


def test_a_card_says_all_that_a_person_asks_and_escapes_what_it_quotes(qtbot: QtBot) -> None:
    card = phantom_card(3)
    page = render_card_html(card)
    for text in (
        "lungs-unet@3",
        "0.971",
        "0.911",
        "phantoms &lt;b&gt;",
        "CC0",
        "lungs-unet@2",
        "sees grey only",
        "CC BY",
    ):
        assert text in page
    assert "phantoms &lt;b&gt;" in summarise_card(card)
    assert "0.971" in summarise_card(card)
    window = ModelCardDialog(card)
    qtbot.addWidget(window)
    assert "lungs-unet@3" in window.windowTitle()


def test_an_empty_card_is_a_page_too() -> None:
    page = render_card_html(phantom_card(1, hold_out=[], training_data=[], weaknesses=[], licence=""))
    assert "This card has no hold-out scores" in page
    assert "none, a base model" in page


def test_a_card_tells_how_it_is_calibrated_and_what_was_corrected_on_it() -> None:
    old = Calibration(temperature=3.03, ece=0.075, ece_uncorrected=0.178, n_images=21, pixels="labelled")
    new = Calibration(temperature=1.32, ece=0.018, ece_uncorrected=0.019, n_images=21)
    assert "3.03 is too high and is not applied" in render_card_html(phantom_card(1, calibration=old))
    page = render_card_html(phantom_card(1, calibration=new, amendments=["2026-11-28: two slices left out"]))
    assert "0.018 with the temperature of 1.32" in page
    assert "2026-11-28: two slices left out" in page


def test_our_keys_leave_naparis_own_alone() -> None:
    """No key of ours means something else on a labels or image layer, or in the viewer."""
    theirs = {binding for provider in (Labels, ImageLayer, ViewerModel) for binding in provider.class_keymap}
    for name, bindings in default_shortcuts.items():
        if action_manager._actions[name].keymapprovider in (Labels, ImageLayer, ViewerModel):
            theirs.update(bindings)
    assert coerce_keybinding("P") in theirs
    assert [key for key in "GARSDQWT" if coerce_keybinding(key) in theirs] == []


def test_keys_are_bound_and_let_go() -> None:
    viewer = ViewerModel()
    pressed: list[str] = []

    def hold() -> object:
        pressed.append("down")
        yield
        pressed.append("up")

    keys = KeyMap(viewer, [KeyBinding("G", "go", lambda: pressed.append("go")), KeyBinding("Q", "hide", hold)])
    viewer.keymap[coerce_keybinding("G")](viewer)
    held = viewer.keymap[coerce_keybinding("Q")](viewer)
    next(held)
    assert pressed == ["go", "down"]
    assert list(held) == []
    assert pressed[-1] == "up"
    assert "hide" in build_help_html(keys.keys)
    keys.close()
    assert not viewer.keymap


def test_undo_is_the_key_of_naparis_undo_on_every_system(monkeypatch: pytest.MonkeyPatch) -> None:
    titles = {}
    for system in (OperatingSystem.LINUX, OperatingSystem.WINDOWS, OperatingSystem.MACOS):
        monkeypatch.setattr(app_model.types._constants, "_CURRENT", system)
        viewer = ViewerModel()
        KeyMap(viewer, [KeyBinding(UNDO_KEY, "undo", lambda: None), KeyBinding(REDO_KEY, "redo", lambda: None)])
        theirs = KeyMod.CtrlCmd | KeyCode.KeyZ  # as napari.layers.labels._labels_key_bindings has it
        assert {coerce_keybinding(theirs), coerce_keybinding(theirs | KeyMod.Shift)} == set(viewer.keymap)
        titles[system.name] = [str(key) for key in viewer.keymap], get_key_title(UNDO_KEY)
    assert titles["LINUX"] == titles["WINDOWS"] == (["Ctrl+Z", "Ctrl+Shift+Z"], "Ctrl+Z")
    assert titles["MACOS"] == (["Meta+Z", "Shift+Meta+Z"], "Cmd+Z")


def test_minutes_count_only_while_there_is_input(qtbot: QtBot) -> None:
    now = [100.0]
    activity = IdleTimer(clock=lambda: now[0])
    widget = QWidget()
    qtbot.addWidget(widget)
    activity.watch([widget])
    assert activity.take_active_s() == 0
    now[0] += 10
    assert activity.take_active_s() == 0, "nobody did anything yet"
    press = QMouseEvent(
        QEvent.Type.MouseButtonPress,
        widget.rect().center().toPointF(),
        Qt.MouseButton.LeftButton,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    assert activity.eventFilter(widget, press) is False
    now[0] += 5
    assert activity.take_active_s() == 5
    now[0] += 100
    assert activity.take_active_s() == IDLE_AFTER_S - 5
    now[0] += 100
    assert activity.take_active_s() == 0


def test_a_suspended_computer_or_a_clock_that_jumps_adds_no_time() -> None:
    now = [100.0]
    activity = IdleTimer(clock=lambda: now[0])
    activity.record_input()
    now[0] += 8 * 3600
    activity.record_input()  # the first event after the night, before any tick
    now[0] += 1
    assert activity.take_active_s() == IDLE_AFTER_S + 1
    now[0] -= 5000
    assert activity.take_active_s() == 0
    now[0] += 10
    assert 0 <= activity.take_active_s() <= 10
    now[0] += 4000
    assert activity.take_active_s() <= IDLE_AFTER_S
    for step in (3.0, -2.0, 50.0, 0.0, 7.0):
        activity.record_input()
        now[0] += step
        assert 0 <= activity.take_active_s() <= max(0.0, step)


def test_another_program_in_front_stops_the_clock_at_once(qtbot: QtBot) -> None:
    now = [100.0]
    activity = IdleTimer(clock=lambda: now[0])
    activity.record_input()
    now[0] += 4
    app = QApplication.instance()
    app.applicationStateChanged.emit(Qt.ApplicationState.ApplicationInactive)
    now[0] += 20
    activity.eventFilter(None, QEvent(QEvent.Type.MouseMove))  # the pointer passes over the window behind
    now[0] += 20
    assert activity.take_active_s() == 4
    activity.eventFilter(None, QEvent(QEvent.Type.KeyPress))
    activity.eventFilter(None, QEvent(QEvent.Type.MouseMove))
    now[0] += 3
    assert activity.take_active_s() == 3


@pytest.mark.parametrize(
    "image",
    [
        phantom(),
        phantom(n_slices=5),
        Image(np.full((300, 20, 3), 128, np.uint8), "YXC"),
        Image(np.zeros((1, 1), np.float32), "YX"),
    ],
)
def test_a_thumbnail_is_small_and_grey(image: Image) -> None:
    small = make_thumbnail(image)
    assert small.ndim == 2
    assert small.dtype == np.uint8
    assert max(small.shape) <= MAX_THUMBNAIL_PX


def test_the_table_shows_the_rows_as_given_and_tells_which_was_clicked(qtbot: QtBot) -> None:
    table = ComparisonTable()
    qtbot.addWidget(table)
    rows = [Compared("worse", "s", 0.9, 0.8, {}, {}), Compared("better", "s", 0.8, 0.95, {}, {})]
    table.show_rows(rows)
    model = table.model()
    shown = [[model.index(row, column).data() for column in range(4)] for row in range(2)]
    assert shown == [["worse", "0.900", "0.800", "-0.100"], ["better", "0.800", "0.950", "+0.150"]]
    with qtbot.waitSignal(table.chosen) as chosen:
        table.clicked.emit(model.index(1, 2))
    assert chosen.args == ["better"]
    table.show_rows(rows, partly_reviewed=frozenset(["better"]))
    assert [model.index(row, 0).data() for row in range(2)] == ["worse", "◩ better"]
    assert "only a part" in model.index(1, 0).data(Qt.ItemDataRole.ToolTipRole)
    assert model.index(0, 0).data(Qt.ItemDataRole.ToolTipRole) == "worse"
    with qtbot.waitSignal(table.chosen) as chosen:
        table.clicked.emit(model.index(1, 0))
    assert chosen.args == ["better"], "the name without the mark"


def test_the_curve_marks_the_best_epoch_and_survives_a_loss_that_is_no_number(qtbot: QtBot) -> None:
    curve = TrainingCurve("dark")
    qtbot.addWidget(curve)
    curve.show()
    curve.add_epoch(EpochEnded(1, 3, 0.5, 0.7, True, 1.0, 2.0))
    curve.add_epoch(EpochEnded(2, 3, float("nan"), 0.6, False, 2.0, 1.0))
    assert curve._best.getData()[1].tolist() == [0.7]
    curve.set_theme("light")
    curve.clear_epochs()
    assert curve.epochs == ()


def test_a_damaged_file_is_shown_once_while_a_project_is_open() -> None:
    notifier = DamageNotifier()
    notifier.start()
    try:
        for _ in range(70):
            report_damage("shown.json is damaged")
    finally:
        notifier.stop()
    report_damage("later.json is damaged")
    shown = [one.message for one in notification_manager.records]
    assert shown.count("shown.json is damaged") == 1
    assert "later.json is damaged" not in shown
