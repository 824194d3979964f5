"""Statistics of the features of training images: one Gaussian per source, kept beside the weights of a version."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from napari_medseg.core.atomic_io import atomic_write
from napari_medseg.core.errors import get_reason
from napari_medseg.core.model_card import DOMAIN_FILE, DomainCheck, ModelCard

Features = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SourceGaussian:
    """A Gaussian with the largest directions of its covariance; all other directions have one variance.

    This is probabilistic PCA (Tipping and Bishop 1999): far smaller than a covariance matrix, and never singular.

    Parameters
    ----------
    mean
        (features,).
    directions, variances
        Orthonormal rows (k, features), and the variance along each (k,).
    rest_variance
        Variance along every other direction.
    """

    mean: Features
    directions: Features
    variances: Features
    rest_variance: float

    def measure_distances(self, features: Features) -> Features:
        """Return the Mahalanobis distance (n,) of each row of standardised features (n, features)."""
        centred = features - self.mean
        along = centred @ self.directions.T
        rest = np.maximum((centred**2).sum(axis=1) - (along**2).sum(axis=1), 0.0) / self.rest_variance
        distances: Features = np.sqrt(rest + (along**2 / self.variances).sum(axis=1))
        return distances

    def divide_distances(self, unit: float) -> "SourceGaussian":
        """Return the Gaussian with which all distances are divided by `unit`."""
        return replace(self, variances=self.variances * unit**2, rest_variance=self.rest_variance * unit**2)


@dataclass(frozen=True, eq=False)
class DomainStatistics:
    """What the training images of a version look like to its encoder.

    Parameters
    ----------
    offset, scale
        (features,); features are standardised with them first.
    gaussians
        One per source of training images; the nearest one counts (Lee et al., A simple unified framework for detecting
        out-of-distribution samples, NeurIPS 2018).
    threshold
        Distance above which an image is unlike the training images. Distances are in units of that which most images
        of the training sources do not exceed, so it is usually 1.
    """

    offset: Features
    scale: Features
    gaussians: tuple[SourceGaussian, ...]
    threshold: float = 1.0

    def measure_distances(self, features: NDArray[np.floating]) -> Features:
        """Return the distance (n,) of rows of features (n, features) from the nearest source."""
        standardised = (features.astype(np.float64) - self.offset) / self.scale
        distances: Features = np.min([one.measure_distances(standardised) for one in self.gaussians], axis=0)
        return distances

    def measure_image(self, features: NDArray[np.floating]) -> float | None:
        """Return the distance of an image, divided by the threshold: above 1 it is unlike the training images.

        It is the median over the planes or tiles (n, features) of the image: one odd slice does not make it foreign.
        `None` without planes, or if a network with other features made them.
        """
        if not len(features) or features.shape[1] != len(self.offset):
            return None
        return float(np.median(self.measure_distances(features))) / self.threshold

    def encode(self) -> bytes:
        """Return the statistics, without the threshold, as a safetensors file in float32."""
        arrays = {"offset": self.offset, "scale": self.scale}
        for number, one in enumerate(self.gaussians):
            arrays |= {f"{number}.mean": one.mean, f"{number}.directions": one.directions}
            arrays |= {f"{number}.variances": one.variances, f"{number}.rest": np.array([one.rest_variance])}
        small = {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}
        return save(small)

    @classmethod
    def decode(cls, data: bytes, threshold: float) -> "DomainStatistics":
        """Rebuild statistics from the bytes of `encode`; raise `SafetensorError` or `KeyError` if they are no such."""
        arrays = {name: array.astype(np.float64) for name, array in load(data).items()}
        n_gaussians = sum(name.endswith(".mean") for name in arrays)
        parts = ("mean", "directions", "variances", "rest")
        found = [[arrays[f"{number}.{part}"] for part in parts] for number in range(n_gaussians)]
        gaussians = tuple(SourceGaussian(mean, along, var, float(rest[0])) for mean, along, var, rest in found)
        if not gaussians:
            raise KeyError("0.mean")
        return cls(arrays["offset"], arrays["scale"], gaussians, threshold)


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
        card, `None` and a text.
    """
    check: DomainCheck | None = card.domain
    if check is None:
        return None, ""
    try:
        data = (folder / DOMAIN_FILE).read_bytes()
        if hashlib.sha256(data).hexdigest() != check.statistics_sha256:
            raise ValueError("its SHA-256 is not that on the card")
        return DomainStatistics.decode(data, check.threshold), ""
    except (OSError, ValueError, KeyError, IndexError, SafetensorError) as error:
        return None, (
            f"{DOMAIN_FILE} of {card.id} cannot be used ({get_reason(error)}): images that are unlike its training "
            "images are not recognised. Install the model again."
        )
