"""Make the run folder of a base model: the version to start from, and a snapshot of folders of labelled images.

`python -m training.base_model --data DATA --weights WEIGHTS --recipe training/recipes/lungs.json RUN_DIR`, then
`python -m training RUN_DIR`: a base model is trained by the same loop as every retrain.
"""

import argparse
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from scipy import ndimage

from napari_medseg.core import formats
from napari_medseg.core.cards import ModelCard
from napari_medseg.core.durable import sha256_of
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.snapshots import Role, Snapshot, SnapshotItem, write_snapshot
from napari_medseg.networks import build, load_encoder_weights, save_version
from training.pairs import LabelledCase, pair_by_stem
from training.recipe import Recipe, write_recipe
from training.setup import RECIPE_FILE, SNAPSHOT_FILE

START_FOLDER = "start"
LABELS_FOLDER = "labels"

logger = logging.getLogger(__name__)


class Source(BaseModel):
    """One folder of images, with a folder of labels or, where `labels` is empty, without any of the task's organs.

    `only` is a regular expression that a file's stem has to match; the first parenthesis of `group` in the stem is the
    patient, without it the whole source is one patient. `hold_out` and `validate_on` name patients, ``"*"`` all of
    them. `drop_outside_air` removes pieces of labels at the picture's border that belong to no lung: from training
    labels only, references stay untouched.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    images: str
    labels: str = ""
    only: str = ""
    group: str = ""
    hold_out: tuple[str, ...] = ()
    validate_on: tuple[str, ...] = ()
    drop_outside_air: bool = False

    def group_of(self, stem: str) -> str:
        """Return the patient of a file."""
        match = re.search(self.group, stem) if self.group else None
        return match.group(1) if match else ""

    def role_of(self, group: str) -> Role:
        """Return what a patient's images are for."""
        for role, groups in ((Role.HOLD_OUT, self.hold_out), (Role.VALIDATE, self.validate_on)):
            if group in groups or "*" in groups:
                return role
        return Role.TRAIN


class BaseRecipe(BaseModel):
    """All that decides a base model: card, pretrained encoder (relative to the weights' folder), sources, recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    card: ModelCard
    encoder_weights: str = ""
    sources: tuple[Source, ...]
    recipe: Recipe


def read_base_recipe(path: Path) -> BaseRecipe:
    """Read a base recipe; raise `MedSegError` naming every unknown or wrong key."""
    try:
        return BaseRecipe.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise MedSegError(f"{path} is no base recipe: {error}. See training/recipes/lungs.json.") from error


def make_run(base: BaseRecipe, data: Path, weights: Path, run_dir: Path) -> None:
    """Fill a run folder.

    Parameters
    ----------
    base
        What to train, on what.
    data, weights
        Folders that the recipe's paths start from.
    run_dir
        Made where it is missing.

    Raises
    ------
    MedSegError
        If images, labels or weights are missing, or a patient stands on both sides of the hold-out.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(base.recipe.seed)
    network = build(base.card.architecture)
    if base.encoder_weights:
        load_encoder_weights(network, weights / base.encoder_weights)
    save_version(network, base.card, run_dir / START_FOLDER)
    items = tuple(item for source in base.sources for item in _items(source, data, run_dir))
    snapshot = Snapshot(task=base.card.task, items=items)
    snapshot.check_split()
    write_snapshot(snapshot, run_dir / SNAPSHOT_FILE)
    write_recipe(base.recipe.model_copy(update={"base": START_FOLDER}), run_dir / RECIPE_FILE)
    logger.info("%d images in %s", len(items), run_dir)


def without_outside_air(labels: NDArray[np.integer]) -> NDArray[np.integer]:
    """Drop pieces of a label that touch the picture's border and are not its largest.

    Thresholds take the air beside the chest for lung where a slice is cropped; a network would learn to repeat it.
    """
    kept = labels.copy()
    for value in np.unique(labels[labels > 0]):
        pieces, n_pieces = ndimage.label(labels == value, structure=np.ones((3, 3)))
        sizes = np.bincount(pieces.ravel(), minlength=n_pieces + 1)[1:]
        border = np.unique(np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]]))
        doomed = [piece for piece in border if piece > 0 and piece != int(np.argmax(sizes)) + 1]
        kept[np.isin(pieces, doomed)] = 0
    return kept


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a run folder from the command line; 1 after an error that the text explains."""
    parser = argparse.ArgumentParser(prog="python -m training.base_model", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that the recipe's images lie in")
    parser.add_argument("--weights", type=Path, required=True, help="folder with the pretrained encoder")
    parser.add_argument("--recipe", type=Path, required=True, help="as training/recipes/lungs.json")
    parser.add_argument("run_dir", type=Path)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    try:
        make_run(read_base_recipe(options.recipe), options.data, options.weights, options.run_dir)
    except MedSegError as error:
        logger.error("%s", error)
        return 1
    return 0


def _items(source: Source, data: Path, run_dir: Path) -> Iterator[SnapshotItem]:
    own_labels = run_dir / LABELS_FOLDER / source.name
    images = (data / source.images).resolve()
    if not source.labels:
        _write_empty_labels(images, own_labels, source.only)
    for case in pair_by_stem(images, (data / source.labels).resolve() if source.labels else own_labels):
        group = source.group_of(case.name)
        role = source.role_of(group)
        clean = source.drop_outside_air and role is not Role.HOLD_OUT
        labels = (_cleaned(case, own_labels) if clean else case.labels).absolute()
        is_own = own_labels.absolute() in labels.parents
        yield SnapshotItem(
            name=f"{source.name}/{case.name}",
            image=str(case.image),
            labels=str(labels.relative_to(run_dir.absolute())) if is_own else str(labels),
            group=f"{source.name}/{group}",
            role=role,
            source=source.name,
            labels_sha256=sha256_of(labels),
        )


def _write_empty_labels(images: Path, folder: Path, only: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(images.iterdir()):
        if re.search(only, path.name):
            image = formats.read(path)
            formats.write_labels(folder / f"{path.name}.tif", np.zeros(image.spatial_shape, np.uint8), image)


def _cleaned(case: LabelledCase, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    image = formats.read(case.image)
    path = folder / f"{case.name}.png"
    formats.write_labels(path, without_outside_air(formats.read_labels(case.labels, image)), image)
    return path


if __name__ == "__main__":
    sys.exit(main())
