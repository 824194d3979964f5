"""What a task is told: plain data, never arrays. A worker reads files and models itself, from the shared disk."""

from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.model_registry import BUNDLED_MODELS, ModelRegistry
from napari_medseg.inference.runtimes.runtime_names import RuntimeWish
from napari_medseg.workflow.remote.remote_predictor import is_server


@dataclass(frozen=True)
class ModelRequest:
    """A model version, by name and by the hash of its weights; `roi_sha256` is that of the model of its region.

    Parameters
    ----------
    registry
        Folder of the person's models, which the workers must see if the version does not come with the program.
    device
        As of `choose_device`; `None`: a GPU of the worker if it has one.
    runtime
        What a person asks for; each worker measures for itself, because their processors may differ.
    is_constant
        Whether the cases belong together, as in `TuningSettings`.
    """

    registry: str = field(repr=False)
    model: str
    weights_sha256: str
    roi_model: str = ""
    roi_sha256: str = ""
    device: str | None = None
    runtime: RuntimeWish = "auto"
    is_constant: bool = False

    def find_folders(self) -> tuple[Path, Path | None]:
        """Return the folders of the version and of the model of its region, as this computer has them.

        Raises
        ------
        MedSegError
            If it lacks them, or has other weights under the name.
        """
        models = ModelRegistry(Path(self.registry), BUNDLED_MODELS)
        folder = _find_version(models, self.model, self.weights_sha256)
        return folder, _find_version(models, self.roi_model, self.roi_sha256) if self.roi_model else None


def make_model_request(
    models: ModelRegistry,
    card: ModelCard,
    device: str | None,
    runtime: RuntimeWish = "auto",
    *,
    is_constant: bool = False,
) -> ModelRequest:
    """Return the request for a version, and for the live model of its region if it needs one.

    Raises
    ------
    MedSegError
        If the device is a server: workers compute themselves.
    """
    if is_server(device):
        raise MedSegError(
            f"workers compute themselves and do not ask the server {device}. Leave out --workers and --scheduler, or "
            "give a device that each worker has, such as cpu or cuda."
        )
    roi = models.find_roi_model(card)
    return ModelRequest(
        registry=str(models.user_dir.absolute()),
        model=card.id,
        weights_sha256=card.weights_sha256,
        roi_model="" if roi is None else roi.id,
        roi_sha256="" if roi is None else roi.weights_sha256,
        device=device,
        runtime=runtime,
        is_constant=is_constant,
    )


def _find_version(models: ModelRegistry, model: str, weights_sha256: str) -> Path:
    try:
        card, folder = models.get_card(model), models.get_folder(model)
    except MedSegError as error:
        raise MedSegError(
            f"{error}. The folder of models {models.user_dir} must be on a disk that all machines share (--registry)."
        ) from error
    if card.weights_sha256 != weights_sha256:
        raise MedSegError(
            f"{model} has other weights there ({card.weights_sha256[:12]}) than where the command was given "
            f"({weights_sha256[:12]}). Use one folder of models for all machines (--registry)."
        )
    return folder


@cache
def get_program_version() -> str:
    """Return the version of this program, which client and workers must share."""
    return version("napari-medseg")


@dataclass(frozen=True)
class CaseRequest:
    """One case for a worker.

    Its text leaves out files and options: Dask writes the text of a task that failed into the logs of all machines, and
    the options hold the key of the patients' labels.

    Parameters
    ----------
    key, fingerprint
        As of its `CaseRecord`.
    paths
        Files of the case; they may lead into an archive.
    output, token
        Output folder, and the file in its records that shows that the worker has the same disk.
    model
        The version; `None` if none is needed, as to score label files.
    options
        What else the kind of task needs: names, numbers and texts.
    """

    key: str
    fingerprint: str
    paths: tuple[str, ...] = field(repr=False)
    output: str = field(repr=False)
    token: str
    model: ModelRequest | None
    options: dict[str, Any] = field(default_factory=dict, repr=False)
    program: str = field(default_factory=get_program_version)
    max_memory: int | None = None
