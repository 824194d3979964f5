"""Copy-paste: the labelled region of one plane is pasted into another plane, with its labels.

Ghiasi et al., Simple copy-paste is a strong data augmentation method for instance segmentation, CVPR 2021. Here the
region can also be fitted to the place of the same labels: lungs of a cropped slice are pasted into a whole body.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import convex_hull_image, isotropic_dilation
from torch.nn import functional

from napari_medseg.core.snapshot import IGNORE_INDEX
from training.recipe import PasteSettings

MARGIN = 0.03
"""Width of the strip around the region that is pasted with it, relative to the longer side of the labels' box."""
FEATHER = 0.012
"""Standard deviation of the soft edge of the region, relative to the same side."""
HULL_STEP_PX = 4
MAX_CONTRAST = 4.0
"""Grey values are matched by at most this factor."""

Pixels = NDArray[np.floating]
Classes = NDArray[np.uint8]
Box = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class PastePlane:
    """A plane without padding: pixels (c, h, w), float, and labels (h, w), uint8."""

    pixels: Pixels
    labels: Classes


def paste_region(guest: PastePlane, host: PastePlane, settings: PasteSettings) -> PastePlane | None:
    """Paste the labelled region of `guest` into `host`.

    Returns
    -------
    PastePlane or None
        A plane of the shape of `host`, float32; `None` if the guest has no labels, or if the region is fitted to the
        labels and the host has others.
    """
    of_guest, of_host = _find_box(guest.labels), _find_box(host.labels)
    if of_guest is None or len(guest.pixels) != len(host.pixels):
        return None
    fits = settings.place == "labels"
    if fits and (of_host is None or _list_values(guest.labels) != _list_values(host.labels)):
        return None
    placed = _place(guest, of_guest, host, of_host if fits else None)
    labelled = placed.labels > 0
    if not labelled.any():
        return None
    side = float(max(box.stop - box.start for box in (of_host if fits and of_host else _find_box(placed.labels) or ())))
    region = _compute_hull(labelled) if settings.region == "hull" else labelled
    grown = isotropic_dilation(region, MARGIN * side) if fits else region
    covered = np.isfinite(placed.pixels[0])
    alpha = ndimage.gaussian_filter((grown & covered).astype(np.float32), FEATHER * side) * covered
    grey = np.where(covered, placed.pixels, 0.0).astype(np.float32)
    if fits:
        grey = _match_grey_values(grey, placed.labels, host, region)
    pixels = host.pixels.astype(np.float32) * (1.0 - alpha) + grey * alpha
    return PastePlane(pixels, np.where(alpha > 0.5, placed.labels, host.labels).astype(np.uint8))


def _place(guest: PastePlane, of_guest: Box, host: PastePlane, of_host: Box | None) -> PastePlane:
    """Return the guest on the grid of the host: NaN and background where the guest has no pixels."""
    height, width = guest.labels.shape
    shape = host.labels.shape
    if of_host is None:
        scales, shifts = np.array(shape) / (height, width), np.zeros(2)
    else:
        sizes = [
            (box.stop - box.start, target.stop - target.start) for box, target in zip(of_guest, of_host, strict=True)
        ]
        scales = np.array([target / own for own, target in sizes])
        shifts = np.array(
            [target.start - scale * box.start for box, target, scale in zip(of_guest, of_host, scales, strict=True)]
        )
    # Rows and columns of the host in the guest, in [-1, 1], as `grid_sample` takes them.
    places = [
        ((np.arange(length) + 0.5 - shift) / scale) * 2 / own - 1
        for length, shift, scale, own in zip(shape, shifts, scales, (height, width), strict=True)
    ]
    y, x = np.meshgrid(*places, indexing="ij")
    grid = torch.from_numpy(np.stack([x, y], axis=-1).astype(np.float32))[None]
    grey = _sample(guest.pixels.astype(np.float32), grid, "bilinear", "border")
    labels = _sample(guest.labels[None].astype(np.float32), grid, "nearest", "zeros")[0].astype(np.uint8)
    outside = (np.abs(x) > 1) | (np.abs(y) > 1)
    grey[:, outside] = np.nan
    labels[outside | (labels == IGNORE_INDEX)] = 0
    return PastePlane(grey, labels)


def _sample(values: Pixels, grid: torch.Tensor, mode: str, padding: str) -> NDArray[np.float32]:
    found = functional.grid_sample(
        torch.from_numpy(np.ascontiguousarray(values))[None], grid, mode=mode, padding_mode=padding, align_corners=False
    )
    result: NDArray[np.float32] = found[0].numpy()
    return result


def _compute_hull(labelled: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the convex hull, found on every `HULL_STEP_PX`th pixel; the soft edge hides the steps."""
    coarse = convex_hull_image(labelled[::HULL_STEP_PX, ::HULL_STEP_PX])
    whole = coarse.repeat(HULL_STEP_PX, axis=0).repeat(HULL_STEP_PX, axis=1)
    hull: NDArray[np.bool_] = whole[: labelled.shape[0], : labelled.shape[1]] | labelled
    return hull


def _match_grey_values(grey: Pixels, labels: Classes, host: PastePlane, region: NDArray[np.bool_]) -> Pixels:
    """Map grey values linearly so that the medians of organ and tissue are those of the host, in each channel."""
    matched = grey.copy()
    for channel, own in enumerate(host.pixels):
        dark, bright = _median(grey[channel], labels > 0), _median(grey[channel], region & (labels == 0))
        low, high = _median(own, host.labels > 0), _median(own, region & (host.labels == 0))
        if None in (dark, bright, low, high) or abs(bright - dark) < 1e-3:  # type: ignore[operator]
            continue
        factor = float(np.clip((high - low) / (bright - dark), 1 / MAX_CONTRAST, MAX_CONTRAST))  # type: ignore[operator]
        matched[channel] = (grey[channel] - dark) * factor + low
    return matched


def _median(values: Pixels, mask: NDArray[np.bool_]) -> float | None:
    return float(np.median(values[mask])) if mask.any() else None


def _find_box(labels: Classes) -> Box | None:
    """Return rows and columns of the box around all labels; `None` without labels."""
    labelled = (labels > 0) & (labels != IGNORE_INDEX)
    rows, columns = np.flatnonzero(labelled.any(axis=1)), np.flatnonzero(labelled.any(axis=0))
    if not len(rows):
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _list_values(labels: Classes) -> list[int]:
    return [int(value) for value in np.unique(labels) if value not in (0, IGNORE_INDEX)]
