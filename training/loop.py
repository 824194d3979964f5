"""The training loop, visible on one screen: a generator of events, no callbacks."""

import logging
import statistics
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from torch import nn

from napari_medseg.core.metrics import per_label_dice
from napari_medseg.core.snapshots import IGNORED
from training.checkpoint import Progress, load_checkpoint, save_best, save_checkpoint
from training.dataset import LabelledPlane
from training.events import CANCEL_FILE, EpochEnded, Event, Notice
from training.schedule import schedule_named
from training.setup import Setup

MAX_PLANES_AT_ONCE = 8
VALIDATION_RESERVE = 1.5
FINAL_WORK_S = 1.5
"""Time to write weights, card and report."""

logger = logging.getLogger(__name__)


def resume(setup: Setup) -> Progress:
    """Put the run's checkpoint back, where it has one; otherwise the version that it starts from is the best so far."""
    learner, clock = setup.learner, setup.clock
    progress = load_checkpoint(setup.run_dir, learner.network, learner.average, learner.optimiser, learner.loss)
    clock.carried_s = progress.elapsed_s
    clock.reserved_s += FINAL_WORK_S
    if not progress.epoch:
        began = clock.elapsed_s()
        progress.best_val_dice = validate(learner.parent, setup.validation, setup.recipe.precision)
        save_best(setup.run_dir, learner.parent)
        clock.reserved_s += VALIDATION_RESERVE * (clock.elapsed_s() - began)
    return progress


def train(setup: Setup, progress: Progress) -> Iterator[Event]:
    """Learn until the epochs, the budget or the patience end, or somebody cancels; the best is in the run folder.

    Epoch 0 is the version that the run starts from: a run that finds nothing better keeps it.
    """
    recipe, learner, clock, run_dir = setup.recipe, setup.learner, setup.clock, setup.run_dir
    if not progress.epoch:
        progress.training_started_s = clock.elapsed_s()
    clock.training_started_s = progress.training_started_s
    for epoch in range(progress.epoch + 1, recipe.n_epochs + 1):
        if epoch - progress.best_epoch > recipe.patience or must_stop(setup):
            break
        began_s = clock.elapsed_s()
        train_loss = train_one_epoch(setup, progress)
        candidate = learner.candidate()
        val_dice = validate(candidate, setup.validation, recipe.precision)
        if better := recipe.keep == "last" or val_dice > progress.best_val_dice:
            progress.best_epoch, progress.best_val_dice = epoch, val_dice
            save_best(run_dir, candidate)
        progress.epoch, progress.elapsed_s = epoch, clock.elapsed_s()
        save_checkpoint(run_dir, learner.network, learner.average, learner.optimiser, progress, learner.loss)
        yield _epoch_ended(setup, progress, train_loss, (val_dice, better), began_s)
        if train_loss is None:
            yield Notice("the loss is no longer a number: training stopped, the best version so far is kept")
            break


def train_one_epoch(setup: Setup, progress: Progress) -> float | None:
    """Take the steps of one epoch, fewer where time is up; return their mean loss, `None` where none was finite."""
    recipe, learner = setup.recipe, setup.learner
    schedule = schedule_named(recipe.schedule)
    n_steps = recipe.n_epochs * recipe.steps_per_epoch
    losses = []
    for _ in range(recipe.steps_per_epoch):
        share = setup.clock.progress(progress.step, n_steps)
        batch = setup.batches.batch(progress.step)
        losses.append(learner.step(batch, progress.step, schedule(share), setup.batches.n_replayed, share))
        progress.step += 1
        if must_stop(setup):
            break
    finite = [loss for loss in losses if loss is not None]
    if len(finite) < len(losses):
        logger.warning("%d of %d batches had no finite loss and were left out", len(losses) - len(finite), len(losses))
    return statistics.fmean(finite) if finite else None


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


def must_stop(setup: Setup) -> bool:
    """Whether another step would break the budget, or somebody cancelled."""
    return is_cancelled(setup.run_dir) or setup.clock.left_for_training_s() < setup.learner.last_step_s


def is_cancelled(run_dir: Path) -> bool:
    """Whether the file `cancel` lies in the run folder."""
    return (run_dir / CANCEL_FILE).exists()


def _epoch_ended(
    setup: Setup, progress: Progress, train_loss: float | None, validated: tuple[float, bool], began_s: float
) -> EpochEnded:
    clock, n_epochs = setup.clock, setup.recipe.n_epochs
    per_epoch_s = clock.elapsed_s() - began_s
    left_s = min(clock.left_for_training_s(), (n_epochs - progress.epoch) * per_epoch_s)
    expected = progress.epoch + int(max(0.0, left_s) / max(per_epoch_s, 1e-6))
    return EpochEnded(
        epoch=progress.epoch,
        n_epochs=min(n_epochs, expected),
        train_loss=float("nan") if train_loss is None else train_loss,
        val_dice=validated[0],
        best=validated[1],
        seconds=clock.elapsed_s(),
        seconds_left=max(0.0, left_s) + clock.reserved_s,
    )


def _shape(plane: LabelledPlane) -> tuple[int, ...]:
    return plane.labels.shape
