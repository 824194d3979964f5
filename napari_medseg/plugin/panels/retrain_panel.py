"""The improve section: retrain on corrections, follow the run, compare versions, and promote one."""

from functools import partial

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QApplication, QWidget

from napari_medseg.core.grouping.keyed_groups import choose_group_noun
from napari_medseg.core.records import Run, RunState
from napari_medseg.plugin.controllers.run_monitor import RunMonitor
from napari_medseg.plugin.forms.form_dialog import FormDialog
from napari_medseg.plugin.forms.retrain_form import TIME_BUDGETS, RetrainOptions, make_retrain_form
from napari_medseg.plugin.panels.checks_list import FindingsList
from napari_medseg.plugin.panels.decision_page import DecisionPage, make_wrapped_label
from napari_medseg.plugin.panels.run_progress import RunProgress
from napari_medseg.plugin.panels.versions_row import VersionsRow
from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.collapsible_section import CollapsibleSection, PageStack
from napari_medseg.plugin.widgets.notifications import settle_messages, show_errors, show_problem, show_result
from napari_medseg.workflow import retrain, run_control
from napari_medseg.workflow.hold_out.held_out_groups import describe_hold_out_shortage
from napari_medseg.workflow.retrain import CandidateComparison
from napari_medseg.workflow.run_outcome import find_waiting_comparison, list_undecided_runs
from napari_medseg.workflow.run_plan import RunRequest
from napari_medseg.workflow.workspace import Workspace
from training.run_folder import Event, Failed

RETRAIN_HINT = (
    "Accept corrected cases, then train on them. The new version goes live only if it is better on the hold-out."
)
RUN_TOPIC = "training run for {}"
"""Of one task: the message of a run that waits does not replace that of another task."""
LIVE_TOPIC = "live version of {}"
OPTIONS_TOOLTIP = "Choose the start version, the seed, or a custom recipe"
FIRST_MODEL_HINT = (
    "The first model is trained on accepted cases, if possible of several {}s. It goes live only if it beats empty "
    "labels on the hold-out."
)


class RetrainPanel(CollapsibleSection):
    """Retrain, compare, promote, roll back.

    Notes
    -----
    `live_changed` is emitted when another version became live. `row_chosen` carries the run and the `ComparisonRow`
    whose labels the user wants to see, `run_requested` the task whose run the user wants to see. `findings.chosen`
    carries a finding to look at before training.
    """

    live_changed = Signal()
    row_chosen = Signal(object, object)
    run_requested = Signal(str)

    def __init__(self, workspace: Workspace, watch: RunMonitor, theme_name: str, parent: QWidget | None = None) -> None:
        super().__init__("Improve", parent)
        self._workspace = workspace
        self._watch = watch
        self._task = ""
        self.progress = RunProgress(theme_name)
        self.findings = FindingsList(workspace)
        self.findings.changed.connect(self.refresh)
        self.add(self.findings)
        self._make_retrain_row()
        self._make_pages()
        watch.began.connect(self._on_began)
        watch.event_received.connect(self._on_event)
        watch.polled.connect(self._show_running)
        watch.ended.connect(self._on_ended)

    def set_task(self, task: str) -> None:
        """Show another task and its active or undecided run."""
        self._task = task
        self.show_hint()
        with show_errors():
            self._watch.attach(task)

    def show_hint(self) -> None:
        """Show what a run needs, and no run."""
        self._show_page(self._hint_page)
        self.refresh()

    def refresh(self) -> None:
        """Update the number of new corrections and the state of the buttons."""
        with show_errors():
            live = self._workspace.registry.get_live_id(self._task)
            waiting = retrain.count_unlearnt_corrections(self._workspace, self._task)
            counted = f"{waiting} correction{'s' * (waiting != 1)}"
            since = f"{counted} since @{live.rpartition('@')[2]}"  # the name is above, and may be long
            self.set_status(since if live else f"{counted}, no model yet", live)
            self._retrain.setText("Retrain on corrections" if live else "Train first model")
            why_not = self._get_run_blocker()
            why_not = why_not or ("" if waiting else "No new correction: accept cases outside the hold-out first")
            self.findings.check(self._task)
            why_not = why_not or self.findings.blocking_reason
            n_judging = retrain.count_hold_out_groups(self._workspace, self._task)
            task = self._workspace.tasks.get_task(self._task)
            short, hint = describe_hold_out_shortage(n_judging, task), FIRST_MODEL_HINT.format(choose_group_noun(task))
            short = short and f"{short[0].upper()}{short[1:]}."
            self._hint_page.setText(f"{RETRAIN_HINT if live else hint} {short}".strip())
            what = f"Fine-tune {live}" if live else "Train the first model of this task"
            tooltip = f"{what} on {waiting} corrections, in a separate process; you can continue working"
            theme.set_enabled(self._retrain, not why_not, tooltip, why_not)
            theme.set_enabled(self._options, not why_not, OPTIONS_TOOLTIP, why_not)
            self.versions.show_task(self._task, live)

    def set_budget(self, seconds: float) -> None:
        """Select the time budget of the next run, in seconds; a value that is not in the list is ignored."""
        if (index := self._budget.findData(seconds)) >= 0:
            self._budget.setCurrentIndex(index)

    def show_options_form(self) -> None:
        """Ask for start version, time, seed and recipe; then start a run with them."""
        registry = self._workspace.registry
        models = [card.id for card in registry.list_versions(self._task)]
        live, budget_s = registry.get_live_id(self._task), self._budget.currentData()
        form = make_retrain_form(self._start_run_with, live, models, budget_s)
        FormDialog("Retrain with other options", "Start", form, self).show()

    def _show_page(self, page: QWidget) -> None:
        self._pages.show_page(page)
        self.findings.set_display_allowed(page is self._hint_page)

    def _make_retrain_row(self) -> None:
        self._retrain = theme.make_button("Retrain on corrections", "", main=True)
        self._budget = theme.CompactComboBox("Time limit of the run, including the comparison with the live version")
        for text, seconds in TIME_BUDGETS:
            self._budget.addItem(text, seconds)
        self.set_budget(retrain.DEFAULT_BUDGET_S)
        self._options = theme.make_tool_button("⋯", "")
        self.add_row(self._retrain, self._budget, self._options)
        self._retrain.clicked.connect(self._on_retrain)
        self._options.clicked.connect(self.show_options_form)

    def _make_pages(self) -> None:
        self._hint_page = make_wrapped_label(RETRAIN_HINT)
        self.decision = DecisionPage(self._promote, self._on_keep)
        self.decision.row_chosen.connect(self.row_chosen)
        self._pages = PageStack(self._hint_page, self.progress, self.decision)
        self.add(self._pages)
        self.versions = VersionsRow(self._workspace)
        self.versions.chosen.connect(self._on_version_chosen)
        self.add(self.versions)
        self.progress.pause_requested.connect(self._watch.pause)
        self.progress.cancel_requested.connect(self._watch.cancel)
        self.progress.continue_requested.connect(self._on_continue)
        self.progress.discard_requested.connect(self._on_discard)

    def _on_retrain(self) -> None:
        self.findings.call_when_checked(self._start_run)

    def _start_run(self) -> None:
        with show_errors():
            if self._retrain.isEnabled():
                self._watch.start(self._task, RunRequest(self._budget.currentData()), self.findings.checked)

    def _start_run_with(self, options: RetrainOptions) -> None:
        self.findings.call_when_checked(lambda: self._watch_run_with(options))

    def _watch_run_with(self, options: RetrainOptions) -> None:
        with show_errors():
            self._watch.start(self._task, options.read_request(), self.findings.checked)

    def _on_continue(self) -> None:
        with show_errors():
            self._watch.resume()

    def _on_discard(self) -> None:
        with show_errors():
            self._watch.discard()
        self.show_hint()

    def _on_began(self) -> None:
        self.decision.compared = None
        settle_messages(RUN_TOPIC.format(self._task if self._watch.run is None else self._watch.run.task))
        self.progress.begin(self._describe_other_task())
        self._show_page(self.progress)
        self.refresh()

    def _on_event(self, event: Event) -> None:
        self.progress.show_event(event)
        if isinstance(event, Failed):
            run = self._watch.run
            show_problem(event.message, RUN_TOPIC.format(self._task if run is None else run.task))

    def _on_ended(self) -> None:
        self.progress.end()
        run = self._watch.run
        with show_errors():
            if run is not None and run.state in (RunState.FINISHED, RunState.CANCELLED):
                view = retrain.read_comparison(self._workspace, run)
                if self._watch.saw_end:
                    self._announce(run, view)
                if run.task == self._task:
                    self._show_comparison(run, view)
            elif run is not None and run.task == self._task and self._watch.can_resume:
                self.progress.offer_to_continue(run.state)
            if run is not None and run.task != self._task:
                self._show_page(self._hint_page)
        self.refresh()

    def announce_waiting_runs(self) -> None:
        """Report runs of other tasks that wait for a decision, or are paused; those of this task are shown here."""
        with show_errors():
            paused = run_control.find_paused_run(self._workspace)
            if paused is not None and paused.task != self._task and paused.task in self._workspace.tasks:
                title = self._workspace.tasks.get_task(paused.task).title
                text = f"A training run for {title} is paused."
                show_result(text, [("Show", partial(self._show_run, paused))], RUN_TOPIC.format(paused.task))
            for run in list_undecided_runs(self._workspace):
                if run.task != self._task and run.task in self._workspace.tasks:
                    self._announce(run, retrain.read_comparison(self._workspace, run))

    def _announce(self, run: Run, view: CandidateComparison) -> None:
        """Say how a run ended, whatever is on the screen: the message line is in view of all tasks and sections."""
        title = self._workspace.tasks.get_task(run.task).title
        text = f"{view.verdict.headline}. The training for {title} has ended; promote the new version or keep the old."
        show_result(text, [("Show", partial(self._show_run, run))], RUN_TOPIC.format(run.task))
        if (window := self.window()) is not None:
            QApplication.alert(window)

    def _show_run(self, run: Run) -> None:
        self.fold(False)
        self.run_requested.emit(run.task)

    def _show_running(self) -> None:
        """Show the time left in the header, which stays in view when the section is folded."""
        self.progress.show_time_left()
        if self._watch.is_running:
            phase = self.progress.status_label.toolTip()
            self.set_status(self.progress.short_text, f"A model is being trained; you can continue working. {phase}")

    def _describe_other_task(self) -> str:
        run = self._watch.run
        is_other = run is not None and run.task != self._task and run.task in self._workspace.tasks
        return self._workspace.tasks.get_task(run.task).title if run is not None and is_other else ""

    def _get_run_blocker(self) -> str:
        if self._watch.is_running:
            return "A training run is under way"
        if run_control.find_paused_run(self._workspace, self._task) is not None:
            return "A run is paused: continue or discard it first"
        if find_waiting_comparison(self._workspace, self._task) is not None:
            return "A new version waits: promote it or keep the old one; then the next run begins with the better one"
        return ""

    def _show_comparison(self, run: Run, view: CandidateComparison) -> None:
        live = self._workspace.registry.find_live_card(run.task)
        name = self._workspace.tasks.get_task(run.task).default_model if live is None else live.name
        version = self._workspace.registry.find_next_version(name)
        self.decision.show_comparison(run, view, live, f"{name}@{version}")
        self._show_page(self.decision)

    def _promote(self, reason: str) -> None:
        with show_errors():
            before = self._workspace.registry.get_live_id(self._task)
            if (compared := self.decision.compared) is not None:
                card = retrain.promote(self._workspace, compared[0], reason)
                self._tell_live(card.id, before)
            self._finish_decision()

    def _on_keep(self) -> None:
        with show_errors():
            if (compared := self.decision.compared) is not None:
                card = retrain.keep_old(self._workspace, compared[0])
                text = f"Kept, and not live: {card.id}. You can promote it later: Versions, at the end of Improve."
                show_result(text, topic=LIVE_TOPIC.format(card.task))
            self._finish_decision()

    def _on_version_chosen(self, model: str, reason: str) -> None:
        with show_errors():
            registry = self._workspace.registry
            before = registry.get_live_id(self._task)
            registry.promote(model, reason)
            self._tell_live(model, before)
            self._finish_decision()
            self._watch.attach(self._task)  # a new version that waits for a decision goes on waiting

    def _tell_live(self, model: str, before: str) -> None:
        """Say which version predicts from now on, with the way back."""
        task = self._workspace.registry.get_card(model).task
        back = [(f"Back to {before}", partial(self._go_back, before))] if before and before != model else []
        show_result(f"From now on {model} predicts: it is live.", back, LIVE_TOPIC.format(task))

    def _go_back(self, model: str) -> None:
        with show_errors():
            card = self._workspace.registry.promote(model)
            show_result(f"Live again: {card.id}.", topic=LIVE_TOPIC.format(card.task))
            self.refresh()
            self.live_changed.emit()

    def _finish_decision(self) -> None:
        self.decision.compared = None
        self.decision.prompt.hide()
        settle_messages(RUN_TOPIC.format(self._task))
        self.show_hint()
        self.live_changed.emit()
