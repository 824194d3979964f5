"""Messages of the window: errors that the user can solve, results, and notices, for the message line of the dock.

They go through napari's notifications, so that its log has them. While a message line is in view, it shows them, and
napari shows no pop-up for them; without one, as before a project is open, napari's pop-up does.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

from napari.utils.notifications import Notification, NotificationSeverity, notification_manager

from napari_medseg.core.errors import MedSegError, damage_logger, translate_errors
from napari_medseg.inference.engine.interface import PredictionCancelled

LINE_SLOT = "receive_notification"
"""Name of the method by which a message line listens to napari's notifications."""

MessageAction = tuple[str, Callable[[], None]]


class MessageKind(StrEnum):
    """An error stays until it is dealt with, a result until it is dismissed; a notice fades."""

    ERROR = "error"
    RESULT = "result"
    NOTICE = "notice"


class DockMessage(Notification):
    """A message for the message line.

    Parameters
    ----------
    text
        Reason first, then what it means, then what to do.
    kind
        How long it stays.
    actions
        Texts of buttons, and what they do; they remove the message.
    topic
        What it is about; `settle_messages` removes all messages of a topic.
    """

    def __init__(self, text: str, kind: MessageKind, actions: Sequence[MessageAction] = (), topic: str = "") -> None:
        pop_up = NotificationSeverity.ERROR if kind is MessageKind.ERROR else NotificationSeverity.INFO
        super().__init__(text, NotificationSeverity.DEBUG if _is_line_in_view() else pop_up, actions)
        self.kind = kind
        self.topic = topic


class SettledMessages(Notification):
    """Says that the cause of the messages of a topic is gone, or of those that name a case."""

    def __init__(self, topic: str) -> None:
        super().__init__("", NotificationSeverity.DEBUG)
        self.topic = topic


def show_problem(problem: MedSegError | str, topic: str = "", actions: Sequence[MessageAction] = ()) -> None:
    """Show an error message. A cancelled prediction is not reported, and neither is an error without a text."""
    if not isinstance(problem, PredictionCancelled) and str(problem):
        notification_manager.dispatch(DockMessage(str(problem), MessageKind.ERROR, actions, topic))


def show_notice(text: str) -> None:
    """Show a message that needs no answer and fades."""
    notification_manager.dispatch(DockMessage(text, MessageKind.NOTICE))


def show_result(text: str, actions: Sequence[MessageAction] = (), topic: str = "") -> None:
    """Show the result of long work; it stays until it is dismissed or an action is chosen."""
    notification_manager.dispatch(DockMessage(text, MessageKind.RESULT, actions, topic))


def settle_messages(topic: str) -> None:
    """Remove the errors and results of a topic, because their cause is gone, and errors that name it, as a case."""
    for line in _find_lines():  # not through napari, which prints each notification
        line.receive_notification(SettledMessages(topic))


def _find_lines() -> list[Any]:
    """Return the message lines that listen, wherever they are in the window; napari holds them weakly."""
    listening = notification_manager.notification_ready.callbacks
    lines = [slot[0]() for slot in listening if isinstance(slot, tuple) and slot[1] == LINE_SLOT]
    return [line for line in lines if line is not None]


def _is_line_in_view() -> bool:
    return any(line.is_in_view for line in _find_lines())


@contextmanager
def show_errors() -> Iterator[None]:
    """Show an error raised in the block instead of passing it to Qt.

    Errors of files, disks, memory and libraries are shown as a message, like a `MedSegError`. Faults of this program
    are not caught.
    """
    try:
        with translate_errors():
            yield
    except MedSegError as error:
        show_problem(error)


class DamageNotifier(logging.Handler):
    """Shows each report of a damaged file as a notification, from `start` until `stop`."""

    def start(self) -> None:
        """Show the reports from now on."""
        damage_logger.addHandler(self)

    def stop(self) -> None:
        """Show no more reports; a second call has no effect."""
        damage_logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Show one report, from any thread."""
        show_problem(record.getMessage())
