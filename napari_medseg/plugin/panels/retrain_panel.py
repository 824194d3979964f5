"""The improve section: retrain on corrections, watch it learn, compare old and new, and decide which goes live."""

from functools import partial

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QMenu, QWidget
from superqt import QElidingLabel

from napari_medseg.core.quality.promotion_gate import MIN_GROUPS, Decision
from napari_medseg.core.records import Run, RunState
from napari_medseg.plugin.controllers.run_monitor import RunWatch
from napari_medseg.plugin.panels.checks_list import FindingsList
from napari_medseg.plugin.panels.comparison_table import ComparisonTable
from napari_medseg.plugin.panels.run_progress import RunProgress
from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.collapsible_section import Pages, Section, row_of, stack_in
from napari_medseg.plugin.widgets.inline_prompt import Question
from napari_medseg.plugin.widgets.notifications import tell, told
from napari_medseg.workflow import correction_effort, retrain, run_control
from napari_medseg.workflow.retrain import ComparisonView
from napari_medseg.workflow.workspace import Workspace
from training.run_folder import Event, Failed

BUDGETS = (("≤ 30 s", 30.0), ("≤ 60 s", 60.0), ("≤ 90 s", 90.0), ("≤ 5 min", 300.0), ("≤ 15 min", 900.0))
DEFAULT_BUDGET = 2
EMPTY = "Accept corrected cases: the model learns from them here, and goes live only if it is better on the hold-out."
EMPTY_FIRST = (
    "The first model learns from accepted cases, of several patients if it can be; "
    "it goes live only if it beats an empty answer on the hold-out."
)


class ImprovePanel(Section):
    """Retrain, compare, promote, roll back.

    Notes
    -----
    `live_changed` says that another version predicts now; `row_chosen` carries the run and a `ComparisonRow` that a
    person wants to see as labels. `findings.chosen` carries a case to look at before training.
    """

    live_changed = Signal()
    row_chosen = Signal(object, object)

    def __init__(self, workspace: Workspace, watch: RunWatch, theme_name: str, parent: QWidget | None = None) -> None:
        super().__init__("Improve", parent)
        self._workspace = workspace
        self._watch = watch
        self.question = Question()
        self._task = ""
        self._compared: tuple[Run, ComparisonView] | None = None
        self.progress = RunProgress(theme_name)
        self.table = ComparisonTable()
        self.findings = FindingsList(workspace)
        self.findings.changed.connect(self.refresh)
        self.add(self.findings)
        self._make_retrain_row()
        self._make_pages()
        watch.began.connect(self._on_began)
        watch.said.connect(self._on_event)
        watch.waited.connect(self.progress.show_time_left)
        watch.ended.connect(self._on_ended)

    def set_task(self, task: str) -> None:
        """Show another task, and the run of it that is under way or undecided."""
        self._task = task
        self._show_page(self._empty)
        self.refresh()
        with told():
            self._watch.attach(task)

    def refresh(self) -> None:
        """Show how many corrections wait, and what can be done."""
        with told():
            live = self._workspace.registry.live_id(self._task)
            waiting = retrain.waiting_corrections(self._workspace, self._task)
            counted = f"{waiting} correction{'s' * (waiting != 1)}"
            self.set_status(f"{counted} since {live}" if live else f"{counted}, no model yet")
            self._retrain.setText("Retrain on corrections" if live else "Train first model")
            why_not = self._why_no_other_run()
            why_not = why_not or ("" if waiting else "No correction waits: accept cases outside the hold-out first")
            self.findings.check(self._task)
            why_not = why_not or self.findings.stops
            judging = _judging(retrain.judging_groups(self._workspace, self._task))
            self._empty.setText(f"{EMPTY if live else EMPTY_FIRST} {judging}".strip())
            what = f"Fine-tune {live}" if live else "Train the first model of this task"
            tooltip = f"{what} on {waiting} corrections, in a process of its own; you can go on working"
            theme.enable(self._retrain, not why_not, tooltip, why_not)
            self._fill_roll_back(live)
            self._show_effort()

    def decide_question(self) -> None:
        """Promote the candidate; one that is not better needs a typed reason first."""
        if self._compared is None:
            return
        if self._compared[1].verdict.decision is Decision.BETTER:
            self._promote("")
        else:
            text = "The hold-out does not call it better. Why should it go live all the same?"
            self.question.ask_reason(text, "reason, for the model card", "Promote all the same", self._promote)

    def _show_page(self, page: QWidget) -> None:
        self._pages.show_page(page)
        self.findings.set_wanted(page is self._empty)

    def _make_retrain_row(self) -> None:
        self._retrain = theme.button("Retrain on corrections", "", main=True)
        self._budget = theme.Choice("Time for the whole run, comparison with the live version included")
        for text, seconds in BUDGETS:
            self._budget.addItem(text, seconds)
        self._budget.setCurrentIndex(DEFAULT_BUDGET)
        self.add_row(self._retrain, self._budget)
        self._retrain.clicked.connect(self._on_retrain)

    def _make_pages(self) -> None:
        self._empty = _wrapped(EMPTY)
        self._verdict = _wrapped("")
        self._verdict.setObjectName("medseg-verdict")
        self._figures = _wrapped("")
        self._promote_button = theme.button("Promote", "", main=True)
        self._keep_button = theme.button("Keep old", "")
        decided = QWidget()
        buttons = row_of(self._promote_button, self._keep_button, stretch=-1)
        stack_in(decided, self._verdict, self._figures, buttons, self.question, self.table)
        self._decided = decided
        self._pages = Pages(self._empty, self.progress, decided)
        self.add(self._pages)
        self._roll_back = theme.tool("Roll back ▾", "Let an earlier version predict again")
        self._roll_back.setPopupMode(self._roll_back.ToolButtonPopupMode.InstantPopup)
        self._roll_back.setMenu(QMenu(self._roll_back))
        self._effort = QElidingLabel("")
        self._effort.setObjectName("medseg-muted")
        self.add_row(self._effort, self._roll_back)
        self.progress.pause_asked.connect(self._watch.pause)
        self.progress.cancel_asked.connect(self._watch.cancel)
        self.progress.go_on_asked.connect(self._on_go_on)
        self.progress.discard_asked.connect(self._on_discard)
        self._promote_button.clicked.connect(self.decide_question)
        self._keep_button.clicked.connect(self._on_keep)
        self.table.chosen.connect(self._on_chosen)

    def _show_effort(self) -> None:
        found = correction_effort.efforts(self._workspace, self._task)
        self._effort.setText(correction_effort.effort_text(found))
        self._effort.setToolTip(
            "\n".join(
                f"{one.model}: {one.n_cases} accepted, {one.seconds:.0f} s and {one.changed_voxels:,.0f} voxels each"
                for one in found
            )
        )

    def _fill_roll_back(self, live: str) -> None:
        """List the versions that were live before, the last one first."""
        registry = self._workspace.registry
        earlier = [change.model for change in reversed(registry.history(self._task))]
        known = [card.id for card in registry.versions(self._task)]
        bundled = [model for model in known if registry.folder(model).is_relative_to(registry.bundled_dir)]
        models = [model for model in dict.fromkeys([*earlier, *bundled]) if model != live and model in known]
        menu = self._roll_back.menu()
        menu.clear()
        for model in models:
            menu.addAction(f"Make {model} live again", partial(self._on_roll_back, model))
        self._roll_back.setVisible(bool(models))

    def _on_retrain(self) -> None:
        self.findings.when_checked(self._start)

    def _start(self) -> None:
        with told():
            if self._retrain.isEnabled():
                self._watch.start(self._task, self._budget.currentData())

    def _on_go_on(self) -> None:
        with told():
            self._watch.go_on()

    def _on_discard(self) -> None:
        with told():
            self._watch.discard()
        self._show_page(self._empty)
        self.refresh()

    def _on_began(self) -> None:
        self._compared = None
        self.progress.begin()
        self._show_page(self.progress)
        self.refresh()

    def _on_event(self, event: Event) -> None:
        self.progress.show_event(event)
        if isinstance(event, Failed):
            tell(event.message)

    def _on_ended(self) -> None:
        self.progress.end()
        run = self._watch.run
        with told():
            if run is not None and run.state in (RunState.FINISHED, RunState.CANCELLED):
                self._show_comparison(run, retrain.comparison(self._workspace, run))
            elif run is not None and self._watch.can_go_on:
                self.progress.wait_to_go_on(run.state)
        self.refresh()

    def _why_no_other_run(self) -> str:
        if self._watch.running:
            return "A training run is under way"
        waits = run_control.paused(self._workspace, self._task) is not None
        return "A run is paused: continue it, or discard it, first" if waits else ""

    def _show_comparison(self, run: Run, view: ComparisonView) -> None:
        self._compared = run, view
        in_part = frozenset(row.compared.case for row in view.rows if row.in_part)
        self.table.show_rows([row.compared for row in view.rows], in_part)
        self.table.setVisible(bool(view.rows))
        self._verdict.setText(view.verdict.answer)
        self._verdict.setProperty("decision", view.verdict.decision.value)
        self._figures.setText(view.verdict.figures)
        self._verdict.style().polish(self._verdict)
        live = self._workspace.registry.live_or_none(self._task)
        name = self._workspace.tasks.named(self._task).default_model if live is None else live.name
        self._promote_button.setText(f"Promote {name}@{self._workspace.registry.next_version(name)}")
        self._promote_button.setToolTip("Predict with the new version from now on; you can roll back at any time")
        self._keep_button.setText("Not yet" if live is None else f"Keep @{live.version}")
        self._keep_button.setToolTip("The new version stays in the registry, but does not go live")
        self._show_page(self._decided)

    def _promote(self, reason: str) -> None:
        with told():
            if self._compared is not None:
                retrain.promote(self._workspace, self._compared[0], reason)
            self._done()

    def _on_keep(self) -> None:
        with told():
            if self._compared is not None:
                retrain.keep_old(self._workspace, self._compared[0])
            self._done()

    def _on_roll_back(self, model: str) -> None:
        with told():
            self._workspace.registry.promote(model)
            self._done()

    def _done(self) -> None:
        self._compared = None
        self.question.hide()
        self._show_page(self._empty)
        self.refresh()
        self.live_changed.emit()

    def _on_chosen(self, case: str) -> None:
        if self._compared is not None:
            run, view = self._compared
            for row in view.rows:
                if row.compared.case == case:
                    self.row_chosen.emit(run, row)


def _judging(n_groups: int) -> str:
    """Say that too few patients are held out, before somebody waits for a verdict that cannot come."""
    if n_groups >= MIN_GROUPS:
        return ""
    return f"The hold-out has accepted cases of {n_groups} of the {MIN_GROUPS} patients that are needed to tell."


def _wrapped(text: str) -> QLabel:
    label = QLabel(text)
    label.setWordWrap(True)
    label.setObjectName("medseg-muted")
    return label
