"""How versions are tuned, and where what was found is kept. No torch here."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from napari_medseg.inference.runtimes.runtime_names import RuntimeWish

BUDGET_S = 1.0
"""Of one measurement, in the time of `measurement.read_clock`; a pass that began is finished."""
WORK_BEFORE_TUNING_S = 3.0
"""Seconds of forward passes before a version is measured or converted, about what the conversion costs."""
CHOICES_FOLDER, MODELS_FOLDER = "tuning", "openvino"
"""Folders in the cache."""
CACHE_VARIABLE, MEASURE_VARIABLE = "MEDSEG_CACHE", "MEDSEG_MEASURE"
"""Environment variables: another folder for the cache; ``0`` if nothing is to be measured unasked."""


def get_cache_dir() -> Path:
    """Return the folder of what this program can compute again; the variable `CACHE_VARIABLE` names another one."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    return platformdirs.user_cache_path("napari-medseg", appauthor=False)


@dataclass(frozen=True)
class TuningSettings:
    """How versions are tuned.

    Parameters
    ----------
    wish
        The runtime that a person asks for.
    folder
        The cache.
    work_before_s, budget_s
        See `WORK_BEFORE_TUNING_S` and `BUDGET_S`.
    is_constant
        Whether all images are predicted in one way, because they belong together, as the chunks of a slide: on a CPU
        it is measured before the first one, also if OpenVINO takes no planes of its size.
    """

    wish: RuntimeWish = "auto"
    folder: Path = field(default_factory=get_cache_dir)
    work_before_s: float = WORK_BEFORE_TUNING_S
    budget_s: float = BUDGET_S
    is_constant: bool = False


def make_tuning_settings(wish: RuntimeWish, *, is_constant: bool = False) -> TuningSettings | None:
    """Return how versions are tuned; `None`, torch as usual, if OpenVINO is not asked for and nothing is measured."""
    is_off = os.environ.get(MEASURE_VARIABLE) == "0"
    return None if is_off and wish != "openvino" else TuningSettings(wish, is_constant=is_constant)
