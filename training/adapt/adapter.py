"""One adaptation: a few steps on new corrections and replayed images, then a comparison with the live version."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import DOMAIN_FILE, Lineage, ModelCard
from napari_medseg.core.snapshot import Role, Snapshot, SnapshotItem, read_snapshot
from napari_medseg.inference.device import CPU
from napari_medseg.inference.out_of_domain.statistics import DomainStatistics, load_statistics
from napari_medseg.inference.predictor import load_roi_predictor
from napari_medseg.networks.model_files import load_version, save_version
from training.adapt.learnt_cases import choose_drafted, describe_learnt_cases, write_learnt_cases
from training.adapt.request import SNAPSHOT_FILE, AdaptRequest, AdaptResult, Comparison, read_request
from training.adapt.trainable import train_norms_and_decoder
from training.data.content_checks import find_classes
from training.data.dataset import BatchSampler, LabelledImage, LabelledPlane
from training.data.label_sets import is_set_code
from training.data.sample_reader import SampleReader
from training.learner import Learner
from training.model_selection import validate
from training.recipe import Recipe, make_fine_tuning_recipe, update_recipe
from training.run_setup import choose_planes, make_batches

logger = logging.getLogger(__name__)

N_COMPARED_PLANES = 6
"""Planes of the replay sample, and of validation cases: more cost seconds at each Accept."""
REPLAY_TOLERANCE = 0.005
"""Dice by which a state may be below the live version on images that this was trained on itself."""
SHARES = (0.5, 1.0, 0.25, 0.1)
"""Shares of the adapted weights that are tried; the rest is the live version (Wortsman et al., CVPR 2022). With
validation cases the best one is taken, else the first that is not worse on older images. Half comes first: on lesions
of validation patients it gained more than all or a quarter of the weights (`docs/learning-at-accept.md`)."""
SHARES_WITHOUT_SAMPLE = (0.25, 0.1)
"""If the version neither has a replay sample nor knows its training images, nothing shows what is forgotten, so the
live version keeps most of the weights."""
WARM_UP_STEPS = 4

SETTINGS = {
    "run": {"precision": "fp32", "n_threads": 1},
    "data": {"batch_size": 4, "patch_px": 256},
    "optimiser": {"learning_rate": 3e-4, "ema_decay": 0.9},
    "fine_tuning": {"replay_share": 0.5, "distillation": 2.0, "average_with_parent": 0.0, "freeze_batch_norm": True},
}
"""Changes to the recipe of a retrain; `benchmarks/learning_at_accept.py` measures them."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """What an adaptation learns from and is compared on; prepared images."""

    train: Sequence[LabelledImage]
    replay: Sequence[LabelledImage]
    replay_planes: Sequence[LabelledPlane]
    validation_planes: Sequence[LabelledPlane]


def adapt(folder: Path, wait: Callable[[], None] = lambda: None) -> AdaptResult:
    """Adapt a version as the request in a folder says; the weights and their card are written into the folder.

    Parameters
    ----------
    folder
        Holds `request.json` and `snapshot.json`.
    wait
        Called before each step and each comparison; it returns when the process may compute.

    Returns
    -------
    AdaptResult
        `kept` is false, and there are no weights, if the state would be worse than the live version.

    Raises
    ------
    MedSegError
        If a version cannot be loaded, no correction can be read, or the labels do not fit the network.
    """
    request, snapshot = read_request(folder), read_snapshot(folder / SNAPSHOT_FILE)
    torch.set_num_threads(1)
    live, card = load_version(folder / request.base)
    if card.weights_sha256 != request.parent_sha256:
        raise MedSegError(f"{request.parent} has other weights than when the case was accepted.")
    lesson = read_lesson(folder, request, snapshot, card)
    recipe = make_recipe(request, snapshot, card)
    learner = Learner.from_parent(live, recipe, CPU)
    if request.start:
        state, state_card = load_version(folder / request.start)
        if state_card.weights_sha256 != request.start_sha256:
            raise MedSegError("the adapted weights to go on from are damaged.")
        learner.restart_from(state.state_dict())
    train_norms_and_decoder(learner)
    task = snapshot.task_definition
    n_steps, seconds = take_steps(
        learner, make_batches(recipe, list(lesson.train), list(lesson.replay), card, task), request, wait
    )
    if not n_steps:
        return AdaptResult(kept=False, text="no step ended with finite numbers", seconds=seconds)
    statistics, _ = load_statistics(folder / request.base, card)
    result, network = choose_share(live, learner.make_candidate(), lesson, statistics, wait)
    result = result.model_copy(update={"n_steps": n_steps, "seconds": seconds})
    if network is None:
        return result
    written = save_version(network, describe_state(card, request), folder)
    if card.domain is not None and (folder / request.base / DOMAIN_FILE).is_file():
        (folder / DOMAIN_FILE).write_bytes((folder / request.base / DOMAIN_FILE).read_bytes())
    if (learnt := describe_learnt_cases(network, lesson.train, statistics)) is not None:
        write_learnt_cases(learnt, folder)
    return result.model_copy(update={"weights_sha256": written.weights_sha256})


def read_lesson(folder: Path, request: AdaptRequest, snapshot: Snapshot, card: ModelCard) -> Lesson:
    """Read the images of a snapshot; one that cannot be read is left out.

    Raises
    ------
    MedSegError
        If no correction can be read, if a held-out case is among them, or the network lacks a class of their labels.
    """
    if snapshot.filter_by_role(Role.HOLD_OUT):
        raise MedSegError("a held-out case is among the corrections to learn from; nothing was learnt.")
    roi = load_roi_predictor(folder / request.roi_model, CPU) if request.roi_model else None
    reader = SampleReader(folder, card, snapshot.task_definition, request.seed, roi)
    train, replay, validation = (
        _read_images(reader, snapshot.filter_by_role(role)) for role in (Role.TRAIN, Role.REPLAY, Role.VALIDATE)
    )
    if not train:
        raise MedSegError("none of the corrections can be read, so nothing was learnt from them.")
    n_classes = card.architecture.classes
    found = find_classes([plane for image in train for plane in image.planes])
    if any(value >= n_classes and not is_set_code(value, n_classes) for value in found):
        raise MedSegError(f"{card.id} does not know a label of the corrections yet. Retrain on them first.")
    shown = [choose_planes(images, N_COMPARED_PLANES) for images in (replay, validation)]
    return Lesson(train, replay, *shown)


def make_recipe(request: AdaptRequest, snapshot: Snapshot, card: ModelCard) -> Recipe:
    """Return the recipe of the steps."""
    task = snapshot.task_definition
    recipe = make_fine_tuning_recipe(request.base, card.name, card.version, None, request.seed)
    presets = {"preset": task.augmentation, "replay_preset": task.replay_augmentation}
    return update_recipe(update_recipe(recipe, SETTINGS), {"augmentation": presets})


def take_steps(
    learner: Learner, batches: BatchSampler, request: AdaptRequest, wait: Callable[[], None]
) -> tuple[int, float]:
    """Train until the budget is used; return the number of steps with a finite loss, and the processor seconds."""
    used, step, n_finite, seed = 0.0, 0, 0, len(request.corrections) * 1000
    while used < request.budget_s and (request.max_steps is None or step < request.max_steps):
        wait()
        began = time.process_time()
        progress = step / request.max_steps if request.max_steps else used / request.budget_s
        factor = min(1.0, (step + 1) / WARM_UP_STEPS) * 0.5 * (1 + math.cos(math.pi * progress))
        patches = batches.make_batch(seed + step)
        n_finite += learner.step(patches, step, factor, batches.n_replayed, progress) is not None
        step += 1
        spent = time.process_time() - began
        used += spent
        if used + spent > request.budget_s:  # the next step would exceed the budget
            break
    logger.info("%d steps in %.1f s of a core", step, used)
    return n_finite, used


@torch.no_grad()
def choose_share(
    live: nn.Module,
    adapted: nn.Module,
    lesson: Lesson,
    statistics: DomainStatistics | None,
    wait: Callable[[], None],
) -> tuple[AdaptResult, nn.Module | None]:
    """Mix adapted weights with the live ones so that no sample gets worse; `None` if no mixture is good enough.

    Of the replay sample only the planes count that the state would draft, see `learnt_cases`.
    """
    learnt = describe_learnt_cases(adapted, lesson.train, statistics)
    compared = choose_drafted(adapted, lesson.replay_planes, statistics, learnt), lesson.validation_planes
    before = [_validate(live, planes, wait) for planes in compared]
    tried: list[tuple[AdaptResult, nn.Module | None]] = []
    for share in SHARES if lesson.replay_planes or learnt is not None else SHARES_WITHOUT_SAMPLE:
        network = _mix(live, adapted, share)
        after = [_validate(network, planes, wait) for planes in compared]
        replay, validation = (
            None if old is None or new is None else Comparison(live=old, adapted=new, n_planes=len(planes))
            for old, new, planes in zip(before, after, compared, strict=True)
        )
        text = explain_worse(replay, validation)
        result = AdaptResult(kept=not text, text=text, share=share, replay=replay, validation=validation)
        tried.append((result, None if text else network))
        if not text and validation is None:
            break
    return max(tried, key=lambda pair: _rate(pair[0]))


def _rate(result: AdaptResult) -> tuple[bool, float]:
    """Return what makes one mixture better than another: that it is kept, then its Dice on validation cases."""
    return result.kept, 0.0 if result.validation is None else result.validation.adapted


def explain_worse(replay: Comparison | None, validation: Comparison | None) -> str:
    """Return why a state is worse than the live version; empty if it is not."""
    if replay is not None and not replay.adapted >= replay.live - REPLAY_TOLERANCE:
        return f"it would be worse on older images (Dice {replay.live:.3f} -> {replay.adapted:.3f})"
    if validation is not None and not validation.adapted >= validation.live:
        return f"it would be worse on validation cases (Dice {validation.live:.3f} -> {validation.adapted:.3f})"
    return ""


def describe_state(card: ModelCard, request: AdaptRequest) -> ModelCard:
    """Return the card of a state: that of the live version without the scores, which are those of other weights."""
    lineage = Lineage(parent=card.id, n_corrections=len(request.corrections), created=card.lineage.created)
    return card.model_copy(update={"lineage": lineage, "hold_out": [], "weights_sha256": ""})


def _read_images(reader: SampleReader, items: Sequence[SnapshotItem]) -> list[LabelledImage]:
    read = []
    for item in items:
        try:
            read.append(reader.read_image(item))
        except MedSegError as error:
            logger.warning("%s is left out: %s", item.name, error)
    return read


def _validate(network: nn.Module, planes: Sequence[LabelledPlane], wait: Callable[[], None]) -> float | None:
    if not planes:
        return None
    wait()
    return validate(network, planes, "fp32")


def _mix(live: nn.Module, adapted: nn.Module, share: float) -> nn.Module:
    mixed = deepcopy(adapted)
    old = live.state_dict()
    for name, tensor in mixed.state_dict().items():
        if tensor.is_floating_point():
            tensor.lerp_(old[name].to(tensor.dtype), 1.0 - share)
    return mixed.eval()
