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
from napari_medseg.workflow.diagnosis.system_report import SystemReport, examine_system, shorten_home

PathsOption = Annotated[
    bool, typer.Option("--paths", help="Show whole paths; by default the home folder, which may name you, is ~.")
]


def doctor(
    device: DeviceOption = None,
    paths: PathsOption = False,
    as_json: JsonOption = False,
    project: ProjectOption = None,
    registry: RegistryOption = None,
) -> None:
    """Examine this computer, and predict a bundled slice on every device that computes.

    It prints versions, devices with the reason why one cannot be used, free memory and disk, encodings and models.
    It needs no display and changes nothing. The exit code is 1 if a prediction fails.
    """
    report = examine_system(open_registry(registry), get_project_dir(project), device)
    show = (lambda text: text) if paths else shorten_home
    if as_json:
        echo_json(_shorten_all({**asdict(report), "healthy": report.is_healthy}, show))
    else:
        for line in _format_report(report):
            echo(show(line))
    if not report.is_healthy:
        raise typer.Exit(1)


def _format_report(report: SystemReport) -> list[str]:
    lines = []
    for title, values in report.sections.items():
        lines += [title, *(f"  {name}: {value}" for name, value in values.items())]
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
