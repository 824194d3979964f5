"""Which images an adapted state drafts: those that are more like the cases it learnt from than like older images.

All others come from the version itself, so that what it knew is not forgotten, however much the state has changed. The
distance is that of `inference.out_of_domain`, in the features of the state.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from napari_medseg.core.atomic_io import atomic_write
from napari_medseg.inference.out_of_domain.statistics import LEARNT_FILE, DomainStatistics
from training.data.dataset import LabelledImage, LabelledPlane
from training.evaluation.known_features import pool_planes
from training.run_setup import choose_planes

MAX_PLANES = 24


def describe_learnt_cases(
    network: nn.Module, images: Sequence[LabelledImage], statistics: DomainStatistics | None
) -> DomainStatistics | None:
    """Return the statistics of a version around the cases that were learnt; `None` if the version has none."""
    if statistics is None:
        return None
    features = _measure(network, choose_planes(images, MAX_PLANES), statistics)
    return statistics.move_to(features) if len(features) else None


def choose_drafted(
    network: nn.Module,
    planes: Sequence[LabelledPlane],
    statistics: DomainStatistics | None,
    learnt: DomainStatistics | None,
) -> list[LabelledPlane]:
    """Return the planes that the state drafts; all of them if the version has no statistics."""
    if statistics is None or learnt is None or not planes:
        return list(planes)
    features = _measure(network, planes, statistics)
    if not len(features):
        return list(planes)
    is_known = statistics.measure_distances(features) < learnt.measure_distances(features)
    return [plane for plane, known in zip(planes, is_known, strict=True) if not known]


def write_learnt_cases(learnt: DomainStatistics, folder: Path) -> None:
    """Write the statistics beside the weights of the state."""
    with atomic_write(folder / LEARNT_FILE) as path:
        path.write_bytes(learnt.encode())


def _measure(network: nn.Module, planes: Sequence[LabelledPlane], statistics: DomainStatistics) -> NDArray[np.float32]:
    """Return the features of planes (n, features); none if the network makes others than those of the statistics."""
    found, _ = pool_planes(network, [plane.views[0] for plane in planes])
    rows = np.array([found[place] for place in sorted(found)], np.float32).reshape(len(found), -1)
    return rows if rows.shape == (len(planes), statistics.n_features) else rows[:0]
