"""Damaged weights, checkpoints and start plans: what needs torch."""

import functools
from collections.abc import Hashable
from pathlib import Path

import torch
from fuzzing import Family, list_files
from training_phantoms import small_card, small_recipe

from napari_medseg.core.atomic_io import compute_file_sha256
from napari_medseg.core.model_card import WEIGHTS_FILE, ModelCard
from napari_medseg.networks import build_network, load_version, save_version
from training.checkpoint import (
    TrainingProgress,
    load_best,
    load_checkpoint,
    load_cycles,
    read_progress,
    save_best,
    save_checkpoint,
    save_cycle,
)
from training.learner import Learner
from training.start_plan import StartPlan, read_start_plan, write_start_plan


def _make_card() -> ModelCard:
    card = small_card()
    tiny = card.architecture.model_copy(update={"options": {"widths": [4, 4]}})
    return card.model_copy(update={"architecture": tiny})


@functools.cache
def _make_learner() -> Learner:
    torch.manual_seed(0)
    card = _make_card()
    return Learner.from_parent(build_network(card.architecture), small_recipe(ema_decay=0.5), torch.device("cpu"))


def make_checkpoint(folder: Path) -> list[Path]:
    learner = _make_learner()
    for tensor in learner.network.parameters():
        tensor.grad = torch.ones_like(tensor)
    learner.optimiser.step()
    save_checkpoint(folder, learner, TrainingProgress(epoch=2, step=8, losses=[0.5, None]))
    save_best(folder, learner.network)
    save_cycle(folder, 0, 0, learner.network)
    write_start_plan(StartPlan(card=_make_card(), encoder_weights="none"), folder)
    return list_files(folder, "*")


def use_checkpoint(folder: Path, target: Path) -> Hashable:
    """The file as a run that goes on reads it."""
    learner = _make_learner()
    match target.name:
        case "checkpoint.safetensors":
            read_progress(folder)
            load_checkpoint(folder, learner)
        case "best.safetensors":
            learner.restart_from(load_best(folder))
        case "start.json":
            read_start_plan(folder)
        case _:
            for weights in load_cycles(folder):
                learner.restart_from(weights)
    return None


def make_weights(folder: Path) -> list[Path]:
    card = _make_card()
    save_version(build_network(card.architecture), card, folder / "version")
    return list_files(folder, "version/*")


def use_weights(folder: Path, target: Path) -> Hashable:
    network, _ = load_version(folder / "version")
    assert network is not None
    return compute_file_sha256(folder / "version" / WEIGHTS_FILE)


WEIGHTS = (
    Family("checkpoint", make_checkpoint, use_checkpoint),
    Family("weights", make_weights, use_weights, lambda path: path.name == WEIGHTS_FILE),
)
