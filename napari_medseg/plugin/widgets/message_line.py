"""The message line at the bottom of the dock: errors stay until they are dealt with, notices fade."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from napari.utils.notifications import Notification, notification_manager
from qtpy.compat import isalive
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.notifications import DockMessage, MessageKind, SettledMessages
from napari_medseg.plugin.widgets.wrapped_label import WrappedLabel

FADE_MS = 6000
FADE_MS_PER_CHARACTER = 50
"""Reading takes time: about 20 characters in a second."""
MAX_CHARACTERS = 320
"""A longer text is cut at a word; the whole of it is in the tooltip, and can be copied."""


@dataclass(frozen=True, eq=False)
class _Shown:
    message: DockMessage
    timer: QTimer | None


class MessageLine(QFrame):
    """Shows the newest message that is not dealt with; hidden if there is none.

    A notice lies over the errors until it fades. An error that is reported again is listed once.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("medseg-messages")
        self._messages: list[_Shown] = []
        self._is_closed = False
        self._text = WrappedLabel()
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._text.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._count = QLabel()
        self._count.setObjectName("medseg-muted")
        self._dismiss = theme.make_tool_button("✕", "Dismiss this message", "medseg-plain")
        self._dismiss.clicked.connect(self.dismiss)
        self._buttons = QHBoxLayout()
        top = QHBoxLayout()
        top.addWidget(self._text, stretch=1)
        top.addWidget(self._count, alignment=Qt.AlignmentFlag.AlignTop)
        top.addWidget(self._dismiss, alignment=Qt.AlignmentFlag.AlignTop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 3, 2, 3)
        layout.setSpacing(3)
        layout.addLayout(top)
        layout.addLayout(self._buttons)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.hide()
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
        elif isinstance(notification, SettledMessages):
            self._settle(notification.topic)
        elif isinstance(notification, DockMessage):
            self._add(notification)

    def dismiss(self) -> None:
        """Remove the shown message; the one before it is shown."""
        if self._messages:
            self._remove(self._messages[-1])

    def press_action(self, label: str) -> None:
        """Click the button with this text; raise `ValueError` if the shown message has none."""
        for index in range(self._buttons.count()):
            if (button := self._buttons.itemAt(index).widget()) is not None and button.text() == label:
                button.click()
                return
        raise ValueError(f"no button {label!r} in {self._text.text()!r}")

    def _add(self, message: DockMessage) -> None:
        same = [shown for shown in self._messages if shown.message.message == message.message]
        replaced = [shown for shown in self._messages if shown.message.kind is MessageKind.NOTICE] + same
        replaced += [shown for shown in self._messages if message.topic and shown.message.topic == message.topic]
        self._messages = [shown for shown in self._messages if shown not in replaced]
        timer = None
        if message.kind is MessageKind.NOTICE:
            timer = QTimer(self)
            timer.setSingleShot(True)
            timer.start(FADE_MS + FADE_MS_PER_CHARACTER * len(message.message))
        shown = _Shown(message, timer)
        if timer is not None:
            timer.timeout.connect(lambda: self._remove(shown))
        self._messages.append(shown)
        self._show_newest()

    def _remove(self, shown: _Shown) -> None:
        if shown in self._messages:
            self._messages.remove(shown)
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
        text = message.message[:1].upper() + message.message[1:]
        self._text.setText(shorten_text(text))
        self._text.setToolTip(text)
        n_others = len(self._messages) - 1
        self._count.setText(f"+{n_others}" if n_others else "")
        self._count.setToolTip(f"{n_others} more below this one" if n_others else "")
        for index, (label, call) in enumerate(message.actions):
            button = theme.make_button(label, "", main=index == 0)
            button.clicked.connect(partial(self._act, self._messages[-1], call))
            self._buttons.addWidget(button)
        if message.actions:
            self._buttons.addStretch(1)
        theme.set_style_property(self, "kind", message.kind.value)
        self.show()

    def _act(self, shown: _Shown, call: Callable[[], None], _checked: bool = False) -> None:
        self._remove(shown)
        call()


def shorten_text(text: str) -> str:
    """Return at most `MAX_CHARACTERS` of a text, cut after a word."""
    if len(text) <= MAX_CHARACTERS:
        return text
    return text[: MAX_CHARACTERS - 1].rsplit(" ", 1)[0] + " …"
