"""Make, train and evaluate a base model from folders of labelled images, with the training loop of all runs.

python -P -m training.from_folders.base_model --data DATA --weights WEIGHTS --recipe RECIPE.json RUN_DIR
"""

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from napari_medseg.core import formats
from napari_medseg.core.atomic_io import compute_file_sha256
from napari_medseg.core.decoded_size.limit import MAX_MEMORY_OPTION, allow_memory
from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.core.formats.mask_placement import AS_STATED
from napari_medseg.core.model_card import CARD_FILE, Lineage, ModelCard, PostprocessingStep, read_card
from napari_medseg.core.model_registry import BUNDLED_MODELS, ModelRegistry
from napari_medseg.core.name_matching import compile_pattern, unify_name
from napari_medseg.core.snapshot import Role, Snapshot, SnapshotItem, read_snapshot, write_snapshot
from training.__main__ import main as train_run
from training.data.label_transforms import apply_label_steps
from training.data.labelled_cases import LabelledCase, get_stem, pair_by_stem
from training.evaluation.hold_out_evaluation import EvaluationRequest, write_evaluation_request
from training.evaluation.model_evaluation import ensure_hold_out_evaluation
from training.evaluation.run_cost import write_cost
from training.from_folders.base_recipe import FolderSource, ModelRecipe, read_model_recipe
from training.from_folders.group_split import check_content
from training.from_folders.unlabelled_images import keep_unlabelled_apart, make_unlabelled_items
from training.recipe import update_recipe, write_recipe
from training.run_folder import LABELS_FOLDER, RECIPE_FILE, SNAPSHOT_FILE, START_FOLDER
from training.start_builder import build_start_version
from training.start_plan import StartPlan, plan_base_model

logger = logging.getLogger(__name__)


def make_run(base: ModelRecipe, data: Path, weights: Path, run_dir: Path, start: StartPlan | None = None) -> ModelCard:
    """Fill a run folder, and return the card that it starts with, which states the source of its first weights.

    Parameters
    ----------
    base
        The model and its data sources.
    data, weights
        Folders to which the paths in the recipe are relative.
    run_dir
        Created if it does not exist.
    start
        What the network starts from; `None`: as the recipe says.

    Raises
    ------
    MedSegError
        If images, labels or weights are missing, or a patient is in both the training set and the hold-out.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    start = start or plan_base_model(
        base.card,
        parent=base.parent,
        weights_from=base.weights_from,
        encoder_weights=base.encoder_weights,
        weights_dir=weights,
    )
    card = build_start_version(start, run_dir / START_FOLDER, base.recipe.run.seed)
    items = tuple(item for source in base.sources for item in _make_items(source, data, run_dir))
    snapshot = Snapshot(task=base.card.task, items=items, own_task=base.card.own_task)
    snapshot.check_split()
    snapshot, notices = keep_unlabelled_apart(snapshot, run_dir, base.recipe.data.unlabelled.max_images)
    for notice in notices:
        logger.warning("%s", notice)
    write_snapshot(snapshot, run_dir / SNAPSHOT_FILE)
    write_evaluation_request(_make_evaluation_request(base), run_dir)
    roi_folder = ModelRegistry(BUNDLED_MODELS, BUNDLED_MODELS).find_roi_folder(base.card)
    changes = {"base": START_FOLDER, "roi_model": "" if roi_folder is None else str(roi_folder)}
    write_recipe(update_recipe(base.recipe, {"run": changes}), run_dir / RECIPE_FILE)
    logger.info("%d images in %s", len(snapshot.items), run_dir)
    return card


def start_from_version(base: ModelRecipe, folder: Path) -> StartPlan:
    """Return the start of a recipe from a version of one's choice, as where the recipe's parent is no longer at hand.

    The new card names it as its parent if the weights continue training, that is if the network is the same.

    Raises
    ------
    MedSegError
        If the folder has no card.
    """
    given = read_card(folder / CARD_FILE)
    is_same = given.architecture == base.card.architecture
    lineage = Lineage(parent=given.id) if is_same else Lineage(began_with=given.id)
    return StartPlan(card=base.card.model_copy(update={"lineage": lineage}), weights_from=str(folder.absolute()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Make and train a run folder from the command line; return 1 after an error with an explanation."""
    parser = argparse.ArgumentParser(prog="python -m training.from_folders.base_model", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the images of the recipe")
    parser.add_argument("--weights", type=Path, required=True, help="folder with pretrained encoders or versions")
    parser.add_argument("--recipe", type=Path, required=True, help="JSON file such as training/recipes/lungs.json")
    parser.add_argument("--prepare", action="store_true", help="only make the run folder; train later")
    parser.add_argument(
        "--start", type=Path, help="folder of the version that the run starts from, in place of what the recipe names"
    )
    parser.add_argument(
        MAX_MEMORY_OPTION, dest="max_memory", type=int, help="bytes that the pixels of one image may take"
    )
    parser.add_argument("run_dir", type=Path, help="a stopped run is resumed")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    try:
        with translate_errors(), allow_memory(options.max_memory):
            base = read_model_recipe(options.recipe)
            if not (options.run_dir / SNAPSHOT_FILE).exists():
                start = None if options.start is None else start_from_version(base, options.start)
                make_run(base, options.data, options.weights, options.run_dir, start)
                for place in check_content(read_snapshot(options.run_dir / SNAPSHOT_FILE), options.run_dir):
                    logger.warning("%s", place)
            if not options.prepare and (code := train_run([str(options.run_dir)])) == 0:
                write_cost(options.run_dir)
                ensure_hold_out_evaluation(options.run_dir, _make_evaluation_request(base))
            return 0 if options.prepare else code
    except MedSegError as error:
        logger.error("%s", error)
        return 1


def _make_evaluation_request(base: ModelRecipe) -> EvaluationRequest:
    return EvaluationRequest(labels_by=base.labels_by, images_may_be_shown=base.images_may_be_shown)


def _make_items(source: FolderSource, data: Path, run_dir: Path) -> Iterator[SnapshotItem]:
    if source.unlabelled:
        yield from make_unlabelled_items(source, data)
        return
    own_labels = run_dir / LABELS_FOLDER / source.name
    images = (data / source.images).resolve()
    if not source.labels:
        _write_empty_labels(images, own_labels, source.only)
    cases = pair_by_stem(images, (data / source.labels).resolve() if source.labels else own_labels)
    cases = [case for case in cases if not source.labels or compile_pattern(source.only).search(case.name)]
    fields = _find_roi_labels(source, images, data)
    roles = source.assign_roles([case.name for case in cases], data)
    for case in cases:
        group, role = roles[case.name]
        labels = _prepare_labels(case, own_labels, source, role).absolute()
        is_own = own_labels.absolute() in labels.parents
        yield SnapshotItem(
            name=f"{source.name}/{case.name}",
            image=str(case.image),
            labels=labels.relative_to(run_dir.absolute()).as_posix() if is_own else str(labels),
            group=f"{source.name}/{group}",
            role=role,
            source=source.name,
            labels_sha256=compute_file_sha256(labels),
            weight=source.weight,
            field_labels=str(fields[case.name]) if fields else "",
            ignored_value=source.ignored_value,
            label_sets=source.label_sets,
        )


def _find_roi_labels(source: FolderSource, images: Path, data: Path) -> dict[str, Path]:
    if not source.field_labels:
        return {}
    return {case.name: case.labels for case in pair_by_stem(images, (data / source.field_labels).resolve())}


def _write_empty_labels(images: Path, folder: Path, only: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(images.iterdir()):
        if compile_pattern(only).search(unify_name(path.name)) and formats.can_read(path):
            image = formats.read(path)
            formats.write_labels(folder / f"{get_stem(path)}.tif", np.zeros(image.spatial_shape, np.uint8), image)


def _prepare_labels(case: LabelledCase, folder: Path, source: FolderSource, role: Role) -> Path:
    """Return the labels file as it is, or a changed copy in `folder` if the source has label steps."""
    steps = [PostprocessingStep(name="binarise")] if source.binarise else []
    if role is not Role.HOLD_OUT:
        steps += [PostprocessingStep(name="split_touching")] if source.split_touching else []
        steps += [PostprocessingStep(name="drop_outside_air")] if source.drop_outside_air else []
        steps += source.label_steps
    if not steps and source.placement == AS_STATED:
        return case.labels
    folder.mkdir(parents=True, exist_ok=True)
    image = formats.read(case.image)
    stored = formats.read_labels(case.labels, image, source.placement)
    labels = apply_label_steps(stored, steps, source.ignored_value)
    path = folder / f"{case.name}.tif"
    formats.write_labels(path, labels, image)
    return path


if __name__ == "__main__":
    sys.exit(main())
