"""Weights that segmentation-models-pytorch (smp) saved, and the version that they become."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from torch import Tensor

from napari_medseg.core.atomic_io import compute_file_sha256, read_file
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.json_model import parse_json
from napari_medseg.core.model_card import Architecture, DataSource, Lineage, ModelCard, Preprocessing
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.records import now
from napari_medseg.core.tasks.bundled_tasks import TASKS, Task
from napari_medseg.networks import build_network, parse_architecture, save_version
from napari_medseg.networks.model_files import load_weights_strictly, read_weights

_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_HEAD, _RGB = "segmentation_head.0.weight", 3
_LEFT_OUT = ("encoder_weights", "in_channels", "classes", "encoder_name", "activation", "aux_params")


@dataclass(frozen=True, eq=False)
class FoundWeights:
    """Weights with the architecture that they fit; `sha256` of the file."""

    weights: dict[str, Tensor]
    architecture: Architecture
    file_name: str
    sha256: str

    @property
    def task_hint(self) -> str:
        """First part of a name for the family."""
        return "own"


def find_config(path: Path) -> dict[str, Any] | None:
    """Return what `save_pretrained` of smp wrote beside the weights; `None` if there is nothing."""
    file = (path if path.is_dir() else path.parent) / _CONFIG
    if not file.is_file():
        return None
    try:
        content = parse_json(read_file(file))
    except (OSError, ValueError) as error:
        raise MedSegError(f"{file} is damaged: {error}. Give --architecture.") from error
    return content if isinstance(content, dict) and "encoder_name" in content else None


def describe_weights(path: Path, architecture: str) -> FoundWeights:
    """Read weights and find out which network they fit.

    Parameters
    ----------
    path
        A safetensors file, or a folder with ``model.safetensors``.
    architecture
        Such as ``unet:resnet34``; empty: that of `find_config`.

    Raises
    ------
    MedSegError
        If the file is something else (pickle files are never read), or is no network of smp.
    """
    file = path / _WEIGHTS if path.is_dir() else path
    if file.suffix != ".safetensors":
        raise MedSegError(f"{file.name} is no safetensors file. Save the weights with safetensors.torch.save_file.")
    weights = read_weights(file)
    if _HEAD not in weights:
        raise MedSegError(f"{file.name} has no {_HEAD!r}, so it is no network of segmentation-models-pytorch.")
    classes = int(weights[_HEAD].shape[0])
    if classes < 2:
        raise MedSegError("its last layer has one channel; background and each label need one. Train it with softmax.")
    made = parse_architecture(architecture, _RGB, classes) if architecture else _read_config(path, classes)
    made = made.model_copy(update={"in_channels": _find_channels(made, weights)})
    load_weights_strictly(build_network(made), weights, file.name)
    return FoundWeights(weights, made, file.name, compute_file_sha256(file))


def import_version(
    found: FoundWeights,
    task: Task,
    answers: Mapping[str, str],
    preprocessing: Preprocessing,
    folder: Path,
    models: ModelRegistry,
) -> ModelCard:
    """Write the version with its card into a folder, and add it to the registry.

    Parameters
    ----------
    found
        From `describe_weights`.
    task
        Its labels are the classes after background, in order.
    answers
        ``name``, ``trained_on`` and ``licence``.
    preprocessing
        How planes are shown to the network.
    folder
        For the files, until they are copied.
    models
        The registry.

    Raises
    ------
    MedSegError
        If the number of classes differs, or the name is not valid.
    """
    if task.n_classes != found.architecture.classes:
        raise MedSegError(
            f"the network has {found.architecture.classes} classes, but {task.name!r} has {task.n_classes} with "
            "background. Choose another task, or make one: medseg tasks add."
        )
    network = build_network(found.architecture)
    load_weights_strictly(network, found.weights, found.file_name)
    try:
        card = ModelCard(
            name=answers["name"],
            version=1,  # the registry gives it the next one
            task=task.name,
            own_task=None if task.name in TASKS else task,
            architecture=found.architecture,
            preprocessing=preprocessing,
            training_data=[
                DataSource(name=answers["trained_on"], n_images=0, groups=0, labels="", licence=answers["licence"])
            ],
            weaknesses=["It was trained elsewhere; no hold-out of this program was measured."],
            licence=answers["licence"],
            lineage=Lineage(
                began_with=f"{found.file_name}, SHA-256 {found.sha256[:16]}",
                code_version=version_of("napari-medseg"),
                created=now(),
            ),
        )
    except ValueError as error:
        raise MedSegError(f"the card cannot be written: {' '.join(str(error).split())[:300]}") from error
    save_version(network, card, folder)
    return models.add(folder)


def _find_channels(architecture: Architecture, weights: dict[str, Tensor]) -> int:
    """Return the input channels of weights: the second size of the only kernel that RGB would make another one."""
    for key, kernel in build_network(architecture.model_copy(update={"in_channels": _RGB})).state_dict().items():
        found = weights.get(key, kernel)
        if found.ndim == kernel.ndim > 1 and found.shape[1] != kernel.shape[1] and found.shape[0] == kernel.shape[0]:
            return int(found.shape[1])
    return _RGB


def _read_config(path: Path, classes: int) -> Architecture:
    config = find_config(path)
    if config is None:
        raise MedSegError("nothing says which network it is. Give --architecture, such as unet:resnet34.")
    name = str(config.get("_model_class", "Unet")).lower()
    options = {
        key: value
        for key, value in config.items()
        if key not in _LEFT_OUT and not key.startswith("_") and value is not None and json.dumps(value) != "{}"
    }
    return Architecture(
        name=name, encoder=str(config["encoder_name"]), in_channels=_RGB, classes=classes, options=options
    )
