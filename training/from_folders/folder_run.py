"""Training on folders of images and masks: all data is checked first, then one run folder is filled and trained.

`pair_images_with_masks` tells what fits, `fill_run` makes the run folder, and `evaluate_folder_run` writes all figures
of the trained model on its card. `medseg train folders` and the benchmarks call these three.
"""

import csv
import re
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import CARD_FILE, DataSource, ModelCard, read_card
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.replay import REPLAY_IMAGES_FILE, write_run_replay_images
from napari_medseg.core.snapshot import Role, read_snapshot
from napari_medseg.core.split import (
    MIN_GROUPS_TO_VALIDATE_FIRST_MODEL,
    choose_hold_out_groups,
    choose_validation_groups,
)
from napari_medseg.core.tasks.custom_task import make_custom_task
from napari_medseg.core.tasks.definitions import Task
from training.from_folders import mask_pairing
from training.from_folders.base_recipe import FolderSource, ModelRecipe
from training.from_folders.default_recipe import (
    NO_OVERRIDES,
    DataStats,
    RecipeOverrides,
    add_default_preprocessing,
    make_default_recipe,
)
from training.from_folders.group_split import (
    GroupedImage,
    choose_held_out,
    describe_groups,
    find_copies,
    group_cases,
    join_groups_with_copies,
    refuse_copies,
)
from training.from_folders.image_kind import detect_image_kind
from training.from_folders.mask_pairing import FolderCase, Mismatch, PairingResult
from training.from_folders.mask_values import MaskEncoding
from training.run_folder import LABELS_FOLDER, RECIPE_FILE, SNAPSHOT_FILE
from training.start_plan import Donor, StartPlan, plan_first_model

LABELS_BY = "the masks that came with the images"
GROUPS_FILE = "groups.csv"


@dataclass(frozen=True)
class FolderData:
    """Images and masks of a user.

    Parameters
    ----------
    name
        Name of the model.
    images, masks
        Folders; `masks` may be a COCO file.
    encoding
        The task, and the meaning of the mask values.
    group_by
        A `core.groups.GroupPattern`: where the patient, slide or video stands in an image's name. Empty: as the files
        say, DICOM by patient.
    hold_out
        Groups that are held out for evaluation. Empty: `core.split` chooses them.
    train_on
        Names of the training images. Empty: all images that are not held out.
    joins_copies
        Whether groups that have an image in common become one group.
    """

    name: str
    images: Path
    masks: Path
    encoding: MaskEncoding
    group_by: str = ""
    hold_out: tuple[str, ...] = ()
    train_on: tuple[str, ...] = ()
    joins_copies: bool = False


@dataclass(frozen=True)
class GroupSplit:
    """Groups of the hold-out and of validation, and the group of each image."""

    hold_out: tuple[str, ...]
    validate: tuple[str, ...]
    group_of: dict[str, str] = field(default_factory=dict)


def make_folder_task(name: str, labels: Sequence[str], images: Path, *, instances: bool = False) -> Task:
    """Make the task of labels, for the kind of images that a folder holds.

    Raises
    ------
    MedSegError
        If a label or the name is invalid, or the folder contains no image.
    """
    return make_custom_task(name, labels, kind=detect_image_kind(images), instances=instances)


def check_folder_data(data: FolderData) -> PairingResult:
    """Check all images and masks as `pair_images_with_masks`, their groups, and whether images are on both sides.

    A name that `group_by` does not match, and a training image that is a copy of a hold-out image, are mismatches. A
    copy is no mismatch if `joins_copies` is set: then the groups of both are put together.
    """
    found = mask_pairing.pair_images_with_masks(data.images, data.masks, data.encoding)
    images, lost = group_cases(found.cases, data.group_by)
    mismatches = [Mismatch("group", case.name, f"{data.group_by!r} does not match its name") for case in lost]
    if data.joins_copies:
        images = join_groups_with_copies(images, data.hold_out)
    for copy in find_copies(images, choose_held_out(images, data.hold_out)):
        kind = "duplicate" if copy.is_copy else "same place"
        mismatches.append(Mismatch(kind, copy.learnt.name, copy.text, blocking=copy.is_copy))
    group_of = {image.name: image.group for image in images}
    left_out = {mismatch.name for mismatch in mismatches if mismatch.blocking}
    cases = (case for case in found.cases if case.name not in left_out)
    grouped = tuple(replace(case, group=group_of[case.name]) for case in cases)
    return replace(found, cases=grouped, mismatches=(*found.mismatches, *mismatches))


def describe_split(data: FolderData, cases: Sequence[FolderCase]) -> str:
    """Return the groups of the cases that `check_folder_data` accepted, with their sizes and which are held out."""
    group_of = {case.name: case.group for case in cases}
    return describe_groups(group_of, data.hold_out or choose_hold_out_groups(group_of.values()))


def fill_run(
    data: FolderData,
    cases: Sequence[FolderCase],
    donors: Sequence[Donor],
    run_dir: Path,
    changes: RecipeOverrides | None = None,
    registry: ModelRegistry | None = None,
) -> ModelRecipe:
    """Fill a run folder: labels, recipe, snapshot with its split, and the version to start from.

    Parameters
    ----------
    data
        The images and masks to which the cases belong.
    cases
        The cases that `check_folder_data` accepted.
    donors
        Versions whose weights the model may start from, and their folders.
    run_dir
        New or empty folder.
    changes
        Changes to the default settings.
    registry
        Registry with the version that the changes name as the start, if any. `None`: bundled versions only.

    Returns
    -------
    ModelRecipe
        With the card that the run starts with; its `lineage.began_with` states the source of the first weights.

    Raises
    ------
    MedSegError
        If there is no training image, the folder already contains a run, the changes are invalid, or the start weights
        are not available. A network starts from random weights only on request, or if no weights are published for it.
    """
    from training.from_folders.base_model import make_run

    base = prepare_model_recipe(data, cases, donors, run_dir, changes or NO_OVERRIDES)
    start = StartPlan(
        card=base.card,
        weights_from=base.weights_from,
        encoder_weights=base.encoder_weights,  # empty: published weights
        registry="" if registry is None else str(registry.user_dir.absolute()),
    )
    here = Path().absolute()
    return base.model_copy(update={"card": make_run(base, here, here, run_dir, start)})


def prepare_model_recipe(
    data: FolderData, cases: Sequence[FolderCase], donors: Sequence[Donor], run_dir: Path, changes: RecipeOverrides
) -> ModelRecipe:
    """Write the labels into a run folder, and return the recipe of the model; parameters as in `fill_run`."""
    if (run_dir / RECIPE_FILE).exists():
        raise MedSegError(f"{run_dir} already contains a run. Choose another folder with --out.")
    chosen, split = _choose_cases(data, cases)
    labels = _write_labels(data.encoding, chosen, run_dir / LABELS_FOLDER / data.encoding.task.name)
    learnt = [case for case in chosen if split.group_of[case.name] not in split.hold_out]
    sizes = _compute_data_stats(learnt, split)
    task = data.encoding.task
    start = plan_first_model(task, data.name, donors, add_default_preprocessing(changes, task, sizes))
    described = DataSource(
        name=data.encoding.task.name,
        n_images=len(learnt),
        groups=len({split.group_of[case.name] for case in learnt}),
        labels=LABELS_BY,
        licence="the user's own data",
    )
    return ModelRecipe(
        card=start.card.model_copy(update={"training_data": [described]}),
        encoder_weights=start.encoder_weights,
        weights_from=start.weights_from,
        labels_by=LABELS_BY,
        sources=(_make_source(data, chosen, split, labels, _write_groups(split, chosen, run_dir)),),
        recipe=make_default_recipe(task, data.name, sizes, changes),
    )


def evaluate_folder_run(run_dir: Path) -> ModelCard:
    """Write all scores of a finished run to its card, if it has a hold-out, and return the card.

    Also write the list of images that later versions replay.
    """
    from training.evaluation.hold_out_evaluation import EvaluationRequest
    from training.evaluation.model_evaluation import ensure_hold_out_evaluation

    write_run_replay_images(run_dir)
    if read_snapshot(run_dir / SNAPSHOT_FILE).filter_by_role(Role.HOLD_OUT):
        return ensure_hold_out_evaluation(run_dir, EvaluationRequest(labels_by=LABELS_BY))
    return read_card(run_dir / CARD_FILE)


def is_completed(run_dir: Path) -> bool:
    """Whether `evaluate_folder_run` has been completed for a finished run."""
    is_evaluated = any(score.labels_by == LABELS_BY for score in read_card(run_dir / CARD_FILE).hold_out)
    return is_evaluated and (run_dir / REPLAY_IMAGES_FILE).exists()


def _choose_cases(data: FolderData, cases: Sequence[FolderCase]) -> tuple[list[FolderCase], GroupSplit]:
    """Return the cases for training and for the hold-out, with their groups."""
    group_of = {case.name: case.group or case.name for case in cases}
    if unknown := sorted(set(data.hold_out) - set(group_of.values())):
        raise MedSegError(f"there are no groups {unknown} to hold out; groups are {sorted(set(group_of.values()))[:8]}")
    if unknown := sorted(set(data.train_on) - group_of.keys()):
        raise MedSegError(f"there are no images {unknown[:5]} to train on. Give names without a suffix.")
    held = data.hold_out or choose_hold_out_groups(group_of.values())
    learnt = [case for case in cases if group_of[case.name] not in held]
    learnt = [case for case in learnt if not data.train_on or case.name in data.train_on]
    if not learnt:
        raise MedSegError("no training images are left. Give more images, or hold fewer groups out.")
    groups = (group_of[case.name] for case in learnt)
    validate = choose_validation_groups(groups, MIN_GROUPS_TO_VALIDATE_FIRST_MODEL)
    judging = [case for case in cases if group_of[case.name] in held]
    images = [GroupedImage(case.name, group_of[case.name], case.fingerprint) for case in [*learnt, *judging]]
    refuse_copies([copy for copy in find_copies(images, held) if copy.is_copy])
    return [*learnt, *judging], GroupSplit(held, validate, group_of)


def _compute_data_stats(learnt: Sequence[FolderCase], split: GroupSplit) -> DataStats:
    facts = [case.facts for case in learnt if case.facts is not None]
    planes = [fact.shape[0] if len(fact.shape) > 2 else 1 for fact in facts]
    n_validate = sum(split.group_of[case.name] in split.validate for case in learnt)
    return DataStats(
        n_train=len(learnt) - n_validate,
        n_validate=n_validate,
        n_planes=sum(planes),
        side_px=round(statistics.median(max(fact.shape[-2:]) for fact in facts)),
        look=Counter(fact.look for fact in facts).most_common(1)[0][0],
    )


def _write_groups(split: GroupSplit, chosen: Sequence[FolderCase], run_dir: Path) -> Path:
    """Write the group of each image, which a name alone does not always give."""
    path = run_dir / LABELS_FOLDER / GROUPS_FILE
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("name", "group"), *((case.name, split.group_of[case.name]) for case in chosen)])
    return path


def _make_source(
    data: FolderData, chosen: Sequence[FolderCase], split: GroupSplit, labels: Path, groups: Path
) -> FolderSource:
    names = "|".join(re.escape(case.name) for case in chosen)
    return FolderSource(
        name=data.encoding.task.name,
        images=str(data.images.absolute()),
        labels=str(labels.absolute()),
        only=f"^({names})$",
        index=str(groups.absolute()),
        hold_out=split.hold_out,
        validate_on=split.validate,
        ignored_value=data.encoding.ignored_value,
    )


def _write_labels(encoding: MaskEncoding, cases: Sequence[FolderCase], folder: Path) -> Path:
    """Write the masks as labels with the names of their images. After that the run does not need the masks."""
    folder.mkdir(parents=True, exist_ok=True)
    for case in cases:
        image, labels = mask_pairing.read_image_and_labels(case, encoding)
        formats.write_labels(folder / f"{case.name}.tif", labels, image)
    return folder
