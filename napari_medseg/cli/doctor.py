"""`medseg doctor`: what this computer has, which devices compute, and a test prediction on them."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

import typer

from napari_medseg.cli.console import echo, echo_json
from napari_medseg.cli.options import (
    DeviceOption,
    JsonOption,
    ProjectOption,
    RegistryOption,
    get_project_dir,
    open_registry,
)
from napari_medseg.inference.tuning.tuned_choice import TunedChoice
from napari_medseg.workflow.diagnosis.measured_speed import (
    describe_choice,
    describe_choices,
    forget_measured,
    list_measured,
)
from napari_medseg.workflow.diagnosis.system_report import SystemReport, examine_system, shorten_home
from napari_medseg.workflow.diagnosis.trial_prediction import try_measured_prediction, try_prediction

PathsOption = Annotated[
    bool, typer.Option("--paths", help="Show whole paths; by default the home folder, which may name you, is ~.")
]


MeasureOption = Annotated[
    bool,
    typer.Option("--measure-again", help="Forget what was measured to be the fastest on this computer, and measure."),
]


def doctor(
    device: DeviceOption = None,
    paths: PathsOption = False,
    measure_again: MeasureOption = False,
    as_json: JsonOption = False,
    project: ProjectOption = None,
    registry: RegistryOption = None,
) -> None:
    """Examine this computer, and predict a bundled slice on every device that computes.

    It prints versions, devices with the reason why one cannot be used, free memory and disk, encodings and models.
    It also prints what was measured to be the fastest way to compute each model. It needs no display, and changes
    nothing without --measure-again. The exit code is 1 if a prediction fails.
    """
    if measure_again:
        forget_measured()
    try_on = try_measured_prediction if measure_again else try_prediction
    report = examine_system(open_registry(registry), get_project_dir(project), device, try_on)
    measured = list_measured()
    show = (lambda text: text) if paths else shorten_home
    if as_json:
        echo_json(
            _shorten_all({**asdict(report), "measured": describe_choices(measured), "healthy": report.is_healthy}, show)
        )
    else:
        for line in _format_report(report, measured):
            echo(show(line))
    if not report.is_healthy:
        raise typer.Exit(1)


def _format_report(report: SystemReport, measured: list[TunedChoice]) -> list[str]:
    lines = []
    for title, values in report.sections.items():
        lines += [title, *(f"  {name}: {value}" for name, value in values.items())]
    lines += ["measured", *(f"  {describe_choice(choice)}" for choice in measured)] if measured else []
    lines.append("test prediction of a CT slice of 512 x 512 px")
    for trial in report.trials:
        times = f"model loaded in {trial.load_s:.2f} s, first {trial.first_s:.2f} s, then {trial.second_s:.2f} s"
        lines.append(
            f"  {trial.device}: {f'failed: {trial.problem}' if trial.problem else f'{times}, Dice {trial.dice:.3f}'}"
        )
    lines += ["problems", *(f"  - {text}" for text in report.problems)] if report.problems else ["no problem found"]
    return lines


def _shorten_all(content: Any, show: Callable[[str], str]) -> Any:  # noqa: ANN401 -- whatever JSON can hold
    if isinstance(content, dict):
        return {key: _shorten_all(value, show) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_shorten_all(value, show) for value in content]
    return show(content) if isinstance(content, str) else content
