"""Detect labels that belong to another image: label outlines should lie on edges of their own image.

This needs no model, so it also works if a model is too poor to detect the mix-up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_medseg.core.image import Image
from napari_medseg.core.quality.image_fingerprint import resize_plane

SIDE_PX = 96
MIN_CASES = 4
MIN_OUTLINE_PX = 10
MAX_OWN_FIT_RATIO = 0.9
"""Another outline fits clearly better if the fit of a case's own outline is below this share of it."""
CHANCE_FIT_RATIO = 1.15
"""Ratio of the mean fit of own outlines to that of others. In random groups of eight cases (lungs, nuclei, instruments,
larynx), correct labels were never below it; shuffled labels were in 98 of 100 (nuclei of whole slides: 54)."""


@dataclass(frozen=True, eq=False)
class EdgeThumbnail:
    """A reduced plane: relative gradient magnitude and label outline, both of shape (SIDE_PX, SIDE_PX)."""

    gradient_magnitude: NDArray[np.float32]
    label_outline: NDArray[np.bool_]


def make_edge_thumbnail(image: Image, labels: NDArray[Any]) -> EdgeThumbnail:
    """Reduce an image and its labels (on the same grid); of a volume, the plane with most labelled pixels."""
    grey = image.pixels.mean(axis=-1) if image.axes.endswith("C") else image.pixels
    planes, label_planes = grey.reshape(-1, *grey.shape[-2:]), labels.reshape(-1, *labels.shape[-2:])
    most = int(np.argmax([np.count_nonzero(plane) for plane in label_planes]))
    small = resize_plane(planes[most], SIDE_PX)
    ranks = np.argsort(np.argsort(small, axis=None, kind="stable"), kind="stable").reshape(small.shape)
    steepness = ndimage.gaussian_gradient_magnitude(ranks / ranks.size, 1.0)
    rows, columns = (np.linspace(0, length - 1, SIDE_PX).round().astype(int) for length in label_planes[most].shape)
    chosen = label_planes[most][np.ix_(rows, columns)]
    outline = np.zeros(chosen.shape, bool)
    outline[:-1] |= chosen[:-1] != chosen[1:]
    outline[:, :-1] |= chosen[:, :-1] != chosen[:, 1:]
    return EdgeThumbnail((steepness / max(float(steepness.mean()), 1e-9)).astype(np.float32), outline)


def find_label_mixups(thumbnails: Sequence[EdgeThumbnail]) -> dict[int, int]:
    """Find cases whose labels seem to belong to another case.

    Returns
    -------
    dict
        Index of a case -> index of the case whose labels fit its image best. Empty if the labels fit their own images
        better than by chance: a single case may have unusual outlines. Cases without labels are ignored.
    """
    drawn = [index for index, one in enumerate(thumbnails) if np.count_nonzero(one.label_outline) >= MIN_OUTLINE_PX]
    if len(drawn) < MIN_CASES:
        return {}
    outlines = np.stack([thumbnails[index].label_outline.ravel() for index in drawn]).astype(np.float32)
    outlines /= outlines.sum(axis=1, keepdims=True)
    fit = np.stack([thumbnails[index].gradient_magnitude.ravel() for index in drawn]) @ outlines.T
    own, others = np.diag(fit), fit[~np.eye(len(drawn), dtype=bool)].reshape(len(drawn), -1)
    misfits = own < MAX_OWN_FIT_RATIO * others.max(axis=1)
    if misfits.mean() < 0.5 or own.mean() >= CHANCE_FIT_RATIO * others.mean():
        return {}
    return {drawn[index]: drawn[int(np.argmax(fit[index]))] for index in np.flatnonzero(misfits)}
