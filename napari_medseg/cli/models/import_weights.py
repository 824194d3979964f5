"""`medseg models import`: a network of segmentation-models-pytorch, trained elsewhere, as a version with a card."""

import math
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from napari_medseg.cli.console import echo, echo_notice
from napari_medseg.cli.options import RegistryOption, open_registry, split_words
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import Preprocessing
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.tasks.bundled_tasks import Task

if TYPE_CHECKING:
    from napari_medseg.inference.portable.smp_weights import FoundWeights

Answer = TypeVar("Answer")


def import_weights(
    weights: Annotated[Path, typer.Argument(help="Weights of an smp network (.safetensors), or its folder.")],
    name: Annotated[str, typer.Option(help="Family, such as liver-unet.", show_default="asked")] = "",
    task: Annotated[str, typer.Option("--task", "-t", help="Task, see medseg tasks list.", show_default="asked")] = "",
    architecture: Annotated[
        str, typer.Option(help="As unet:resnet34.", show_default="of config.json beside the weights, or asked")
    ] = "",
    hu: Annotated[str, typer.Option(help="HU shown to the network as 0 and 1: low,high.", show_default="asked")] = "",
    normalisation: Annotated[
        str, typer.Option(help="Mean and standard deviation after that.", show_default="asked")
    ] = "",
    sides: Annotated[str, typer.Option(help="Smallest and largest side of a plane, px.", show_default="asked")] = "",
    trained_on: Annotated[str, typer.Option(help="Images and labels it learnt from.", show_default="asked")] = "",
    licence: Annotated[str, typer.Option(help="Licence of the weights.", show_default="asked")] = "",
    registry: RegistryOption = None,
) -> None:
    """Add a network of segmentation-models-pytorch that was trained elsewhere.

    Asks what the card needs and no option says, and asks again if an answer cannot be used. Channels and classes are
    those of the weights. The version is not made live: see medseg models promote.
    """
    from napari_medseg.inference.portable.smp_weights import import_version

    models = open_registry(registry)
    found = _find_network(weights, architecture)
    made = found.architecture
    title = f"{made.name} {made.encoder}".strip()
    echo_notice(
        f"{found.file_name}: {title}, {made.in_channels} input channels, {made.classes} classes with background"
    )
    wanted = _choose_task(models, made.classes, task)
    usual = Preprocessing()
    family = _answer(name, "Name of the family", f"own-{wanted.name}", check_family)
    shown = usual.hu_low, usual.hu_high
    if hu or "CT" in wanted.modalities:
        shown = _answer(hu, "HU shown to the network as 0 and as 1", f"{shown[0]:g},{shown[1]:g}", _parse_hu)
    mean, std = _answer(normalisation, "Mean and standard deviation of values in 0 to 1", "0.5,0.5", _parse_scale)
    low, high = _answer(sides, "Smallest and largest side of a plane, px", "256,512", _parse_sides)
    answers = {
        "name": family,
        "trained_on": _answer(trained_on, "Images and labels it learnt from", "not stated", str),
        "licence": _answer(licence, "Licence of the weights", "not stated", str),
    }
    preprocessing = Preprocessing(
        hu_low=shown[0], hu_high=shown[1], mean=mean, std=std, min_side_px=low, max_side_px=high
    )
    with tempfile.TemporaryDirectory() as folder:
        card = import_version(found, wanted, answers, preprocessing, Path(folder) / "version", models)
    echo_notice("it has no hold-out score here: compare it with medseg evaluate before you promote it")
    echo(f"{card.id} is added for the task {card.task!r}; choose it in the window, or: medseg models promote {card.id}")


def check_family(text: str) -> str:
    """Return the name of a family; raise `MedSegError` if it is none."""
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", text):
        raise MedSegError(f"{text!r} is no name of a family: small letters, digits and hyphens, such as liver-unet.")
    return text


def _find_network(weights: Path, architecture: str) -> "FoundWeights":
    """Return the weights with the network that they fit, asked for until they do."""
    from napari_medseg.inference.portable.smp_weights import describe_weights, find_config

    if architecture or find_config(weights) is not None:
        return describe_weights(weights, architecture)
    return _answer(
        "", "Architecture and encoder, such as unet:resnet34", "", lambda text: describe_weights(weights, text)
    )


def _choose_task(models: ModelRegistry, n_classes: int, said: str) -> Task:
    """Return the task of the labels, one of those with as many classes as the network."""
    catalog = models.read_task_catalog()
    fitting = [task for task in catalog if task.n_classes == n_classes]

    def check(text: str) -> Task:
        task = catalog.get_task(text)
        if task.n_classes != n_classes:
            labels = ", ".join(label.name for label in task.labels)
            raise MedSegError(
                f"the network has {n_classes} classes, but {text!r} has {task.n_classes} with background ({labels}). "
                "Choose another task, or make one: medseg tasks add."
            )
        return task

    names = "; ".join(f"{one.name}: {', '.join(label.name for label in one.labels)}" for one in fitting)
    if not said and not fitting:
        raise MedSegError(
            f"no task has {n_classes} classes with background. Make one with {n_classes - 1} labels: medseg tasks add."
        )
    return _answer(said, f"Task ({names})", fitting[0].name if len(fitting) == 1 else "", check)


def _answer(said: str, question: str, usual: str, parse: "Callable[[str], Answer]") -> "Answer":
    """Return what an option said, or ask in a terminal until the answer can be used.

    Without a terminal the usual answer counts, and what has none is an error.
    """
    if said:
        return parse(said)
    if not sys.stdin.isatty():
        if not usual:
            raise MedSegError(
                f"{question}? Nobody can be asked here: give it as an option, see medseg models import -h."
            )
        return parse(usual)
    while True:
        try:
            return parse(str(typer.prompt(question, default=usual or None, err=True)).strip())
        except MedSegError as error:
            echo_notice(str(error))


def _parse_hu(text: str) -> tuple[float, float]:
    low, high = _parse_pair(text, "-1000,400")
    if low >= high:
        raise MedSegError(f"the first number must be below the second one, not {text!r}.")
    return low, high


def _parse_scale(text: str) -> tuple[float, float]:
    mean, std = _parse_pair(text, "0.5,0.5")
    if std <= 0:
        raise MedSegError(f"the standard deviation must be above 0, not {std:g}.")
    return mean, std


def _parse_sides(text: str) -> tuple[int, int]:
    low, high = _parse_pair(text, "256,512")
    if not 32 <= low <= high or low != int(low) or high != int(high):
        raise MedSegError(
            f"two whole numbers from 32 on are needed, the smaller one first, such as 256,512, not {text!r}."
        )
    return int(low), int(high)


def _parse_pair(text: str, example: str) -> tuple[float, float]:
    try:
        first, second = (float(word) for word in split_words(text))
    except ValueError as error:
        raise MedSegError(f"two numbers with a comma are needed, such as {example}, not {text!r}.") from error
    if not (math.isfinite(first) and math.isfinite(second)):
        raise MedSegError(f"two finite numbers are needed, such as {example}, not {text!r}.")
    return first, second
