"""Display of a running or paused run: its curve, its progress, and its buttons."""

import time
from functools import partial

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QWidget
from superqt import QElidingLabel

from napari_medseg.core.records import RunState
from napari_medseg.plugin.panels.training_curve import TrainingCurve
from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.collapsible_section import PageStack, make_row, stack_widgets
from napari_medseg.plugin.widgets.inline_prompt import InlinePrompt
from training.run_folder import EpochEnded, Event, Failed, Notice, Paused, Started

PAUSING = "pausing, you can resume it later"
STOPPING = "stopping, the best version is kept"


class RunProgress(QWidget):
    """Shows the events of a run; the owner of the widget handles its buttons.

    Notes
    -----
    `pause_requested` and `cancel_requested` are emitted during training, `continue_requested` and `discard_requested`
    while the run is paused or interrupted.
    """

    pause_requested = Signal()
    cancel_requested = Signal()
    continue_requested = Signal()
    discard_requested = Signal()

    def __init__(self, theme_name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._title = self._phase = ""
        self._is_request_pending = False
        self._epoch = 0
        self._began_at = self._ends_at = self._worked_s = 0.0
        self.curve = TrainingCurve(theme_name)
        self.status_label = QElidingLabel("")
        self.pause_button = theme.make_button(
            "Pause", "End the process and free its memory; you can resume the run from here later"
        )
        self.cancel_button = theme.make_button(
            "Cancel, keep best", "Stop now; the best version so far is compared with the live one"
        )
        self.halted_label = QLabel("")
        self.halted_label.setWordWrap(True)
        self.continue_button = theme.make_button(
            "Continue", "Resume from the last checkpoint; the result is the same as without the pause", main=True
        )
        self.discard_button = theme.make_button(
            "Discard", "Discard this run; its corrections stay available for the next one"
        )
        self.prompt = InlinePrompt()
        self._running_page, self._halted_page = QWidget(), QWidget()
        stack_widgets(
            self._running_page, self.status_label, make_row(self.pause_button, self.cancel_button, stretch=-1)
        )
        stack_widgets(
            self._halted_page, self.halted_label, make_row(self.continue_button, self.discard_button, stretch=-1)
        )
        self._pages = PageStack(self._running_page, self._halted_page, self.prompt)  # the prompt replaces the buttons
        stack_widgets(self, self.curve, self._pages)
        self.pause_button.clicked.connect(self._on_pause)
        self.cancel_button.clicked.connect(self._on_cancel)
        self.continue_button.clicked.connect(self.continue_requested)
        self.discard_button.clicked.connect(self._on_discard)

    def begin(self, title: str = "") -> None:
        """Reset the display for a new run; `title` is its task, if that is another one than the task in view."""
        self._title = title
        self.curve.clear_epochs()
        self._phase, self._is_request_pending, self._epoch = "reading corrections", False, 0
        self._ends_at = self._worked_s = 0.0
        self.pause_button.setEnabled(True)
        self.cancel_button.setEnabled(True)
        self._pages.show_page(self._running_page)
        self.show_time_left()

    def show_event(self, event: Event) -> None:
        """Show an event of the run."""
        match event:
            case Started():
                self._set_phase(f"{event.n_train} corrections, {event.n_replay} replayed")
                self._began_at = event.time - self._worked_s
                self._ends_at = self._began_at + (event.budget_s or 0.0)
            case EpochEnded():
                self.curve.add_epoch(event)
                self._epoch, self._worked_s = event.epoch, event.seconds
                self._set_phase(f"epoch {event.epoch} of ~{event.n_epochs}")
                self._ends_at = self._began_at + event.seconds + event.seconds_left
            case Notice(text=text):
                self._set_phase(text)
            case Paused():
                self._epoch, self._worked_s, self._ends_at = event.epoch, event.seconds, 0.0
            case Failed():
                self._phase, self._ends_at = "failed", 0.0

    @property
    def short_text(self) -> str:
        """The remaining time without the phase, for a header that has no room for both; the phase if it is unknown."""
        left_s = self._ends_at - time.time()
        if left_s > 0:
            return f"{left_s:.0f} s left, {self._title or 'training'}"
        return f"training {self._title}" if self._title and not self._is_request_pending else self.status_label.text()

    def show_time_left(self) -> None:
        """Show the estimated remaining time."""
        left_s = self._ends_at - time.time()
        phase = f"{self._title}: {self._phase}" if self._title else self._phase
        # first, because the end of a long text is not shown
        self.status_label.setText(f"{left_s:.0f} s left, {phase}" if left_s > 0 else f"{phase} …")
        self.status_label.setToolTip(phase)

    def end(self) -> None:
        """Disable the buttons after the end of training."""
        self.pause_button.setEnabled(False)
        self.cancel_button.setEnabled(False)

    def offer_to_continue(self, state: RunState) -> None:
        """Offer to continue or discard a run that was paused or interrupted."""
        what = "Paused" if state is RunState.PAUSED else "Interrupted"
        where = f"at epoch {self._epoch}" if self._epoch else "in its first epoch"
        self.halted_label.setText(f"{what} {where}; press Continue to resume.")
        self._pages.show_page(self._halted_page)

    def _set_phase(self, phase: str) -> None:
        if not self._is_request_pending:  # a pending user request stays visible
            self._phase = phase

    def _on_pause(self) -> None:
        self._show_request(PAUSING)
        self.pause_requested.emit()

    def _on_cancel(self) -> None:
        self._show_request(STOPPING)
        self.cancel_button.setEnabled(False)
        self.cancel_requested.emit()

    def _show_request(self, phase: str) -> None:
        self._phase, self._ends_at, self._is_request_pending = phase, 0.0, True
        self.pause_button.setEnabled(False)
        self.show_time_left()

    def _on_discard(self) -> None:
        text = f"Discard the training up to epoch {self._epoch}?" if self._epoch else "Discard this run?"
        keep = partial(self._pages.show_page, self._halted_page)
        self.prompt.ask(text, [("Discard", self.discard_requested.emit), ("Keep it", keep)])
        self._pages.show_page(self.prompt)
