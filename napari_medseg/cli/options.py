"""Where commands find the project and the models, and how they speak: results on stdout, progress on stderr."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.model_registry import BUNDLED_MODELS, ModelRegistry
from napari_medseg.workflow.workspace import Workspace, get_user_data_dir

if TYPE_CHECKING:
    from napari_medseg.inference.predictor import Predictor

ProjectOption = Annotated[
    Path | None,
    typer.Option("--project", help="Folder of the project (default: that of the window).", show_default=False),
]
RegistryOption = Annotated[
    Path | None,
    typer.Option(
        "--registry", help="Folder of the models you trained (default: that of the window).", show_default=False
    ),
]
TaskOption = Annotated[str, typer.Option("--task", "-t", help="What is to be segmented.")]
ModelOption = Annotated[
    str | None, typer.Option("--model", "-m", help="Such as lungs-unet@3; the live one without it.", show_default=False)
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda or mps; the fastest there is without it.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document for scripts.")]


def get_project_dir(project: Path | None) -> Path:
    """Folder of the project that is meant."""
    return project or get_user_data_dir() / "project"


def get_registry_dir(registry: Path | None) -> Path:
    """Folder of the person's models that is meant."""
    return registry or get_user_data_dir() / "registry"


def open_registry(registry: Path | None) -> ModelRegistry:
    """Return the models without opening a project, so that it works beside an open window."""
    return ModelRegistry(get_registry_dir(registry), BUNDLED_MODELS)


@contextlib.contextmanager
def open_workspace(project: Path | None, registry: Path | None) -> Iterator[Workspace]:
    """Open the workspace for one command.

    Raises
    ------
    MedSegError
        If a window has the project open.
    """
    ws = Workspace.open(get_project_dir(project), get_registry_dir(registry))
    try:
        yield ws
    finally:
        ws.close()


def choose_model_card(models: ModelRegistry, task: str, model: str | None) -> ModelCard:
    """Card of the version that is meant; raise `MedSegError` where it is for another task."""
    card = models.get_live_card(task) if model is None else models.get_card(model)
    if card.task != task:
        raise MedSegError(f"{card.id} is for the task {card.task!r}, not {task!r}. Add --task {card.task}.")
    return card


def load_predictor(models: ModelRegistry, model: str, device: str | None) -> "Predictor":
    """Load a version, and the one that finds its field where it looks into one."""
    from napari_medseg.inference.predictor import Predictor

    return Predictor.load(models.get_folder(model), device, models.find_roi_folder(models.get_card(model)))
