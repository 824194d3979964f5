"""Statistics of the features of training images: Gaussians by source, kept beside the weights of a version."""

import hashlib
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from napari_medseg.core.atomic_io import atomic_write, read_file
from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.core.model_card import DOMAIN_FILE, DomainCheck, ModelCard

Features = NDArray[np.float64]

LEARNT_FILE = "learnt_cases.safetensors"
"""Of an adapted state: the statistics with the cases learnt since in place of the training sources."""
MAX_PLANES = 64
"""At most so many planes of a volume are measured, evenly spread."""


@dataclass(frozen=True, eq=False)
class SourceGaussians:
    """One Gaussian per source in a group of features; all have one covariance (Lee et al., NeurIPS 2018).

    Of the covariance the largest directions are kept, and all others have one variance: probabilistic PCA (Tipping and
    Bishop 1999). This is far smaller than a matrix, and never singular.

    Parameters
    ----------
    offset, scale
        (features,); features are standardised with them first.
    means
        (sources, features), standardised.
    directions, variances
        Orthonormal rows (k, features), and the variance along each (k,).
    rest_variance
        Variance along every other direction.
    """

    offset: Features
    scale: Features
    means: Features
    directions: Features
    variances: Features
    rest_variance: float

    def measure_distances(self, features: Features) -> Features:
        """Return the Mahalanobis distance (n,) of rows of features (n, features) from the nearest source."""
        standardised = (features - self.offset) / self.scale
        centred = standardised[:, np.newaxis] - self.means
        along = centred @ self.directions.T
        rest = np.maximum((centred**2).sum(axis=2) - (along**2).sum(axis=2), 0.0) / self.rest_variance
        distances: Features = np.sqrt(rest + (along**2 / self.variances).sum(axis=2)).min(axis=1)
        return distances

    def divide_distances(self, unit: float) -> "SourceGaussians":
        """Return the Gaussians with which all distances are divided by `unit`."""
        return replace(self, variances=self.variances * unit**2, rest_variance=self.rest_variance * unit**2)


Generation = tuple[SourceGaussians, ...]
"""Gaussians of each group of features, in their order: what one training has seen."""


@dataclass(frozen=True, eq=False)
class DomainStatistics:
    """What the training images of a version look like to its encoder.

    Parameters
    ----------
    generations
        Of the version itself and of those that it comes from. An image is known if one of them knows it.
    threshold
        Distance above which an image is unlike the training images. Distances are in units of that which most images
        of the training sources do not exceed, so it is usually 1.
    learnt
        Of an adapted state (learning at Accept): as `generations`, around the cases that it learnt from.
    """

    generations: tuple[Generation, ...]
    threshold: float = 1.0
    learnt: tuple[Generation, ...] = ()

    @property
    def n_features(self) -> int:
        """Number of features of one image."""
        return sum(len(group.offset) for group in self.generations[0])

    def measure_distances(self, features: NDArray[np.floating]) -> Features:
        """Return the distance (n,) of rows of features (n, features): the largest over the groups of features."""
        return _measure_generations(self.generations, features)

    def measure_image(self, features: NDArray[np.floating]) -> float | None:
        """Return the distance of an image, divided by the threshold: above 1 it is unlike the training images.

        It is the median over the planes or tiles (n, features) of the image: one odd slice does not make it foreign.
        `None` without planes, or if a network with other features made them.
        """
        if not len(features) or features.shape[1] != self.n_features:
            return None
        step = -(-len(features) // MAX_PLANES)
        return float(np.median(self.measure_distances(features[::step]))) / self.threshold

    def is_like_training(self, features: NDArray[np.floating]) -> bool:
        """Whether an image (n, features) is nearer to the training images than to the cases learnt since, if any."""
        if not self.learnt or not len(features) or features.shape[1] != self.n_features:
            return False
        rows = features[:: -(-len(features) // MAX_PLANES)]
        nearest = [np.median(_measure_generations(ones, rows)) for ones in (self.generations, self.learnt)]
        return bool(nearest[0] < nearest[1])

    def move_to(self, features: NDArray[np.floating]) -> "DomainStatistics":
        """Return the statistics with the mean of some images (n, features) in place of the training sources."""
        rows = features.astype(np.float64).mean(axis=0, keepdims=True)
        return replace(self, generations=tuple(_move_generation(one, rows) for one in self.generations), learnt=())

    def encode(self) -> bytes:
        """Return the statistics, without the threshold, as a safetensors file in float32 and float16."""
        arrays = {
            f"{generation}.{group}.{part}": _encode_part(part, getattr(gaussians, part))
            for generation, groups in enumerate(self.generations)
            for group, gaussians in enumerate(groups)
            for part in _PARTS
        }
        return save(arrays)

    @classmethod
    def decode(cls, data: bytes, threshold: float) -> "DomainStatistics":
        """Rebuild statistics from the bytes of `encode`; raise `SafetensorError` or `ValueError` if they are none."""
        arrays = {name: array.astype(np.float64) for name, array in load(data).items()}
        places = sorted({(int(first), int(second)) for first, second, _ in (name.split(".") for name in arrays)})
        if not places:
            raise ValueError("it holds no statistics")
        generations: list[list[SourceGaussians]] = [[] for _ in range(places[-1][0] + 1)]
        for generation, group in places:
            offset, scale, means, directions, variances, rest = (
                arrays[f"{generation}.{group}.{part}"] for part in _PARTS
            )
            generations[generation].append(SourceGaussians(offset, scale, means, directions, variances, rest.item()))
        return cls(tuple(map(tuple, generations)), threshold)


_PARTS = tuple(part.name for part in fields(SourceGaussians))


def _encode_part(part: str, value: Features | float) -> NDArray[np.floating]:
    precision = np.float16 if part == "directions" else np.float32  # the directions are most of the file
    return np.ascontiguousarray(np.atleast_1d(value), precision)


def _measure_generations(generations: tuple[Generation, ...], features: NDArray[np.floating]) -> Features:
    rows = features.astype(np.float64)
    distances: Features = np.min([_measure_generation(one, rows) for one in generations], axis=0)
    return distances


def _split_groups(groups: Generation, rows: Features) -> list[Features]:
    return np.split(rows, np.cumsum([len(group.offset) for group in groups])[:-1], axis=1)


def _move_generation(groups: Generation, rows: Features) -> Generation:
    parts = zip(groups, _split_groups(groups, rows), strict=True)
    return tuple(replace(group, means=(part - group.offset) / group.scale) for group, part in parts)


def _measure_generation(groups: Generation, rows: Features) -> Features:
    parts = _split_groups(groups, rows)
    distances: Features = np.max([group.measure_distances(part) for group, part in zip(groups, parts, strict=True)], 0)
    return distances


def write_statistics(statistics: DomainStatistics, folder: Path) -> str:
    """Write statistics beside the weights of a version, and return the SHA-256 of the file for the card."""
    data = statistics.encode()
    with atomic_write(folder / DOMAIN_FILE) as path:
        path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def load_statistics(folder: Path, card: ModelCard) -> tuple[DomainStatistics | None, str]:
    """Read the statistics of a version, and return what to tell the user, because labels are predicted without them.

    Returns
    -------
    statistics, problem
        `None` if the card names none, as those of older versions. If the file is missing, damaged or not that of the
        card, `None` and a text. An adapted state has those of the cases that it learnt from, too.

    Raises
    ------
    MedSegError
        If those of an adapted state are damaged.
    """
    check: DomainCheck | None = card.domain
    if check is None:
        return None, ""
    try:
        data = read_file(folder / DOMAIN_FILE)
        if hashlib.sha256(data).hexdigest() != check.statistics_sha256:
            raise ValueError("its SHA-256 is not that on the card")
        statistics = DomainStatistics.decode(data, check.threshold)
    except (OSError, ValueError, KeyError, IndexError, SafetensorError) as error:
        return None, (
            f"{DOMAIN_FILE} of {card.id} cannot be used ({get_reason(error)}): images that are unlike its training "
            "images are not recognised. Install the model again."
        )
    return _add_learnt_cases(statistics, folder / LEARNT_FILE), ""


def _add_learnt_cases(statistics: DomainStatistics, path: Path) -> DomainStatistics:
    try:
        data = read_file(path)
    except FileNotFoundError:
        return statistics
    try:
        return replace(statistics, learnt=DomainStatistics.decode(data, statistics.threshold).generations)
    except (ValueError, KeyError, IndexError, SafetensorError) as error:
        raise MedSegError(f"{LEARNT_FILE} of the adapted weights is damaged ({get_reason(error)}).") from error
