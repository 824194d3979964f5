"""Convert network output to labels and uncertainty on the image's grid, one batch or band of rows at a time.

Uncertainty of a voxel: probability that another label is right. Uncertainty of a case: see `case_uncertainty`.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_medseg.inference.case_uncertainty import PixelSums, compute_case_uncertainty, sum_sampled_uncertainty
from napari_medseg.inference.events import PredictionPart
from napari_medseg.inference.preprocess import PreparedImage, restore, restore_plane_labels
from napari_medseg.inference.roi import Box, paste_into_image
from napari_medseg.inference.watershed import CORE_DEPTH

SECONDS_BETWEEN_PARTS = 0.5


class LogitsObserver(Protocol):
    """Receives the network's logits during a prediction, for evaluations that need more than labels.

    The logits are on the network's grid, cropped to the region of interest if the model has one.
    """

    def reset_plane(self, plane: int) -> None:
        """Discard the rows of a plane: they start again from its top, such as after an out-of-memory error."""

    def put_rows(self, plane: int, first: int, logits: Tensor, prepared: PreparedImage) -> None:
        """Receive logits (1, classes, rows, w) of a plane, starting at its row `first`, including padding."""


class PredictionAccumulator:
    """Labels of all planes of an image, in any order; a plane may be repeated, such as after an out-of-memory error.

    Parameters
    ----------
    shape
        (n, y, x) of the image's planes.
    n_classes
        Number of labels including background.
    with_uncertainty_map
        Whether to keep the uncertainty of every voxel, uint8 in per cent, in `uncertainty_map`.
    with_depth
        Whether the classes are depth levels in objects: then labels are 1 inside any object, and `depth` holds the
        expected depth of every voxel, uint8 up to `CORE_DEPTH`.
    temperature
        Temperature of the card: logits are divided by it before the uncertainty is computed.
    observer
        Receives all logits; `None` if not needed.
    padding
        Pixels, as many as in `shape`, that were not measured and do not count in the uncertainty of the case.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        n_classes: int,
        with_uncertainty_map: bool,
        with_depth: bool = False,
        temperature: float = 1.0,
        observer: LogitsObserver | None = None,
        padding: NDArray[np.bool_] | None = None,
    ) -> None:
        self._observer = observer
        self._padding = None if padding is None else padding.reshape(shape)
        self.n_classes = n_classes
        self._temperature = temperature
        self.labels: NDArray[np.uint8 | np.uint16] = np.zeros(shape, np.uint8 if n_classes <= 256 else np.uint16)
        self.depth: NDArray[np.uint8] | None = np.zeros(shape, np.uint8) if with_depth else None
        self.uncertainty_map: NDArray[np.uint8] | None = np.zeros(shape, np.uint8) if with_uncertainty_map else None
        self._uncertainty_sums = np.zeros((shape[0], len(PixelSums._fields)))

    @property
    def uncertainty(self) -> float:
        """Uncertainty of the whole case; see `compute_case_uncertainty`."""
        sums = PixelSums(*self._uncertainty_sums.sum(axis=0).tolist())
        return compute_case_uncertainty(sums, with_objects=self.depth is not None)

    def put_plane(self, plane: int, logits: Tensor, prepared: PreparedImage) -> None:
        """Take the logits of one whole plane.

        Parameters
        ----------
        plane
            Its index in `labels`.
        logits
            (1, classes, h, w) on the prepared plane, on any device.
        prepared
            Says how the prepared plane (h, w) lies on the native one (y, x).
        """
        if self._observer is not None:
            self._observer.reset_plane(plane)
            self._observer.put_rows(plane, 0, logits, prepared)
        if self.depth is not None:
            self.depth[plane] = (
                restore(compute_expected_depth(logits), prepared).round().to(torch.uint8).cpu().numpy()[0, 0]
            )
            logits = merge_foreground_classes(logits)
        self.labels[plane] = restore_plane_labels(logits, prepared)[0]
        inside = logits[..., : prepared.plane_shape[0], : prepared.plane_shape[1]]
        measured = self._find_measured(plane, slice(None), prepared.plane_shape)
        self._uncertainty_sums[plane] = sum_sampled_uncertainty(inside / self._temperature, measured)
        if self.uncertainty_map is not None:
            self.uncertainty_map[plane] = convert_to_percent(
                restore(compute_uncertainty(logits / self._temperature)[:, None], prepared)
            )[0, 0]

    def reset_plane(self, plane: int) -> None:
        """Discard the rows of a plane that is added in bands."""
        self._uncertainty_sums[plane] = 0
        if self._observer is not None:
            self._observer.reset_plane(plane)

    def put_rows(self, plane: int, first: int, rows: Tensor, prepared: PreparedImage) -> None:
        """Take finished rows of a plane that is not resampled; rows of the padding are left out.

        Parameters
        ----------
        plane
            Its index in `labels`.
        first
            The row of the plane that `rows` begin with.
        rows
            Logits (1, classes, rows, w).
        prepared
            Of the whole plane.
        """
        if self._observer is not None:
            self._observer.put_rows(plane, first, rows, prepared)
        last = min(first + rows.shape[-2], prepared.plane_shape[0])
        if last <= first:
            return
        band = (last - first, prepared.plane_shape[1])
        part = replace(prepared, plane_shape=band, native_plane_shape=band)
        if self.depth is not None:
            depth = restore(compute_expected_depth(rows), part).round().to(torch.uint8)
            self.depth[plane, first:last] = depth.cpu().numpy()[0, 0]
            rows = merge_foreground_classes(rows)
        self.labels[plane, first:last] = restore_plane_labels(rows, part)[0]
        inside = restore(rows, part)
        measured = self._find_measured(plane, slice(first, last), band)
        self._uncertainty_sums[plane] += sum_sampled_uncertainty(inside / self._temperature, measured)
        if self.uncertainty_map is not None:
            self.uncertainty_map[plane, first:last] = convert_to_percent(
                compute_uncertainty(inside / self._temperature)
            )[0]

    def _find_measured(self, plane: int, rows: slice, shape: tuple[int, int]) -> Tensor | None:
        """Return which pixels of a plane, resampled to `shape` (nearest), were measured; `None` for all."""
        if self._padding is None:
            return None
        inside = self._padding[plane, rows]
        down, across = (np.arange(new) * old // new for new, old in zip(shape, inside.shape, strict=True))
        return torch.from_numpy(~inside[np.ix_(down, across)])


class PartCutter:
    """Gives labels of a series before all of them are predicted: those of the first batch, then twice a second.

    Parameters
    ----------
    labels
        (n, y, x) of the planes, filled from the first one on; inside `box`, if there is one.
    shape
        Of the whole image.
    box
        Rows and columns that `labels` cover; `None` for all.
    is_wanted
        Whether anybody looks at parts. An image of one plane has none.
    """

    def __init__(
        self, labels: NDArray[np.uint8 | np.uint16], shape: tuple[int, ...], box: Box | None, is_wanted: bool
    ) -> None:
        self._labels = labels
        self._shape = shape
        self._box = box
        self._is_wanted = is_wanted and len(labels) > 1
        self._n_given = 0
        self._next_at = 0.0

    def cut(self, n_finished: int) -> Iterator[PredictionPart]:
        """Yield the planes that were finished since the last part, unless that was just now or all are finished."""
        now = time.monotonic()
        if not self._is_wanted or now < self._next_at or n_finished >= len(self._labels):
            return
        first, self._n_given, self._next_at = self._n_given, n_finished, now + SECONDS_BETWEEN_PARTS
        shape = (n_finished - first, *self._shape[-2:])
        yield PredictionPart(first, paste_into_image(self._labels[first:n_finished].copy(), shape, self._box))


def compute_expected_depth(logits: Tensor) -> Tensor:
    """Return the expected level of depth: 0 for background, `CORE_DEPTH` for the last class, evenly spaced between.

    Parameters
    ----------
    logits
        (n, classes, h, w); the classes are ascending levels of depth in an object, as in `InstanceSeparation`.

    Returns
    -------
    Tensor
        float32 (n, 1, h, w) in [0, `CORE_DEPTH`].
    """
    n_classes = logits.shape[1]
    steps = torch.linspace(0.0, CORE_DEPTH, n_classes, device=logits.device)[:, None, None]
    return (torch.softmax(logits.float(), dim=1) * steps).sum(dim=1, keepdim=True)


def merge_foreground_classes(logits: Tensor) -> Tensor:
    """Return logits (n, 2, h, w) of two classes, background and all others as one, from logits (n, classes, h, w)."""
    return torch.cat([logits[:, :1], torch.logsumexp(logits[:, 1:], dim=1, keepdim=True)], dim=1)


def compute_uncertainty(logits: Tensor) -> Tensor:
    """Return the probability that the most likely label is wrong (least confidence, Lewis and Gale 1994).

    Parameters
    ----------
    logits
        (n, classes, h, w).

    Returns
    -------
    Tensor
        float32 (n, h, w) in [0, 1 - 1 / classes].
    """
    return 1.0 - torch.softmax(logits.float(), dim=1).amax(dim=1)


def convert_to_percent(uncertainty: Tensor) -> NDArray[np.uint8]:
    """Return uncertainty in [0, 1] as uint8 per cent of the same shape, the form in which a map is sent and shown."""
    percent: NDArray[np.uint8] = (uncertainty * 100.0).round_().to(torch.uint8).cpu().numpy()
    return percent


class RowBlender:
    """Blends the tiles of one plane from top to bottom and returns rows as soon as they are final.

    Only one row of tiles is in memory, not a whole plane per class.
    """

    def __init__(self, n_classes: int, height: int, width: int, device: torch.device) -> None:
        self._sums = torch.zeros((1, n_classes, height, width), device=device)
        self.first_row = 0

    def add_tile(self, logits: Tensor, left: int, weights: Tensor) -> None:
        """Blend in a tile of the current row of tiles.

        Parameters
        ----------
        logits
            (classes, height, w).
        left
            The column of the plane that the tile begins with.
        weights
            (height, w); the weights of all tiles sum to 1 at every pixel.
        """
        self._sums[0, :, :, left : left + logits.shape[-1]].addcmul_(logits, weights)

    def pop_rows(self, until: int) -> Tensor:
        """Return the rows from `first_row` to `until` (excluded), (1, classes, rows, width), and move on to `until`."""
        n_rows = until - self.first_row
        finished = self._sums[:, :, :n_rows]
        rest = torch.zeros_like(self._sums)
        rest[:, :, : self._sums.shape[2] - n_rows] = self._sums[:, :, n_rows:]
        self._sums, self.first_row = rest, until
        return finished
