"""Errors stay until they are dealt with, notices fade, and no pop-up repeats what the line shows."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from napari.utils.notifications import NotificationSeverity, notification_manager
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication, QMainWindow, QWidget

import napari_medseg.plugin
from napari_medseg.core.errors import damage_logger
from napari_medseg.plugin.widgets import message_line, notifications
from napari_medseg.plugin.widgets.message_line import MAX_CHARACTERS, MessageLine
from napari_medseg.plugin.widgets.notifications import settle_messages, show_notice, show_problem, show_result


@pytest.fixture
def line(qtbot: QtBot) -> Iterator[MessageLine]:
    line = MessageLine()
    qtbot.addWidget(line)
    yield line
    line.close_down()


def test_an_error_stays_over_notices_and_later_messages(
    line: MessageLine, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_line, "FADE_MS", 0)
    monkeypatch.setattr(message_line, "FADE_MS_PER_CHARACTER", 1)
    show_problem("the disk is full: nothing was saved. Free some space.")
    assert line.isVisible()
    assert line._text.text() == "The disk is full: nothing was saved. Free some space."
    show_notice("3 images were added")
    assert line._text.text() == "3 images were added"
    assert line._others.text() == "+1 ▾"
    qtbot.waitUntil(lambda: line._text.text().startswith("The disk is full"))
    line.dismiss()
    assert not line.isVisible()


def test_an_error_that_is_reported_again_is_listed_once(line: MessageLine) -> None:
    for text in ("a", "b", "a"):
        show_problem(text)
    assert line.texts == ["a", "b"]


def test_notices_that_nobody_could_read_yet_are_shown_together(
    line: MessageLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in ("task set to Nuclei (H&E).", "the image has no header.", "the image has no header."):
        show_notice(text)
    assert line.texts == ["task set to Nuclei (H&E).\nthe image has no header."]
    assert line._text.text() == "Task set to Nuclei (H&E).\nThe image has no header."
    monkeypatch.setattr(message_line, "TOGETHER_S", -1.0)
    show_notice("no case was accepted before this one.")
    assert line.texts == ["no case was accepted before this one."], "the others could be read before"


def test_what_lies_below_can_be_read_and_all_can_be_dismissed_at_once(line: MessageLine) -> None:
    for number in range(3):
        show_problem(f"slice {number} & its mask cannot be opened.")
    line._list_others()
    entries = [action.text() for action in line._others.menu().actions()]
    assert entries == [
        "Slice 1 && its mask cannot be opened.",
        "Slice 0 && its mask cannot be opened.",
        "",
        "Dismiss all",
    ]
    line._others.menu().actions()[1].trigger()
    assert line._text.text() == "Slice 0 & its mask cannot be opened."
    line._others.menu().actions()[-1].trigger()
    assert not line.isVisible()
    assert line.texts == []


def test_the_line_becomes_lower_when_a_shorter_message_follows(line: MessageLine, qtbot: QtBot) -> None:
    line.resize(300, 20)
    show_result("word " * 60, topic="export")
    qtbot.waitUntil(lambda: line._text.height() > 2 * line.fontMetrics().height())
    show_result("Exported 14 files to labels", topic="export")
    one_line = line.fontMetrics().height()
    qtbot.waitUntil(lambda: line._text.minimumHeight() <= one_line + 2)
    assert line._text.text() == "Exported 14 files to labels"


def test_a_result_takes_one_line_after_a_while_and_all_of_it_comes_back(
    line: MessageLine, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_line, "SHORTEN_AFTER_MS", 0)
    monkeypatch.setattr(message_line, "FADE_MS_PER_CHARACTER", 0)
    pressed: list[str] = []
    text = "Exported 14 files to /data/ward 7/exports of November in the year of the new scanner"
    line.resize(340, 20)
    show_result(text, [("Open folder", lambda: pressed.append("open"))])
    qtbot.waitUntil(line._more.isVisible)
    short = line._text.text()
    assert short.startswith("Exported 14 files")
    assert short.endswith(" …")
    assert text.startswith(short[:-2])
    assert line._text.fontMetrics().horizontalAdvance(short) < line.width()
    with pytest.raises(ValueError, match="no button"):
        line.press_action("Open folder")
    line._more.click()
    assert line._text.text() == text
    line.press_action("Open folder")
    assert pressed == ["open"]
    show_problem("the disk is full: nothing was saved. Free some space.")
    qtbot.wait(20)
    assert line._text.text().endswith("Free some space."), "an error stays as it is"


def test_a_message_of_another_thread_is_shown_by_the_main_thread(line: MessageLine, qtbot: QtBot) -> None:
    thread = threading.Thread(target=lambda: damage_logger.error("the journal of case 3 is damaged."))
    notifier = notifications.DamageNotifier()
    notifier.start()
    thread.start()
    thread.join()
    notifier.stop()
    assert line.texts == []
    qtbot.waitUntil(lambda: line.texts == ["the journal of case 3 is damaged."])


def test_every_message_of_the_window_goes_through_the_line() -> None:
    """A pop-up of napari lies over the image, is cut by the dock, and fades whatever it says."""
    plugin = Path(napari_medseg.plugin.__path__[0])
    users = [path.name for path in plugin.rglob("*.py") if "napari.utils.notifications" in path.read_text("utf-8")]
    assert sorted(users) == ["message_line.py", "notifications.py"]


def test_an_error_goes_with_its_cause(line: MessageLine) -> None:
    show_problem("sides are exchanged. patient 1 case 3 cannot be accepted so: correct the labels, then accept.")
    show_problem("sides are exchanged. patient 1 case 31 cannot be accepted so: correct the labels, then accept.")
    show_problem("the run failed", "run")
    settle_messages("patient 1 case 3")
    assert [text[-74:-60] for text in line.texts if "case" in text] == [line.texts[1][-74:-60]]
    assert "case 31" in line.texts[1]
    settle_messages("run")
    assert len(line.texts) == 1
    show_result("exported", topic="export")
    show_result("exported again", topic="export")
    assert line.texts[0] == "exported again"
    assert len(line.texts) == 2, "a new result of the same work replaces the one before"


def test_a_result_has_buttons_and_stays_until_one_is_pressed(line: MessageLine) -> None:
    pressed: list[str] = []
    show_result("Better: 0.91 -> 0.93", [("Show", lambda: pressed.append("show"))])
    line.press_action("Show")
    assert pressed == ["show"]
    assert not line.isVisible()
    with pytest.raises(ValueError, match="no button 'Show'"):
        line.press_action("Show")


def test_a_long_text_is_cut_at_a_word_and_whole_in_the_tooltip(line: MessageLine) -> None:
    text = "word " * 200
    show_problem(text)
    assert len(line._text.text()) <= MAX_CHARACTERS
    assert line._text.text().endswith("word …")
    assert line._text.toolTip().count("word") + line._text.toolTip().count("Word") == 200


def test_napari_shows_a_pop_up_only_without_a_line(line: MessageLine) -> None:
    show_problem("one")
    line.close_down()
    show_problem("two")
    one, two = list(notification_manager.records)[-2:]
    assert (one.message, one.severity) == ("one", NotificationSeverity.DEBUG)
    assert (two.message, two.severity) == ("two", NotificationSeverity.ERROR)
    assert not line.isVisible()


def test_a_line_that_nobody_sees_or_that_qt_deleted_leaves_the_message_to_napari(qtbot: QtBot) -> None:
    window, dock = QMainWindow(), QWidget()
    qtbot.addWidget(window)
    line = MessageLine(dock)
    window.setCentralWidget(dock)
    show_problem("before the window is shown")
    window.show()
    show_problem("seen")
    dock.hide()
    show_problem("in a dock that is closed")
    assert line.texts[0] == "in a dock that is closed", "it is there when the dock is opened"
    settle_messages("dock")
    assert line.texts == ["seen", "before the window is shown"]
    line.deleteLater()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    show_problem("after Qt deleted the line")
    shown = [one.severity.name for one in list(notification_manager.records)[-4:]]
    assert shown == ["DEBUG", "DEBUG", "ERROR", "ERROR"]
    assert not notifications._find_lines()


def test_the_buttons_of_a_closed_project_go_with_it(qtbot: QtBot) -> None:
    line = MessageLine()
    qtbot.addWidget(line)
    show_result("patient 1 is held out", [("Use it for training", lambda: None)], "hold-out")
    show_problem("the disk is full")
    line.forget_project()
    assert line.texts == ["the disk is full"]
    line.close_down()
    line.forget_project()
