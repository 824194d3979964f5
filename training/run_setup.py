"""Read a run folder and build everything that the training loop needs: recipe, split, data, network."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.grouping.keyed_groups import count_groups, find_group_noun
from napari_medseg.core.grouping.split import MIN_GROUPS_TO_VALIDATE_SNAPSHOT, choose_validation_groups
from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.snapshot import Role, Snapshot, SnapshotItem, read_snapshot
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.core.tasks.custom_task import extends
from napari_medseg.inference.device import choose_device
from napari_medseg.inference.predictor import load_roi_predictor
from napari_medseg.networks import load_version
from napari_medseg.networks.class_expansion import expand_classes
from training.augmentation.presets import get_augmentation, scale_augmentation
from training.augmentation.spatial import Augmenter
from training.data.bounded_reading import describe_unread, leave_out_unread, read_within_budget
from training.data.class_sampling import compute_inverse_frequency_weights
from training.data.content_checks import refuse_nothing_to_learn
from training.data.dataset import BatchSampler, LabelledImage, LabelledPlane
from training.data.label_sets import unmark_certain
from training.data.sample_reader import SampleReader, find_largest_label
from training.data.unlabelled import StepData, UnlabelledSampler, check_unlabelled, make_unlabelled_sampler
from training.distributed import RANK_SEED_STRIDE, RankContext
from training.learner import Learner
from training.losses.composite import build_loss
from training.recipe import Recipe, read_recipe
from training.run_folder import RECIPE_FILE, SNAPSHOT_FILE
from training.schedule import Stage, TimeBudget, get_schedule, make_stages

MAX_VALIDATION_PLANES = 24
WINDOWS_PER_CT = 3

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SnapshotSplit:
    """How each item of a snapshot is used in this run; `notice` explains an unexpected split to the user."""

    train: tuple[SnapshotItem, ...]
    replay: tuple[SnapshotItem, ...]
    validate: tuple[SnapshotItem, ...]
    hold_out: tuple[SnapshotItem, ...]
    notice: str = ""
    unlabelled: tuple[SnapshotItem, ...] = ()


@dataclass(frozen=True)
class TrainingSetup:
    """A run that is ready to start. `base` is the card of the version it starts from; `stage` is the current stage.

    `notices` are those of the model that finds the region of interest.
    """

    run_dir: Path
    recipe: Recipe
    snapshot: Snapshot
    split: SnapshotSplit
    task: Task
    base: ModelCard
    learner: Learner
    batches: BatchSampler
    validation: tuple[LabelledPlane, ...]
    time_budget: TimeBudget = field(compare=False)
    stage: Stage
    rank_context: RankContext
    notices: tuple[str, ...] = ()
    unlabelled: UnlabelledSampler | None = None

    def sample_batch(self, step: int) -> StepData:
        """Draw the data of a step, counted over the whole run, and move it to the training device."""
        unlabelled = None if self.unlabelled is None else self.unlabelled.sample_batch(step)
        return StepData(self.batches.sample_batch(step), unlabelled).to(self.learner.device)

    def make_stage_setup(self, number: int, weights: Mapping[str, Tensor] | None = None) -> "TrainingSetup":
        """Return the setup of one stage, with a new learner that starts from `weights`, or from the parent."""
        stage = make_stages(self.recipe)[number]
        if stage.recipe == self.recipe and weights is None:
            return self
        train, replay = list(self.batches.train), list(self.batches.replay)
        class_weights = _compute_class_weights(stage.recipe, train, self.base)
        learner = Learner.from_parent(
            self.learner.parent, stage.recipe, self.learner.device, class_weights, self.rank_context
        )
        if weights is not None:
            learner.restart_from(weights)
        batches = _adapt_to_rank(
            make_batches(stage.recipe, train, replay, self.base, self.task), stage.recipe, self.rank_context
        )
        unlabelled = self.unlabelled and make_unlabelled_sampler(stage.recipe, self.unlabelled.images, batches)
        return replace(self, recipe=stage.recipe, stage=stage, learner=learner, batches=batches, unlabelled=unlabelled)

    @property
    def base_folder(self) -> Path:
        """Folder of the version that the result is compared with: `compare_with` of the recipe, else the start."""
        return self.run_dir / (self.recipe.run.compare_with or self.recipe.run.base)

    @property
    def is_first_model(self) -> bool:
        """Whether this is the first model of the task. Then the result is compared with an empty prediction."""
        starts_anew = not self.base.lineage.created and self.base.lineage.parent is None
        return starts_anew and not self.recipe.run.compare_with


def read_setup(
    run_dir: Path, started: float, rank_context: RankContext | None = None, device: torch.device | None = None
) -> TrainingSetup:
    """Read a run folder.

    Parameters
    ----------
    run_dir, started
        Holds `recipe.json` and `snapshot.json`; `time.monotonic()` when the run was requested.
    rank_context, device
        The processes that train together (by default only this one), and the device (by default that of the recipe).

    Raises
    ------
    MedSegError
        If a file is missing or wrong, the hold-out leaks into the training set, or there is nothing to learn.
    """
    recipe, snapshot = read_recipe(run_dir / RECIPE_FILE), read_snapshot(run_dir / SNAPSHOT_FILE)
    check_recipe_names(recipe)
    snapshot.check_split()
    task = snapshot.task_definition
    if recipe.run.n_threads is not None:
        torch.set_num_threads(recipe.run.n_threads)
    network, base = load_version(run_dir / recipe.run.base)
    _check_base(base, task)
    split = split_by_role(snapshot)
    if base.instances is None and base.architecture.classes < task.n_classes:
        largest = max(find_largest_label(item, run_dir) for item in (*split.train, *split.validate))
        network, base = expand_classes(network, base, largest + 1)
    rank_context = rank_context or RankContext()
    device = device or rank_context.device or choose_device(recipe.run.device)
    roi_predictor = load_roi_predictor(recipe.find_roi_folder(run_dir), device)
    reader = SampleReader(run_dir, base, task, recipe.run.seed, roi_predictor, recipe.data.label_steps)

    def read(items: Sequence[SnapshotItem], n_windows: int = WINDOWS_PER_CT) -> list[LabelledImage]:
        return [reader.read_image(item, n_windows) for item in items]

    check_unlabelled(len(split.unlabelled), recipe)
    clock = TimeBudget(started, recipe.run.budget_s)
    bounds = clock if rank_context.size == 1 else TimeBudget(started)  # all ranks read the same
    read_items, train = read_within_budget(split.train, lambda item: read([item])[0], bounds, run_dir)
    replay = read(split.replay)
    refuse_nothing_to_learn([*train, *replay])
    notice = describe_unread(len(read_items), len(split.train), find_group_noun(item.group for item in split.train))
    snapshot, split = leave_out_unread(snapshot, split.train, read_items), replace(split, train=tuple(read_items))
    validation = choose_planes(_choose_validation_images(split, train, replay, read), MAX_VALIDATION_PLANES)
    batches = _adapt_to_rank(make_batches(recipe, train, replay, base, task), recipe, rank_context)
    if batches.windows:
        counts = len(batches.windows), batches.steps_per_pass, recipe.schedule.steps_per_epoch
        logger.info("%d windows: a pass over all takes %d steps, an epoch has %d", *counts)
    learner = Learner.from_parent(network, recipe, device, _compute_class_weights(recipe, train, base), rank_context)
    more = make_unlabelled_sampler(recipe, read(split.unlabelled), batches)
    told, stage = tuple(filter(None, (*reader.notices, notice))), make_stages(recipe)[0]
    planes = tuple(validation)
    return TrainingSetup(
        run_dir, recipe, snapshot, split, task, base, learner, batches, planes, clock, stage, rank_context, told, more
    )


def _check_base(base: ModelCard, task: Task) -> None:
    if base.task != task.name:
        raise MedSegError(
            f"{base.id} was made for task {base.task!r}, but the corrections are for {task.name!r}. "
            "Start from a model of the same task."
        )
    if not extends(task, base.task_definition):
        raise MedSegError(f"the labels of {task.name!r} differ from those of {base.id}. Train a first model.")


def check_recipe_names(recipe: Recipe) -> None:
    """Raise `MedSegError` before training if a stage names an unknown loss, augmentation or schedule."""
    for stage in recipe.resolve_stages():
        build_loss(stage, None if stage.loss.class_weights == "none" else torch.ones(1))
        for name in (stage.augmentation.preset, stage.augmentation.replay_preset):
            get_augmentation(name)
        get_schedule(stage.schedule.name, stage.schedule.n_cycles)


def split_by_role(snapshot: Snapshot) -> SnapshotSplit:
    """Split the items of a snapshot into training, replay, validation and hold-out.

    Items with the role `VALIDATE` choose the best checkpoint. If there are none, `core.grouping.split` chooses some
    groups of the training items. If there are too few groups, validation uses the training images.

    Raises
    ------
    MedSegError
        If there are no training items.
    """
    train, replay = snapshot.filter_by_role(Role.TRAIN), tuple(snapshot.filter_by_role(Role.REPLAY))
    validate, hold_out = snapshot.filter_by_role(Role.VALIDATE), tuple(snapshot.filter_by_role(Role.HOLD_OUT))
    if not train:
        raise MedSegError(
            "there is no correction to learn from: all accepted cases are in the hold-out, or none is accepted. "
            f"Accept a case of another {find_group_noun(item.group for item in hold_out)} first."
        )
    notice = ""
    groups = {item.group for item in train}
    held_back = () if validate else choose_validation_groups(groups, MIN_GROUPS_TO_VALIDATE_SNAPSHOT)
    if held_back:
        validate = [item for item in train if item.group in held_back]
        train = [item for item in train if item.group not in held_back]
    elif not validate:
        counted = count_groups(len(groups), find_group_noun(groups))
        notice = (
            f"{counted} with corrections are too few for a separate validation set: the validation Dice is computed on "
            "the training images without augmentation, and is therefore too optimistic."
        )
    unlabelled = tuple(snapshot.filter_by_role(Role.UNLABELLED))
    return SnapshotSplit(tuple(train), replay, tuple(validate), hold_out, notice, unlabelled)


def choose_planes(images: Sequence[LabelledImage], at_most: int) -> list[LabelledPlane]:
    """Choose at most `at_most` planes from as many images as possible, evenly spread over each image."""
    shown = _thin_images(images, at_most)
    per_image = max(1, at_most // max(1, len(shown)))
    return [image.planes[index] for image in shown for index in spread_indices(len(image.planes), per_image)]


def make_batches(
    recipe: Recipe, train: list[LabelledImage], replay: list[LabelledImage], card: ModelCard, task: Task
) -> BatchSampler:
    """Return the sampler of batches from the training images and the replayed images of a recipe."""
    augmenter, replay_augmenter = (
        Augmenter(
            scale_augmentation(get_augmentation(name), recipe.augmentation.strength),
            card.preprocessing,
            recipe.data.patch_px,
            task.sides,
        )
        for name in (recipe.augmentation.preset, recipe.augmentation.replay_preset)
    )
    return BatchSampler(
        train,
        replay,
        augmenter,
        replay_augmenter,
        recipe.data.batch_size,
        recipe.fine_tuning.replay_share,
        recipe.run.seed,
        recipe.data.foreground_share,
        recipe.data.window_overlap_px if recipe.data.sampling == "windows" else None,
        recipe.data.paste,
    )


def _adapt_to_rank(batches: BatchSampler, recipe: Recipe, rank_context: RankContext) -> BatchSampler:
    """Return a sampler with the batch size of a step, and with a different seed in each process."""
    size = recipe.data.batch_size * recipe.optimiser.accumulate
    return replace(batches, batch_size=size, seed=recipe.run.seed + RANK_SEED_STRIDE * rank_context.rank)


def _compute_class_weights(recipe: Recipe, images: Sequence[LabelledImage], card: ModelCard) -> Tensor | None:
    if recipe.loss.class_weights == "none":
        return None
    n_classes = card.architecture.classes
    weights = compute_inverse_frequency_weights(
        [[unmark_certain(plane.labels) for plane in image.planes] for image in images],
        [image.weight for image in images],
        n_classes,
    )
    logger.info("class weights %s", [round(float(weight), 3) for weight in weights])
    return weights


def _choose_validation_images(
    split: SnapshotSplit,
    train: list[LabelledImage],
    replay: list[LabelledImage],
    read: Callable[[Sequence[SnapshotItem], int], list[LabelledImage]],
) -> list[LabelledImage]:
    """Return the images that choose the best checkpoint: new and replayed images have the same weight."""
    n_new = len(split.validate) or len(train)
    n_each = max(1, min(n_new, MAX_VALIDATION_PLANES // 2)) if replay else min(n_new, MAX_VALIDATION_PLANES)
    places = spread_indices(n_new, n_each)  # chosen before they are read: a project may have hundreds
    new = read([split.validate[n] for n in places], 0) if split.validate else [train[n] for n in places]
    return new + (_thin_images(replay, n_each) if replay else [])


def _thin_images(images: Sequence[LabelledImage], at_most: int) -> list[LabelledImage]:
    return [images[index] for index in spread_indices(len(images), at_most)]


def spread_indices(length: int, at_most: int) -> list[int]:
    """Return at most that many indices below `length`, evenly spread, none twice."""
    count = min(length, at_most)
    return [(2 * index + 1) * length // (2 * count) for index in range(count)]
