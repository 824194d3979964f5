"""Training on folders of images and masks: all data is checked first, then one run folder is filled and trained.

`folder_data.check_folder_data` tells what fits, `fill_run` makes the run folder, and `evaluate_folder_run` writes all
figures of the trained model on its card. `medseg train folders` and the benchmarks call these three.
"""

import csv
import re
import secrets
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.file_names import read_or_make_key
from napari_medseg.core.model_card import CARD_FILE, DataSource, ModelCard, read_card
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.quality.label_set_checks import NOTHING_TO_LEARN
from napari_medseg.core.replay import REPLAY_IMAGES_FILE, write_run_replay_images
from napari_medseg.core.snapshot import Role, read_snapshot
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.core.tasks.custom_task import make_custom_task
from training.from_folders import mask_pairing
from training.from_folders.base_recipe import FolderSource, ModelRecipe
from training.from_folders.default_recipe import (
    NO_OVERRIDES,
    DataStats,
    RecipeOverrides,
    add_default_preprocessing,
    make_default_recipe,
)
from training.from_folders.folder_data import FolderData, GroupSplit, check_whole_set, choose_cases
from training.from_folders.image_kind import detect_image_kind
from training.from_folders.mask_pairing import FolderCase
from training.from_folders.mask_values import MaskEncoding
from training.run_folder import EVALUATION_FILE, LABELS_FOLDER, RECIPE_FILE, SNAPSHOT_FILE
from training.start_plan import Donor, StartPlan, plan_first_model

LABELS_BY = "the masks that came with the images"
GROUPS_FILE = "groups.csv"


def make_folder_task(name: str, labels: Sequence[str], images: Path, *, instances: bool = False) -> Task:
    """Make the task of labels, for the kind of images that a folder holds.

    Raises
    ------
    MedSegError
        If a label or the name is invalid, or the folder contains no image.
    """
    return make_custom_task(name, labels, kind=detect_image_kind(images), instances=instances)


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
        If there is no training image or nothing to learn, the folder already contains a run, the changes are invalid,
        or the start weights are not available. A network starts from random weights only on request, or if no weights
        are published for it.
    """
    from training.from_folders.base_model import make_run

    base = prepare_model_recipe(data, cases, donors, run_dir, changes or NO_OVERRIDES, registry)
    start = StartPlan(
        card=base.card,
        weights_from=base.weights_from,
        encoder_weights=base.encoder_weights,  # empty: published weights
        registry="" if registry is None else str(registry.user_dir.absolute()),
    )
    here = Path().absolute()
    return base.model_copy(update={"card": make_run(base, here, here, run_dir, start)})


def prepare_model_recipe(
    data: FolderData,
    cases: Sequence[FolderCase],
    donors: Sequence[Donor],
    run_dir: Path,
    changes: RecipeOverrides,
    registry: ModelRegistry | None = None,
) -> ModelRecipe:
    """Write the labels into a run folder, and return the recipe of the model; parameters as in `fill_run`.

    From here on groups are hashes with the user's key, which lies in the registry: a PatientID does not enter the run,
    and a project can tell that a group is the one that it holds out. Without a registry the key is not kept.
    """
    if (run_dir / RECIPE_FILE).exists():
        raise MedSegError(f"{run_dir} already contains a run. Choose another folder with --out.")
    chosen, split = choose_cases(data, cases)
    if nothing := [one.text for one in check_whole_set(data, cases) if one.kind == NOTHING_TO_LEARN]:
        raise MedSegError(f"there is nothing to learn: {nothing[0]}.")
    key = secrets.token_bytes(32) if registry is None else read_or_make_key(registry.user_dir)
    unlabelled = _make_unlabelled_sources(data, split, key, run_dir)
    split = split.hide_groups(key, data.encoding.task)
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
        card=start.card.model_copy(update={"training_data": [described, *(line for _, line in unlabelled)]}),
        encoder_weights=start.encoder_weights,
        weights_from=start.weights_from,
        labels_by=LABELS_BY,
        sources=(
            _make_source(data, chosen, split, labels, _write_groups(split, chosen, run_dir)),
            *(source for source, _ in unlabelled),
        ),
        recipe=make_default_recipe(task, data.name, sizes, changes),
    )


def evaluate_folder_run(run_dir: Path) -> ModelCard:
    """Write all scores of a finished run to its card, if it has a hold-out, and return the card.

    Also write the list of images that later versions replay.
    """
    write_run_replay_images(run_dir)
    is_evaluated = (run_dir / EVALUATION_FILE).exists()  # by the run itself; then torch, which takes seconds, stays out
    if not is_evaluated and read_snapshot(run_dir / SNAPSHOT_FILE).filter_by_role(Role.HOLD_OUT):
        from training.evaluation.hold_out_evaluation import EvaluationRequest
        from training.evaluation.model_evaluation import ensure_hold_out_evaluation

        return ensure_hold_out_evaluation(run_dir, EvaluationRequest(labels_by=LABELS_BY))
    return read_card(run_dir / CARD_FILE)


def is_completed(run_dir: Path) -> bool:
    """Whether `evaluate_folder_run` has been completed for a finished run."""
    is_evaluated = any(score.labels_by == LABELS_BY for score in read_card(run_dir / CARD_FILE).hold_out)
    return is_evaluated and (run_dir / REPLAY_IMAGES_FILE).exists()


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


def _make_unlabelled_sources(
    data: FolderData, split: GroupSplit, key: bytes, run_dir: Path
) -> list[tuple[FolderSource, DataSource]]:
    if not data.unlabelled:
        return []
    from training.from_folders.unlabelled_images import make_unlabelled_sources

    (run_dir / LABELS_FOLDER).mkdir(parents=True, exist_ok=True)
    return make_unlabelled_sources(data, split, key, run_dir)


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
