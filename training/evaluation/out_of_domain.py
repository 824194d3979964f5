"""Fit the statistics with which a version recognises images that are unlike its training images.

Every run does this at its end. `python -P -m training.evaluation.out_of_domain RUN_DIR` does it again for the version
in a run folder, such as one of an older program. With `--version FOLDER` it describes another version, from the images
of that run.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.core.model_card import CARD_FILE, DomainCheck, ModelCard, read_card, write_card
from napari_medseg.core.snapshot import read_snapshot
from napari_medseg.inference.device import CPU
from napari_medseg.inference.out_of_domain.statistics import (
    DomainStatistics,
    Features,
    SourceGaussians,
    load_statistics,
    write_statistics,
)
from napari_medseg.inference.predictor import Predictor, load_roi_predictor
from napari_medseg.networks import load_version
from training.data.sample_reader import SampleReader
from training.evaluation.known_features import KnownFeatures, collect_features, map_groups, thin_items
from training.recipe import read_recipe
from training.run_folder import RECIPE_FILE, SNAPSHOT_FILE
from training.run_setup import TrainingSetup, split_by_role

KNOWN_SHARE = 0.97
"""Share of the known images that are not flagged: the threshold is this quantile of their distances."""
MIN_PLANES = 12
"""With fewer planes nothing is said about an image."""
N_FOLDS = 8
MAX_DIRECTIONS = 48
MIN_SCALE = 0.05
"""Of a feature that hardly varies, as a share of the median deviation, so that rounding errors do not count."""
BUDGET_SHARE = 0.05
"""Of a run's time budget."""
MIN_VARIANCE = 1e-9

logger = logging.getLogger(__name__)


def fit_domain(known: KnownFeatures, parent: DomainStatistics | None = None) -> tuple[DomainStatistics, float] | None:
    """Fit Gaussians by source, with distances in units of that which `KNOWN_SHARE` of the known planes pass.

    For this unit, the distance of each plane is measured with Gaussians that have not seen its group (patient, slide or
    video), so that it is as large as that of a new image from a known source.

    Parameters
    ----------
    known
        Features of the training and validation images.
    parent
        Statistics of the version that a retrained one comes from. Its sources stay known: only a few of their images
        are replayed, and retraining changes the encoder little.

    Returns
    -------
    statistics, known_share
        `None` if there are too few planes, or their features do not vary.
    """
    if len(known.features) < MIN_PLANES:
        return None
    units = _measure_units(known)
    if units is None:
        return None
    groups = [fit_gaussians(known.features[:, columns], known.sources) for columns in known.columns]
    if any(group is None for group in groups):
        return None
    mine = tuple(group.divide_distances(unit) for group, unit in zip(groups, units.by_group, strict=True) if group)
    earlier = () if parent is None or parent.n_features != known.features.shape[1] else parent.generations
    return DomainStatistics((mine, *earlier[:1], *earlier[1:][-1:])), units.known_share  # the first one knows most


@dataclass(frozen=True)
class _Units:
    """The distance that becomes 1 in each group of features, and the share of the known planes within it."""

    by_group: tuple[float, ...]
    known_share: float


def _measure_units(known: KnownFeatures) -> _Units | None:
    """Measure each plane with Gaussians of the other groups of patients, slides or videos."""
    folds = _assign_folds(known)
    unseen = np.full((len(folds), len(known.columns)), np.nan)
    for fold in np.unique(folds):
        mine = folds == fold
        for number, columns in enumerate(known.columns):
            others = fit_gaussians(known.features[~mine, columns], known.sources[~mine])
            if others is not None:
                unseen[mine, number] = others.measure_distances(known.features[mine, columns])
    is_measured = np.isfinite(unseen).all(axis=1)
    honest = is_measured & _has_other_groups(known)
    measured = unseen[honest if np.count_nonzero(honest) >= MIN_PLANES else is_measured]
    if len(measured) < MIN_PLANES:
        return None
    units = np.quantile(measured, KNOWN_SHARE, axis=0)
    if not (units > 0).all():
        return None
    together = (measured / units).max(axis=1)
    whole = float(np.quantile(together, KNOWN_SHARE))
    return _Units(tuple(float(unit) * whole for unit in units), float(np.mean(together <= whole)))


def fit_gaussians(features: Features, sources: NDArray[np.str_]) -> SourceGaussians | None:
    """Fit Gaussians with one covariance to rows (n, features), given the source of each.

    The covariance is shrunk (Ledoit and Wolf 2004). Returns `None` if there are fewer than 4 rows, or they do not vary.
    """
    if len(features) < 4:
        return None
    offset, scale = features.mean(axis=0), features.std(axis=0)
    typical = float(np.median(scale))
    if not typical > 0:
        return None
    scale = np.maximum(scale, MIN_SCALE * typical)
    standardised = (features - offset) / scale
    names, places = np.unique(sources, return_inverse=True)
    means = np.array([standardised[places == number].mean(axis=0) for number in range(len(names))])
    centred = standardised - means[places]
    if not centred.any():
        return None
    shrinkage, variance = _compute_shrinkage(centred)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    eigenvalues = singular**2 / len(centred)
    kept = min(MAX_DIRECTIONS, len(eigenvalues) - 1)
    rest = (1 - shrinkage) * float(eigenvalues[kept:].sum()) / max(1, features.shape[1] - kept) + shrinkage * variance
    along = (1 - shrinkage) * eigenvalues[:kept] + shrinkage * variance
    return SourceGaussians(
        offset, scale, means, directions[:kept], np.maximum(along, MIN_VARIANCE), max(rest, MIN_VARIANCE)
    )


def describe_domain(
    network: nn.Module, card: ModelCard, known: KnownFeatures, folder: Path, parent: DomainStatistics | None = None
) -> ModelCard:
    """Fit the statistics of a version's training and validation images, and write them and its card to its folder.

    Returns
    -------
    ModelCard
        The card; without statistics if there are too few images, or the network has no encoder to listen to.
    """
    fitted = fit_domain(known, parent)
    if fitted is None:
        return card
    sha256 = write_statistics(fitted[0], folder)
    check = DomainCheck(statistics_sha256=sha256, n_planes=len(known.features), known_share=fitted[1])
    card = card.model_copy(update={"domain": check})
    write_card(card, folder / CARD_FILE)
    return card


def describe_run(setup: TrainingSetup, roi_predictor: Predictor | None) -> ModelCard:
    """Fit the statistics of the version that a run has made, from its training, replayed and validation images.

    With a time budget, at most `BUDGET_SHARE` of it is spent.
    """
    network, card = load_version(setup.run_dir)  # as it is saved: kernels are rounded to fp16
    network.to(setup.learner.device)
    reader = SampleReader(setup.run_dir, card, setup.task, setup.recipe.run.seed, roi_predictor)
    validation = [reader.read_image(item) for item in thin_items(setup.split.validate)]
    images = [*setup.batches.train, *setup.batches.replay, *validation]
    budget_s = setup.time_budget.budget_s
    known = collect_features(
        network,
        images,
        map_groups([*setup.split.train, *setup.split.replay, *setup.split.validate]),
        None if budget_s is None else BUDGET_SHARE * budget_s,
    )
    parent, _ = load_statistics(setup.base_folder, setup.base)
    return describe_domain(network, card, known, setup.run_dir, parent)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit the statistics from the command line; return 1 after an error with an explanation."""
    parser = argparse.ArgumentParser(prog="python -m training.evaluation.out_of_domain", description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--version", type=Path, help="folder of the version; without it, that of the run")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    try:
        with translate_errors():
            card = describe_version(options.version or options.run_dir, options.run_dir)
        if card.domain is None:
            raise MedSegError(f"{card.id} has too few training images, or no encoder. Its card stays as it is.")
    except MedSegError as error:
        logger.error("%s", error)
        return 1
    logger.info("%s: %s", card.id, card.domain)
    return 0


def describe_version(folder: Path, run_dir: Path) -> ModelCard:
    """Fit the statistics of the version in a folder from the training and validation images of a run."""
    recipe, snapshot = read_recipe(run_dir / RECIPE_FILE), read_snapshot(run_dir / SNAPSHOT_FILE)
    network, card = load_version(folder)
    split = split_by_role(snapshot)
    roi_predictor = load_roi_predictor(recipe.find_roi_folder(run_dir), CPU)
    reader = SampleReader(run_dir, card, snapshot.task_definition, recipe.run.seed, roi_predictor)
    items = thin_items([*split.train, *split.replay, *split.validate])
    images = [reader.read_image(item) for item in items]
    known = collect_features(network, images, map_groups(items))
    parent, _ = load_statistics(run_dir / recipe.run.base, read_card(run_dir / recipe.run.base / CARD_FILE))
    return describe_domain(network, card, known, folder, parent)


def _assign_folds(known: KnownFeatures) -> NDArray[np.int64]:
    """Return the fold (n,) of each plane: groups stay together, and the groups of a source are dealt out in turn.

    A source of one group would be left out as a whole, and would look foreign: its planes are dealt out in blocks.
    """
    folds = np.zeros(len(known.sources), np.int64)
    for source in np.unique(known.sources):
        mine = np.flatnonzero(known.sources == source)
        names = np.unique(known.groups[mine])
        if len(names) > 1:
            folds[mine] = np.searchsorted(names, known.groups[mine]) % N_FOLDS
        else:
            folds[mine] = np.arange(len(mine)) * N_FOLDS // len(mine)
    return folds


def _has_other_groups(known: KnownFeatures) -> NDArray[np.bool_]:
    """Return whether the source of each plane (n,) has several groups: one patient says nothing about the next one."""
    several = {name for name in np.unique(known.sources) if len(np.unique(known.groups[known.sources == name])) > 1}
    return np.isin(known.sources, sorted(several))


def _compute_shrinkage(centred: Features) -> tuple[float, float]:
    """Return Ledoit and Wolf's weight of the multiple of the identity in the covariance, and that multiple."""
    n_rows, n_features = centred.shape
    gram = centred @ centred.T
    variance = float(np.trace(gram)) / n_rows / n_features
    squared_norm = float((gram**2).sum()) / n_rows**2
    distance = squared_norm - variance**2 * n_features
    error = (float((np.diag(gram) ** 2).sum()) / n_rows - squared_norm) / n_rows
    return (min(max(error, 0.0), distance) / distance if distance > 0 else 1.0), variance


if __name__ == "__main__":
    sys.exit(main())
