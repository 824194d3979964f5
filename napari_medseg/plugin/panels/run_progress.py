"""A run that learns, or that waits to go on: its curve, where it stands, and the buttons that this state allows."""

import time
from functools import partial

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QWidget
from superqt import QElidingLabel

from napari_medseg.core.records import RunState
from napari_medseg.plugin.panels.training_curve import TrainingCurve
from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.collapsible_section import Pages, row_of, stack_in
from napari_medseg.plugin.widgets.inline_prompt import Question
from training.run_folder import EpochEnded, Event, Failed, Notice, Paused, Started

PAUSING = "pausing, it can go on later"
STOPPING = "stopping, the best is kept"


class RunProgress(QWidget):
    """Shows what a run says; whoever owns it acts on the buttons.

    Notes
    -----
    `pause_asked` and `cancel_asked` come while it learns, `go_on_asked` and `discard_asked` while it waits.
    """

    pause_asked = Signal()
    cancel_asked = Signal()
    go_on_asked = Signal()
    discard_asked = Signal()

    def __init__(self, theme_name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._phase = ""
        self._is_asked = False
        self._epoch = 0
        self._began_at = self._ends_at = self._worked_s = 0.0
        self.curve = TrainingCurve(theme_name)
        self.text = QElidingLabel("")
        self.pause = theme.button("Pause", "End the process and free its memory; the run goes on later where it stood")
        self.cancel = theme.button("Cancel, keep best", "Stop now; the best version so far is compared and offered")
        self.waiting = QLabel("")
        self.waiting.setWordWrap(True)
        self.go_on = theme.button("Continue", "Go on where the run stood, to the same result", main=True)
        self.discard = theme.button("Discard", "Give this run up; its corrections wait to be learnt again")
        self.question = Question()
        self._learning, self._halted = QWidget(), QWidget()
        stack_in(self._learning, self.text, row_of(self.pause, self.cancel, stretch=-1))
        stack_in(self._halted, self.waiting, row_of(self.go_on, self.discard, stretch=-1))
        self._pages = Pages(self._learning, self._halted, self.question)  # a question takes the place of its buttons
        stack_in(self, self.curve, self._pages)
        self.pause.clicked.connect(self._on_pause)
        self.cancel.clicked.connect(self._on_cancel)
        self.go_on.clicked.connect(self.go_on_asked)
        self.discard.clicked.connect(self._on_discard)

    def begin(self) -> None:
        """Show a run from its first event on."""
        self.curve.clear_epochs()
        self._phase, self._is_asked, self._epoch = "reading corrections", False, 0
        self._ends_at = self._worked_s = 0.0
        self.pause.setEnabled(True)
        self.cancel.setEnabled(True)
        self._pages.show_page(self._learning)
        self.show_time_left()

    def show_event(self, event: Event) -> None:
        """Show what the run says."""
        match event:
            case Started():
                self._say(f"{event.n_train} corrections, {event.n_replay} replayed")
                self._began_at = event.time - self._worked_s
                self._ends_at = self._began_at + (event.budget_s or 0.0)
            case EpochEnded():
                self.curve.add(event)
                self._epoch, self._worked_s = event.epoch, event.seconds
                self._say(f"epoch {event.epoch} of ~{event.n_epochs}")
                self._ends_at = self._began_at + event.seconds + event.seconds_left
            case Notice(text=text):
                self._say(text)
            case Paused():
                self._epoch, self._worked_s, self._ends_at = event.epoch, event.seconds, 0.0
            case Failed():
                self._phase, self._ends_at = "failed", 0.0

    def show_time_left(self) -> None:
        """Count the seconds down that the run expects to take."""
        left_s = self._ends_at - time.time()
        self.text.setText(f"{self._phase}, {left_s:.0f} s left" if left_s > 0 else f"{self._phase} …")
        self.text.setToolTip(self._phase)

    def end(self) -> None:
        """Show that nothing is learnt any more."""
        self.pause.setEnabled(False)
        self.cancel.setEnabled(False)

    def wait_to_go_on(self, state: RunState) -> None:
        """Offer to go on with a run that was paused, or interrupted in any other state, and to discard it."""
        what = "Paused" if state is RunState.PAUSED else "Interrupted"
        where = f"at epoch {self._epoch}" if self._epoch else "in its first epoch"
        self.waiting.setText(f"{what} {where}; press Continue to go on.")
        self._pages.show_page(self._halted)

    def _say(self, phase: str) -> None:
        if not self._is_asked:  # what a person asked for is shown until it is done
            self._phase = phase

    def _on_pause(self) -> None:
        self._ask(PAUSING)
        self.pause_asked.emit()

    def _on_cancel(self) -> None:
        self._ask(STOPPING)
        self.cancel.setEnabled(False)
        self.cancel_asked.emit()

    def _ask(self, phase: str) -> None:
        self._phase, self._ends_at, self._is_asked = phase, 0.0, True
        self.pause.setEnabled(False)
        self.show_time_left()

    def _on_discard(self) -> None:
        text = f"Give up what it learnt up to epoch {self._epoch}?" if self._epoch else "Give this run up?"
        keep = partial(self._pages.show_page, self._halted)
        self.question.ask(text, [("Discard", self.discard_asked.emit), ("Keep it", keep)])
        self._pages.show_page(self.question)
