"""`medseg train project`: retrain on the corrections of a project, or train the first model of its task."""

from typing import Annotated

import typer

from napari_medseg.cli.check import format_findings
from napari_medseg.cli.console import make_progress_console
from napari_medseg.cli.options import (
    DEFAULT_TASK,
    DeviceOption,
    JsonOption,
    MaxMemoryOption,
    ProjectOption,
    RegistryOption,
    TaskOption,
    open_workspace,
)
from napari_medseg.cli.project.task_check import check_task
from napari_medseg.cli.train.project_run import finish_project_run, follow_project_run
from napari_medseg.cli.train.run_options import (
    BackboneOption,
    BudgetOption,
    EpochsOption,
    ModelOption,
    PromoteOption,
    ReasonOption,
    RecipeOption,
    SeedOption,
    check_reason,
    get_start_time,
    read_run_overrides,
)
from napari_medseg.workflow import retrain
from napari_medseg.workflow.data_checks import check_corrections, find_problems
from napari_medseg.workflow.findings.case_finding import hide_blind
from napari_medseg.workflow.run_plan import RunRequest
from training.from_folders.default_recipe import RecipeOverrides
from training.recipe_keys import find_keys, list_stages

FromOption = Annotated[
    str,
    typer.Option("--from", help="Version to start from, such as lungs-unet@4.", show_default="the live one"),
]


def train_on_project(
    context: typer.Context,
    task: TaskOption = DEFAULT_TASK,
    budget: BudgetOption = None,
    epochs: EpochsOption = None,
    seed: SeedOption = 0,
    recipe: RecipeOption = None,
    model: ModelOption = "",
    backbone: BackboneOption = "",
    device: DeviceOption = None,
    base: FromOption = "",
    promote: PromoteOption = False,
    reason: ReasonOption = "",
    as_json: JsonOption = False,
    project: ProjectOption = None,
    max_memory: MaxMemoryOption = None,
    registry: RegistryOption = None,
) -> None:
    """Retrain on the corrections of a project.

    If the task has no model, its first model is trained. The run takes 90 seconds unless --budget or --epochs is set.

    The new version is compared with the live one on the hold-out cases, and stored in the registry. With --promote it
    goes live if it is better; if not, the exit code is 1.
    """
    check_reason(context, reason, promote=promote)
    with open_workspace(project, registry) as ws:
        check_task(ws, task)
        checked = find_problems(ws, task)
        findings = hide_blind(ws, check_corrections(ws, task, checked))
        console = make_progress_console(quiet=as_json)
        for line in format_findings(ws, task, findings):
            console.print(line, markup=False)
        overrides = read_run_overrides(recipe, epochs, budget, seed, device, (model, backbone))
        budget_s = None if _sets_duration(overrides) else retrain.DEFAULT_BUDGET_S
        request = RunRequest(budget_s, seed, base, overrides)
        run = retrain.start_checked_run(ws, task, request, checked, get_start_time(context))
        follow_project_run(ws, run, as_json=as_json)
        texts = [one.text for one in findings]
        finish_project_run(ws, run, promote=promote, reason=reason, findings=texts, as_json=as_json)


def _sets_duration(overrides: RecipeOverrides) -> bool:
    """Return whether a number of seconds or epochs is set; then the default time limit does not apply."""
    tables = [overrides.recipe, *list_stages(overrides.recipe)]
    return any(find_keys(table, {("schedule", "n_epochs"), ("run", "budget_s")}) for table in tables)
