"""The message line at the bottom of the dock: errors stay until they are dealt with, notices fade."""

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from napari.utils.notifications import Notification, notification_manager
from qtpy.compat import isalive
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import QFrame, QHBoxLayout, QMenu, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.notifications import DockMessage, MessageKind, SettledMessages
from napari_medseg.plugin.widgets.wrapped_label import WrappedLabel

MAX_IN_MENU = 90
MIN_IN_SHORT = 12
RESERVE_PX = 16
"""Of a short line: frames that the style sheet adds."""
SHORTEN_AFTER_MS = 20_000
"""A result that was seen so long takes one line, until it is dismissed: the dock is full in height."""
FADE_MS = 6000
FADE_MS_PER_CHARACTER = 50
"""Reading takes time: about 20 characters in a second."""
TOGETHER_S = 1.5
"""Notices that follow each other so soon are shown together: nobody could have read the first one."""
MAX_CHARACTERS = 320
"""A longer text is cut at a word; the whole of it is in the tooltip, and can be copied."""


@dataclass(frozen=True, eq=False)
class _Shown:
    message: DockMessage
    timer: QTimer | None
    since_s: float


class MessageLine(QFrame):
    """Shows the newest message that is not dealt with; hidden if there is none.

    A notice lies over the errors until it fades. An error that is reported again is listed once. Messages may come from
    any thread. A result takes one line after a while; *more* shows all of it again.
    """

    _sent = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("medseg-messages")
        self._messages: list[_Shown] = []
        self._short: set[_Shown] = set()
        self._is_closed = False
        self._text = WrappedLabel()
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._text.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._more = theme.make_tool_button("more", "Show the whole message", "medseg-plain")
        self._more.clicked.connect(self._show_whole)
        self._others = theme.make_tool_button("", "", "medseg-plain")
        self._others.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self._others.setMenu(QMenu(self._others))
        self._others.menu().aboutToShow.connect(self._list_others)
        self._dismiss = theme.make_tool_button("✕", "Dismiss this message", "medseg-plain")
        self._dismiss.clicked.connect(self.dismiss)
        self._buttons = QHBoxLayout()
        self._top = top = QHBoxLayout()
        top.addWidget(self._text, stretch=1)
        top.addWidget(self._more, alignment=Qt.AlignmentFlag.AlignTop)
        top.addWidget(self._others, alignment=Qt.AlignmentFlag.AlignTop)
        top.addWidget(self._dismiss, alignment=Qt.AlignmentFlag.AlignTop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 3, 2, 3)
        layout.setSpacing(3)
        layout.addLayout(top)
        layout.addLayout(self._buttons)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.hide()
        self._sent.connect(self.receive_notification, Qt.ConnectionType.QueuedConnection)
        notification_manager.notification_ready.connect(self.receive_notification)

    @property
    def texts(self) -> list[str]:
        """The whole texts of all messages, the shown one first."""
        return [shown.message.message for shown in reversed(self._messages)]

    @property
    def is_in_view(self) -> bool:
        """Whether a message would be seen: not in a dock that is closed, or behind another one, of a shown window."""
        if not isalive(self):
            return False
        parent = self.parentWidget()
        return parent is None or parent.isVisible() or not self.window().isVisible()

    def forget_project(self) -> None:
        """Remove the messages with buttons: they act on the project, which is being closed."""
        if not self._is_closed and isalive(self):
            self._messages = [shown for shown in self._messages if not shown.message.actions]
            self._show_newest()

    def close_down(self) -> None:
        """Show no more messages; a second call has no effect."""
        if not self._is_closed:
            self._is_closed = True
            notification_manager.notification_ready.disconnect(self.receive_notification)
            self._messages.clear()
            if isalive(self):  # else Qt deleted it with the window
                self.hide()

    def receive_notification(self, notification: Notification) -> None:
        """Show a message for the dock, or remove those that are settled; other notifications are napari's."""
        if not isalive(self):  # Qt deleted it with the window
            notification_manager.notification_ready.disconnect(self.receive_notification)
        elif threading.current_thread() is not threading.main_thread():
            self._sent.emit(notification)
        elif isinstance(notification, SettledMessages):
            self._settle(notification.topic)
        elif isinstance(notification, DockMessage):
            self._add(notification)

    def dismiss(self) -> None:
        """Remove the shown message; the one before it is shown."""
        if self._messages:
            self._remove(self._messages[-1])

    def dismiss_all(self) -> None:
        """Remove all messages, as those of many files that cannot be opened."""
        self._messages.clear()
        self._show_newest()

    def press_action(self, label: str) -> None:
        """Click the button with this text; raise `ValueError` if the shown message has none."""
        for index in range(self._buttons.count()):
            if (button := self._buttons.itemAt(index).widget()) is not None and button.text() == label:
                button.click()
                return
        raise ValueError(f"no button {label!r} in {self._text.text()!r}")

    def _add(self, message: DockMessage) -> None:
        is_notice = message.kind is MessageKind.NOTICE
        message = self._join_with_notice(message) if is_notice else message
        self._messages = [shown for shown in self._messages if not _is_replaced(shown.message, message)]
        delays_ms = {MessageKind.NOTICE: FADE_MS, MessageKind.RESULT: SHORTEN_AFTER_MS}
        timer = QTimer(self) if message.kind in delays_ms else None
        shown = _Shown(message, timer, time.monotonic())
        if timer is not None:
            timer.setSingleShot(True)
            timer.timeout.connect(lambda: self._remove(shown) if is_notice else self._shorten(shown))
            timer.start(delays_ms[message.kind] + FADE_MS_PER_CHARACTER * len(message.message))
        self._messages.append(shown)
        self._show_newest()

    def _join_with_notice(self, message: DockMessage) -> DockMessage:
        """Return a notice together with the one before it, if that could not be read yet."""
        before = next((shown for shown in self._messages if shown.message.kind is MessageKind.NOTICE), None)
        if before is None or time.monotonic() - before.since_s > TOGETHER_S:
            return message
        lines = before.message.message.split("\n")
        text = "\n".join([*(line for line in lines if line != message.message), message.message])
        return DockMessage(text, MessageKind.NOTICE) if len(text) <= MAX_CHARACTERS else message

    def _remove(self, shown: _Shown) -> None:
        if shown in self._messages:
            self._messages.remove(shown)
            self._show_newest()

    def _shorten(self, shown: _Shown) -> None:
        if shown in self._messages:
            self._short.add(shown)
            self._show_newest()

    def _show_whole(self) -> None:
        self._short.clear()
        self._show_newest()

    def _settle(self, topic: str) -> None:
        """Remove the messages of a topic, and errors without a topic that name it."""
        named = re.compile(rf"(?<!\w){re.escape(topic)}(?!\w)")

        def is_settled(message: DockMessage) -> bool:
            is_free_error = message.kind is MessageKind.ERROR and not message.topic
            return message.topic == topic or (is_free_error and named.search(message.message) is not None)

        self._messages = [shown for shown in self._messages if not is_settled(shown.message)]
        self._show_newest()

    def _show_newest(self) -> None:
        while (item := self._buttons.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.hide()
                widget.deleteLater()
        if not self._messages:
            self.hide()
            return
        message = self._messages[-1].message
        text = _capitalise(message.message)
        is_short = self._messages[-1] in self._short
        self._more.setVisible(is_short)
        self._text.setToolTip(text)
        n_others = len(self._messages) - 1
        self._others.setVisible(n_others > 0)
        self._others.setText(f"+{n_others} ▾")
        self._others.setToolTip(f"{n_others} more below this one: read or dismiss them")
        self._text.setText(self._fit_into_line(text.replace("\n", " ")) if is_short else shorten_text(text))
        actions = () if is_short else message.actions
        for index, (label, call) in enumerate(actions):
            button = theme.make_button(label, "", main=index == 0)
            button.clicked.connect(partial(self._act, self._messages[-1], call))
            self._buttons.addWidget(button)
        if actions:
            self._buttons.addStretch(1)
        theme.set_style_property(self, "kind", message.kind.value)
        self.show()

    def _fit_into_line(self, text: str) -> str:
        """Return as many words of a text as fit beside the buttons."""
        buttons = [button for button in (self._more, self._others, self._dismiss) if not button.isHidden()]
        width = self.width() - sum(button.sizeHint().width() + self._top.spacing() for button in buttons)
        margins = self.layout().contentsMargins()
        width -= margins.left() + margins.right() + RESERVE_PX
        measure = self._text.fontMetrics().horizontalAdvance
        fitting = (n for n in range(len(text), MIN_IN_SHORT, -1) if measure(shorten_text(text, n)) <= width)
        return shorten_text(text, next(fitting, MIN_IN_SHORT))

    def _list_others(self) -> None:
        """List the messages below the shown one, which come to the top by a click, and offer to dismiss all."""
        menu = self._others.menu()
        menu.clear()
        for shown in reversed(self._messages[:-1]):
            text = shorten_text(_capitalise(shown.message.message).replace("\n", " "), MAX_IN_MENU)
            menu.addAction(theme.escape_mnemonic(text), partial(self._bring_to_top, shown))
        menu.addSeparator()
        menu.addAction("Dismiss all", self.dismiss_all)

    def _bring_to_top(self, shown: _Shown) -> None:
        if shown in self._messages:
            self._messages.remove(shown)
            self._messages.append(shown)
            self._show_whole()

    def _act(self, shown: _Shown, call: Callable[[], None], _checked: bool = False) -> None:
        self._remove(shown)
        call()


def shorten_text(text: str, n_characters: int = MAX_CHARACTERS) -> str:
    """Return at most so many characters of a text, cut after a word."""
    if len(text) <= n_characters:
        return text
    return text[: n_characters - 1].rsplit(" ", 1)[0] + " …"


def _capitalise(text: str) -> str:
    return "\n".join(line[:1].upper() + line[1:] for line in text.split("\n"))


def _is_replaced(before: DockMessage, new: DockMessage) -> bool:
    """Whether a message goes when another one comes: a notice, the same text, or the same topic."""
    is_same = before.message == new.message or bool(new.topic and before.topic == new.topic)
    return before.kind is MessageKind.NOTICE or is_same
