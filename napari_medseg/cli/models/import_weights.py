"""`medseg models import`: a network of segmentation-models-pytorch, trained elsewhere, as a version with a card."""

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from napari_medseg.cli.console import echo, echo_notice
from napari_medseg.cli.options import RegistryOption, open_registry, split_words
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import Preprocessing


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

    Asks what the card needs and no option says. Channels and classes are those of the weights. The version is not made
    live: see medseg models promote.
    """
    from napari_medseg.inference.portable.smp_weights import describe_weights, import_version

    models = open_registry(registry)
    found = describe_weights(weights, architecture or _ask_if_needed(weights))
    usual = Preprocessing()
    answers = {
        "name": name or _ask("Name of the family, such as liver-unet", f"{found.task_hint}-unet"),
        "task": task or _ask("Task (medseg tasks list)", ""),
        "hu": hu or _ask("HU shown as 0 and as 1 (CT; else ignored)", f"{usual.hu_low:g},{usual.hu_high:g}"),
        "normalisation": normalisation or _ask("Mean and standard deviation of values in 0 to 1", "0.5,0.5"),
        "sides": sides or _ask("Smallest and largest side of a plane, px", "256,512"),
        "trained_on": trained_on or _ask("Images and labels it learnt from", "not stated"),
        "licence": licence or _ask("Licence of the weights", "not stated"),
    }
    numbers = {key: _parse_pair(key, answers[key]) for key in ("hu", "normalisation", "sides")}
    preprocessing = Preprocessing(
        hu_low=numbers["hu"][0],
        hu_high=numbers["hu"][1],
        mean=numbers["normalisation"][0],
        std=numbers["normalisation"][1],
        min_side_px=int(numbers["sides"][0]),
        max_side_px=int(numbers["sides"][1]),
    )
    wanted = models.read_task_catalog().get_task(answers["task"])
    with tempfile.TemporaryDirectory() as folder:
        card = import_version(found, wanted, answers, preprocessing, Path(folder) / "version", models)
    echo_notice("it has no hold-out score here: compare it with medseg evaluate before you promote it")
    echo(f"{card.id} is added for the task {card.task!r}; choose it in the window, or: medseg models promote {card.id}")


def _ask_if_needed(weights: Path) -> str:
    from napari_medseg.inference.portable.smp_weights import find_config

    return "" if find_config(weights) is not None else _ask("Architecture and encoder, such as unet:resnet34", "")


def _ask(question: str, usual: str) -> str:
    """Ask in a terminal; without one, the usual answer counts, or the missing option is an error."""
    if sys.stdin.isatty():
        return str(typer.prompt(question, default=usual or None, err=True)).strip()
    if not usual:
        raise MedSegError(f"{question}? Nobody can be asked here: give it as an option, see medseg models import -h.")
    return usual


def _parse_pair(what: str, text: str) -> tuple[float, float]:
    try:
        low, high = (float(word) for word in split_words(text))
    except ValueError as error:
        raise MedSegError(f"--{what} needs two numbers with a comma, such as 0.5,0.5, not {text!r}.") from error
    return low, high
