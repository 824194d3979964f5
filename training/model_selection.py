"""Choose the final weights from those at the ends of cycles: the best cycle, their average, or their ensemble.

Each cycle ends in a different minimum, and the mean prediction is better than most single ones (Huang et al., Snapshot
ensembles, ICLR 2017). The mean of the weights is often as good and costs no more than one network (Izmailov et al.,
Averaging weights leads to wider optima, UAI 2018). The choice is made by Dice on the validation planes.
"""

import statistics
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from napari_medseg.core.model_card import Architecture
from napari_medseg.inference.device import free_cached_memory, is_full
from napari_medseg.networks import build_network
from napari_medseg.networks.ensemble import make_ensemble_architecture, merge_member_weights
from napari_medseg.networks.model_files import load_weights_strictly
from napari_medseg.networks.precision import choose_memory_format, make_autocast
from training.checkpoint import TrainingProgress, load_best, load_cycles
from training.data.content_checks import find_classes
from training.data.dataset import LabelledPlane
from training.data.label_sets import compute_dice_per_value
from training.run_folder import Considered, Event, Notice
from training.run_setup import TrainingSetup, spread_indices

N_BATCH_NORM_BATCHES = 8
ENSEMBLE_GAIN = 0.001
"""Validation Dice by which an ensemble must be better than a single network, as it costs several times as much."""

BEST_EPOCH, BEST_CYCLE = "best epoch", "best cycle"
AVERAGE, ENSEMBLE = "average of the cycles", "ensemble of the cycles"
CHOSEN_BY_RECIPE = {"cycle_average": AVERAGE, "cycle_ensemble": ENSEMBLE}


@dataclass(frozen=True, eq=False)
class Candidate:
    """A network that may become the version; `cost` is its number of forward passes for one image."""

    name: str
    network: nn.Module
    architecture: Architecture
    val_dice: float
    cost: int = 1


def select_network(
    setup: TrainingSetup, progress: TrainingProgress
) -> Generator[Event, None, tuple[nn.Module, Architecture]]:
    """Return the network that becomes the version, in evaluation mode, and its architecture.

    It is the best or the last epoch, unless the recipe keeps the weights at the ends of cycles. Then all candidates are
    validated, the best one (or the one that the recipe names) is returned, and `progress` is updated.
    """
    architecture = setup.base.architecture
    best = _build_network(setup, architecture, load_best(setup.run_dir))
    states = load_cycles(setup.run_dir) if setup.recipe.keeps_cycles else []
    if not states:
        return best, architecture
    candidates = [Candidate(BEST_EPOCH, best, architecture, progress.best_val_dice), *_build_candidates(setup, states)]
    wanted = CHOSEN_BY_RECIPE.get(setup.recipe.schedule.keep)
    kept = next((one for one in candidates if one.name == wanted), None) or choose_best_candidate(candidates)
    for one in candidates:
        yield Considered(one.name, one.val_dice, one.cost, one is kept)
    if kept.cost > 1:
        yield Notice(
            f"the version is an ensemble of {kept.cost} networks and needs {kept.cost} times the time, memory and disk "
            "space of one network"
        )
    progress.best_val_dice = kept.val_dice
    if kept.name != BEST_EPOCH:
        progress.best_epoch = progress.epoch
    return kept.network, kept.architecture


def choose_best_candidate(candidates: Sequence[Candidate]) -> Candidate:
    """Return the candidate with the best validation Dice; an ensemble has to be better by `ENSEMBLE_GAIN`."""
    return max(candidates, key=lambda one: (one.val_dice - (ENSEMBLE_GAIN if one.cost > 1 else 0.0), -one.cost))


def average_weights(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of tensors of the same name; integer counters are those of the last state."""
    mean = {}
    for name, last in states[-1].items():
        same = [state[name] for state in states]
        mean[name] = torch.stack(same).mean(dim=0) if last.is_floating_point() else last
    return mean


def _build_candidates(setup: TrainingSetup, states: Sequence[Mapping[str, Tensor]]) -> Iterator[Candidate]:
    single = setup.base.architecture
    ends = [_validate_candidate(setup, BEST_CYCLE, _build_network(setup, single, state), single) for state in states]
    yield max(ends, key=lambda end: end.val_dice)
    if len(states) > 1:
        average = _build_network(setup, single, average_weights(states))
        if not setup.recipe.fine_tuning.freeze_batch_norm:
            _update_batch_norm(setup, average)
        yield _validate_candidate(setup, AVERAGE, average, single)
        several = make_ensemble_architecture(single, len(states))
        together = _build_network(setup, several, merge_member_weights(states))
        yield replace(_validate_candidate(setup, ENSEMBLE, together, several), cost=len(states))


def _build_network(setup: TrainingSetup, architecture: Architecture, weights: Mapping[str, Tensor]) -> nn.Module:
    network = build_network(architecture)
    load_weights_strictly(network, dict(weights), "the run")
    return network.to(setup.learner.device).eval()


def _validate_candidate(setup: TrainingSetup, name: str, network: nn.Module, architecture: Architecture) -> Candidate:
    return Candidate(name, network, architecture, validate(network, setup.validation, setup.recipe.run.precision))


def _update_batch_norm(setup: TrainingSetup, network: nn.Module) -> None:
    """Recompute the batch normalisation statistics for averaged weights; averaged statistics would be wrong."""
    first, device = setup.stage.n_steps, setup.learner.device
    batches = (
        setup.batches.sample_batch(first + index).to(device).make_patches()[0] for index in range(N_BATCH_NORM_BATCHES)
    )
    update_bn(batches, network)
    network.eval()


VALIDATION_BATCH_SIZE = 8


@torch.no_grad()
def validate(network: nn.Module, planes: Sequence[LabelledPlane], precision: str) -> float:
    """Return the mean Dice over planes and foreground classes, on the network's grid and without postprocessing.

    Classes that occur in none of the planes do not count; if none occurs, all count. A label that stands for several
    classes counts like a class.
    """
    occurring = find_classes(planes)
    scores: list[float] = []
    for _, same_shape in groupby(sorted(planes, key=_get_shape), key=_get_shape):
        alike = list(same_shape)
        for first in range(0, len(alike), VALIDATION_BATCH_SIZE):
            batch = alike[first : first + VALIDATION_BATCH_SIZE]
            images = torch.from_numpy(np.stack([plane.views[0] for plane in batch])).float()
            predicted, n_classes = _compute_labels(network, images, precision)
            values = occurring or range(1, n_classes)
            for labels, plane in zip(predicted, batch, strict=True):
                if told := compute_dice_per_value(labels, plane.labels, values, n_classes):
                    scores.append(statistics.fmean(told.values()))
    return statistics.fmean(scores)


def _compute_labels(network: nn.Module, images: Tensor, precision: str) -> tuple[NDArray[np.int64], int]:
    """Return labels (n, h, w) of images (n, c, h, w) and the number of classes; in halves if memory runs out."""
    device = next(network.parameters()).device
    try:
        with make_autocast(device, precision):
            logits = network(images.to(device, memory_format=choose_memory_format(device)))
        return logits.argmax(dim=1).cpu().numpy(), logits.shape[1]
    except (RuntimeError, MemoryError) as error:
        if len(images) == 1 or not is_full(device, error):
            raise
    free_cached_memory(device)  # here, because the error references the tensors
    halves = [_compute_labels(network, part, precision) for part in images.tensor_split(2)]
    return np.concatenate([labels for labels, _ in halves]), halves[0][1]


N_TIMED_PLANES = 3


def time_second_validation(setup: TrainingSetup, first_s: float) -> float:
    """Return the seconds of a repeated validation. The first takes longer, as torch prepares itself for each size."""
    planes = [setup.validation[index] for index in spread_indices(len(setup.validation), N_TIMED_PLANES)]
    began = time.monotonic()
    validate(setup.learner.parent, planes, setup.recipe.run.precision)
    return min(first_s, (time.monotonic() - began) * len(setup.validation) / len(planes))


def _get_shape(plane: LabelledPlane) -> tuple[int, ...]:
    return plane.labels.shape
