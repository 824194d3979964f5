"""What becomes of the weights at the cycles' ends: the best of them, their average, or all of them together.

Each cycle ends in another good place, and their mean answer is better than most of them alone (Huang et al., Snapshot
ensembles, ICLR 2017); the mean of the weights is often as good and costs no more than one network (Izmailov et al.,
Averaging weights leads to wider optima, UAI 2018). What a run keeps is measured on its validation planes.
"""

import statistics
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from napari_medseg.core.model_card import Architecture
from napari_medseg.core.quality.metrics import per_label_dice
from napari_medseg.core.snapshot import IGNORED
from napari_medseg.networks import build
from napari_medseg.networks.ensemble import ensemble_of, joined
from training.checkpoint import Progress, load_best, load_cycles
from training.data.dataset import LabelledPlane
from training.run_folder import Considered, Event, Notice
from training.run_setup import Setup

N_BATCHES_TO_MEASURE = 8
ENSEMBLE_GAIN = 0.001
"""Validation Dice by which an ensemble must be better than a single network, as it costs several times as much."""

BEST_EPOCH, BEST_CYCLE = "best epoch", "best cycle"
AVERAGE, ENSEMBLE = "average of the cycles", "ensemble of the cycles"
CHOSEN_BY_RECIPE = {"cycle_average": AVERAGE, "cycle_ensemble": ENSEMBLE}


@dataclass(frozen=True, eq=False)
class Candidate:
    """A network that may become the version; `cost` is its forward passes for one image."""

    name: str
    network: nn.Module
    architecture: Architecture
    val_dice: float
    cost: int = 1


def kept_version(setup: Setup, progress: Progress) -> Generator[Event, None, tuple[nn.Module, Architecture]]:
    """Return the network that becomes the version, in evaluation mode, and its architecture.

    It is the best epoch, or the last, unless the recipe keeps the weights at the cycles' ends; then every way to use
    them is validated, the best is taken, and `progress` says how good it is.
    """
    architecture = setup.base.architecture
    best = _network_of(setup, architecture, load_best(setup.run_dir))
    states = load_cycles(setup.run_dir) if setup.recipe.keeps_cycles else []
    if not states:
        return best, architecture
    candidates = [Candidate(BEST_EPOCH, best, architecture, progress.best_val_dice), *_candidates(setup, states)]
    wanted = CHOSEN_BY_RECIPE.get(setup.recipe.keep)
    kept = next((one for one in candidates if one.name == wanted), None) or best_of(candidates)
    for one in candidates:
        yield Considered(one.name, one.val_dice, one.cost, one is kept)
    if kept.cost > 1:
        yield Notice(f"the version is {kept.cost} networks: {kept.cost} times the time, memory and disk of one")
    progress.best_val_dice = kept.val_dice
    if kept.name != BEST_EPOCH:
        progress.best_epoch = progress.epoch
    return kept.network, kept.architecture


def best_of(candidates: Sequence[Candidate]) -> Candidate:
    """Return the candidate that validates best; what costs more has to be better by more than a trifle."""
    return max(candidates, key=lambda one: (one.val_dice - (ENSEMBLE_GAIN if one.cost > 1 else 0.0), -one.cost))


def averaged(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of weights by name; counters are those of the last one."""
    mean = {}
    for name, last in states[-1].items():
        same = [state[name] for state in states]
        mean[name] = torch.stack(same).mean(dim=0) if last.is_floating_point() else last
    return mean


def _candidates(setup: Setup, states: Sequence[Mapping[str, Tensor]]) -> Iterator[Candidate]:
    single = setup.base.architecture
    ends = [_validated(setup, BEST_CYCLE, _network_of(setup, single, state), single) for state in states]
    yield max(ends, key=lambda end: end.val_dice)
    if len(states) > 1:
        average = _network_of(setup, single, averaged(states))
        if not setup.recipe.freeze_batch_norm:
            _measure_again(setup, average)
        yield _validated(setup, AVERAGE, average, single)
        several = ensemble_of(single, len(states))
        together = _network_of(setup, several, joined(states))
        yield replace(_validated(setup, ENSEMBLE, together, several), cost=len(states))


def _network_of(setup: Setup, architecture: Architecture, weights: Mapping[str, Tensor]) -> nn.Module:
    network = build(architecture)
    network.load_state_dict(dict(weights))
    return network.to(setup.learner.device).eval()


def _validated(setup: Setup, name: str, network: nn.Module, architecture: Architecture) -> Candidate:
    return Candidate(name, network, architecture, validate(network, setup.validation, setup.recipe.precision))


def _measure_again(setup: Setup, network: nn.Module) -> None:
    """Let normalisation measure what averaged weights make of some batches: no average of measurements is right."""
    first, device = setup.stage.n_steps, setup.learner.device
    batches = (setup.batches.drawn(first + index).to(device).patches()[0] for index in range(N_BATCHES_TO_MEASURE))
    update_bn(batches, network)
    network.eval()


MAX_PLANES_AT_ONCE = 8


@torch.no_grad()
def validate(network: nn.Module, planes: Sequence[LabelledPlane], precision: str) -> float:
    """Mean Dice over planes and the network's classes but background, on its own grid, without postprocessing."""
    device = next(network.parameters()).device
    scores: list[float] = []
    for _, same_shape in groupby(sorted(planes, key=_shape), key=_shape):
        alike = list(same_shape)
        for first in range(0, len(alike), MAX_PLANES_AT_ONCE):
            batch = alike[first : first + MAX_PLANES_AT_ONCE]
            images = torch.from_numpy(np.stack([plane.views[0] for plane in batch])).float()
            images = images.to(device, memory_format=torch.channels_last)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                logits = network(images)
            predicted, values = logits.argmax(dim=1).cpu().numpy(), range(1, logits.shape[1])
            for labels, plane in zip(predicted, batch, strict=True):
                labels[plane.labels == IGNORED] = IGNORED
                scores.append(statistics.fmean(per_label_dice(labels, plane.labels, values).values()))
    return statistics.fmean(scores)


def _shape(plane: LabelledPlane) -> tuple[int, ...]:
    return plane.labels.shape
