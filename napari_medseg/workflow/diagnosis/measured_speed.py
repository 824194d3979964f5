"""What was measured to be the fastest way to compute each version, for `medseg doctor`. No torch here."""

from pathlib import Path
from typing import Any

from napari_medseg.inference.tuning.settings import CHOICES_FOLDER, MODELS_FOLDER, TuningSettings
from napari_medseg.inference.tuning.tuned_choice import TunedChoice, TuningCache


def list_measured(cache_dir: Path | None = None) -> list[TunedChoice]:
    """Return all choices in the cache, the oldest first; by default in that of the user."""
    return TuningCache((cache_dir or TuningSettings().folder) / CHOICES_FOLDER).list_choices()


def forget_measured(cache_dir: Path | None = None) -> int:
    """Delete the choices and the converted models; return how many choices there were. They are made again."""
    folder = cache_dir or TuningSettings().folder
    for file in (folder / MODELS_FOLDER).glob("*"):
        file.unlink(missing_ok=True)
    return TuningCache(folder / CHOICES_FOLDER).clear()


def describe_choice(choice: TunedChoice) -> str:
    """Return one line, such as ``lungs-unet@4 on CPU: OpenVINO in fp32, ...``."""
    runtime = {"torch": "torch", "openvino": "OpenVINO"}[choice.runtime]
    batch = f", batches of {choice.batch_px / 1e6:.2g} million pixels" if choice.batch_px else ""
    same = "" if choice.agreement is None else f", {choice.agreement:.2%} of the labels equal"
    speeds = ", ".join(f"{trial.way} {trial.seconds_per_mp:.2f} s" for trial in choice.trials)
    timed = f"; per million pixels: {speeds}" if speeds else ""
    place = f"{choice.key.device}, {choice.key.n_threads} threads" if choice.key.n_threads else choice.key.device
    return f"{choice.model} on {place}: {runtime} in {choice.precision}{batch} ({choice.reason}{same}){timed}"


def describe_choices(choices: list[TunedChoice]) -> list[dict[str, Any]]:
    """Return the choices as plain data for JSON."""
    return [choice.model_dump(mode="json") for choice in choices]
