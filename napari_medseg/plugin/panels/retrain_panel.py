"""The improve section: retrain on corrections, follow the run, compare versions, and promote one."""

from functools import partial

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QMenu, QWidget
from superqt import QElidingLabel

from napari_medseg.core.quality.promotion_gate import MIN_GROUPS, Decision
from napari_medseg.core.records import Run, RunState
from napari_medseg.plugin.controllers.run_monitor import RunMonitor
from napari_medseg.plugin.forms.form_dialog import FormDialog
from napari_medseg.plugin.forms.retrain_form import TIME_BUDGETS, RetrainOptions, make_retrain_form
from napari_medseg.plugin.panels.checks_list import FindingsList
from napari_medseg.plugin.panels.comparison_table import ComparisonTable
from napari_medseg.plugin.panels.run_progress import RunProgress
from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.collapsible_section import CollapsibleSection, PageStack, make_row, stack_widgets
from napari_medseg.plugin.widgets.inline_prompt import InlinePrompt
from napari_medseg.plugin.widgets.notifications import show_errors, show_problem
from napari_medseg.workflow import retrain, run_control
from napari_medseg.workflow.meter import effort
from napari_medseg.workflow.retrain import CandidateComparison
from napari_medseg.workflow.workspace import Workspace
from training.from_folders.default_recipe import NO_OVERRIDES, read_recipe_overrides
from training.run_folder import Event, Failed

RETRAIN_HINT = (
    "Accept corrected cases, then train on them. The new version goes live only if it is better on the hold-out."
)
OPTIONS_TOOLTIP = "Choose the start version, the seed, or a custom recipe"
FIRST_MODEL_HINT = (
    "The first model is trained on accepted cases, from several patients if possible. "
    "It goes live only if it beats empty labels on the hold-out."
)


class RetrainPanel(CollapsibleSection):
    """Retrain, compare, promote, roll back.

    Notes
    -----
    `live_changed` is emitted when another version became live. `row_chosen` carries the run and the `ComparisonRow`
    whose labels the user wants to see. `findings.chosen` carries a case to check before training.
    """

    live_changed = Signal()
    row_chosen = Signal(object, object)

    def __init__(self, workspace: Workspace, watch: RunMonitor, theme_name: str, parent: QWidget | None = None) -> None:
        super().__init__("Improve", parent)
        self._workspace = workspace
        self._watch = watch
        self.prompt = InlinePrompt()
        self._task = ""
        self._compared: tuple[Run, CandidateComparison] | None = None
        self.progress = RunProgress(theme_name)
        self.table = ComparisonTable()
        self.findings = FindingsList(workspace)
        self.findings.changed.connect(self.refresh)
        self.add(self.findings)
        self._make_retrain_row()
        self._make_pages()
        watch.began.connect(self._on_began)
        watch.event_received.connect(self._on_event)
        watch.polled.connect(self.progress.show_time_left)
        watch.ended.connect(self._on_ended)

    def set_task(self, task: str) -> None:
        """Show another task and its active or undecided run."""
        self._task = task
        self._show_page(self._hint_page)
        self.refresh()
        with show_errors():
            self._watch.attach(task)

    def refresh(self) -> None:
        """Update the number of new corrections and the state of the buttons."""
        with show_errors():
            live = self._workspace.registry.get_live_id(self._task)
            waiting = retrain.count_unlearnt_corrections(self._workspace, self._task)
            counted = f"{waiting} correction{'s' * (waiting != 1)}"
            self.set_status(f"{counted} since {live}" if live else f"{counted}, no model yet")
            self._retrain.setText("Retrain on corrections" if live else "Train first model")
            why_not = self._get_run_blocker()
            why_not = why_not or ("" if waiting else "No new correction: accept cases outside the hold-out first")
            self.findings.check(self._task)
            why_not = why_not or self.findings.blocking_reason
            judging = _describe_hold_out_shortage(retrain.count_hold_out_groups(self._workspace, self._task))
            self._hint_page.setText(f"{RETRAIN_HINT if live else FIRST_MODEL_HINT} {judging}".strip())
            what = f"Fine-tune {live}" if live else "Train the first model of this task"
            tooltip = f"{what} on {waiting} corrections, in a separate process; you can continue working"
            theme.set_enabled(self._retrain, not why_not, tooltip, why_not)
            theme.set_enabled(self._options, not why_not, OPTIONS_TOOLTIP, why_not)
            self._fill_roll_back(live)
            self._show_effort()

    def promote_or_ask_reason(self) -> None:
        """Promote the candidate. If it is not better, ask for a reason first."""
        if self._compared is None:
            return
        if self._compared[1].verdict.decision is Decision.BETTER:
            self._promote("")
        else:
            text = "The hold-out does not show that it is better. Why should it go live anyway?"
            self.prompt.ask_reason(text, "reason, for the model card", "Promote anyway", self._promote)

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
        self._hint_page = _make_wrapped_label(RETRAIN_HINT)
        self._verdict = _make_wrapped_label("")
        self._verdict.setObjectName("medseg-verdict")
        self._figures = _make_wrapped_label("")
        self._promote_button = theme.make_button("Promote", "", main=True)
        self._keep_button = theme.make_button("Keep old", "")
        decided = QWidget()
        buttons = make_row(self._promote_button, self._keep_button, stretch=-1)
        stack_widgets(decided, self._verdict, self._figures, buttons, self.prompt, self.table)
        self._decision_page = decided
        self._pages = PageStack(self._hint_page, self.progress, decided)
        self.add(self._pages)
        self._roll_back = theme.make_tool_button("Roll back ▾", "Make an earlier version live again")
        self._roll_back.setPopupMode(self._roll_back.ToolButtonPopupMode.InstantPopup)
        self._roll_back.setMenu(QMenu(self._roll_back))
        self._effort = QElidingLabel("")
        self._effort.setObjectName("medseg-muted")
        self.add_row(self._effort, self._roll_back)
        self.progress.pause_requested.connect(self._watch.pause)
        self.progress.cancel_requested.connect(self._watch.cancel)
        self.progress.continue_requested.connect(self._on_continue)
        self.progress.discard_requested.connect(self._on_discard)
        self._promote_button.clicked.connect(self.promote_or_ask_reason)
        self._keep_button.clicked.connect(self._on_keep)
        self.table.chosen.connect(self._on_chosen)

    def _show_effort(self) -> None:
        found = effort.compute_efforts(self._workspace, self._task)
        self._effort.setText(effort.format_effort(found))
        self._effort.setToolTip(
            "\n".join(
                f"{one.model}: {one.n_cases} accepted, {one.seconds:.0f} s and {one.changed_voxels:,.0f} voxels each"
                for one in found
            )
        )

    def _fill_roll_back(self, live: str) -> None:
        """List the versions that were live before, newest first."""
        registry = self._workspace.registry
        earlier = [change.model for change in reversed(registry.read_history(self._task))]
        known = [card.id for card in registry.list_versions(self._task)]
        bundled = [model for model in known if registry.get_folder(model).is_relative_to(registry.bundled_dir)]
        models = [model for model in dict.fromkeys([*earlier, *bundled]) if model != live and model in known]
        menu = self._roll_back.menu()
        menu.clear()
        for model in models:
            menu.addAction(f"Make {model} live again", partial(self._on_roll_back, model))
        self._roll_back.setVisible(bool(models))

    def _on_retrain(self) -> None:
        self.findings.call_when_checked(self._start_run)

    def _start_run(self) -> None:
        with show_errors():
            if self._retrain.isEnabled():
                self._watch.start(self._task, self._budget.currentData())

    def _start_run_with(self, options: RetrainOptions) -> None:
        self.findings.call_when_checked(lambda: self._watch_run_with(options))

    def _watch_run_with(self, options: RetrainOptions) -> None:
        with show_errors():
            changes = NO_OVERRIDES if options.recipe is None else read_recipe_overrides(options.recipe)
            self._watch.start(self._task, options.budget_s, options.seed, options.base, changes)

    def _on_continue(self) -> None:
        with show_errors():
            self._watch.resume()

    def _on_discard(self) -> None:
        with show_errors():
            self._watch.discard()
        self._show_page(self._hint_page)
        self.refresh()

    def _on_began(self) -> None:
        self._compared = None
        self.progress.begin()
        self._show_page(self.progress)
        self.refresh()

    def _on_event(self, event: Event) -> None:
        self.progress.show_event(event)
        if isinstance(event, Failed):
            show_problem(event.message)

    def _on_ended(self) -> None:
        self.progress.end()
        run = self._watch.run
        with show_errors():
            if run is not None and run.state in (RunState.FINISHED, RunState.CANCELLED):
                self._show_comparison(run, retrain.read_comparison(self._workspace, run))
            elif run is not None and self._watch.can_resume:
                self.progress.offer_to_continue(run.state)
        self.refresh()

    def _get_run_blocker(self) -> str:
        if self._watch.is_running:
            return "A training run is under way"
        waits = run_control.find_paused_run(self._workspace, self._task) is not None
        return "A run is paused: continue or discard it first" if waits else ""

    def _show_comparison(self, run: Run, view: CandidateComparison) -> None:
        self._compared = run, view
        in_part = frozenset(row.compared.case for row in view.rows if row.is_partly_reviewed)
        self.table.show_rows([row.compared for row in view.rows], in_part)
        self.table.setVisible(bool(view.rows))
        self._verdict.setText(view.verdict.answer)
        self._verdict.setProperty("decision", view.verdict.decision.value)
        self._figures.setText(view.verdict.figures)
        self._verdict.style().polish(self._verdict)
        live = self._workspace.registry.find_live_card(self._task)
        name = self._workspace.tasks.get_task(self._task).default_model if live is None else live.name
        self._promote_button.setText(f"Promote {name}@{self._workspace.registry.find_next_version(name)}")
        self._promote_button.setToolTip("Predict with the new version from now on; you can roll back at any time")
        self._keep_button.setText("Not yet" if live is None else f"Keep @{live.version}")
        self._keep_button.setToolTip("The new version stays in the registry, but does not go live")
        self._show_page(self._decision_page)

    def _promote(self, reason: str) -> None:
        with show_errors():
            if self._compared is not None:
                retrain.promote(self._workspace, self._compared[0], reason)
            self._finish_decision()

    def _on_keep(self) -> None:
        with show_errors():
            if self._compared is not None:
                retrain.keep_old(self._workspace, self._compared[0])
            self._finish_decision()

    def _on_roll_back(self, model: str) -> None:
        with show_errors():
            self._workspace.registry.promote(model)
            self._finish_decision()

    def _finish_decision(self) -> None:
        self._compared = None
        self.prompt.hide()
        self._show_page(self._hint_page)
        self.refresh()
        self.live_changed.emit()

    def _on_chosen(self, case: str) -> None:
        if self._compared is not None:
            run, view = self._compared
            for row in view.rows:
                if row.compared.case == case:
                    self.row_chosen.emit(run, row)


def _describe_hold_out_shortage(n_groups: int) -> str:
    """Return a warning if the hold-out has too few groups for the promotion gate; otherwise an empty text."""
    if n_groups >= MIN_GROUPS:
        return ""
    return f"The hold-out has accepted cases of {n_groups} patients; the comparison needs {MIN_GROUPS}."


def _make_wrapped_label(text: str) -> QLabel:
    label = QLabel(text)
    label.setWordWrap(True)
    label.setObjectName("medseg-muted")
    return label
