"""Clicks of a simulated person on the largest error of a mask, damaged masks to start from, and the ideal dab."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.draw import disk

CLICK_RADIUS_PX = 5
"""Radius of the discs in the maps of clicks."""
INNER_HALF = 0.5
"""Clicks anywhere are at least so deep in an error, relative to its deepest pixel."""
MAX_DAB_PX = 80

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Click:
    """A pixel, and whether it belongs to the label."""

    y: int
    x: int
    is_positive: bool


def find_largest_error(mask: Mask, truth: Mask) -> Mask | None:
    """Return the largest connected piece of wrong pixels that is missing, or too much; `None` if nothing is wrong."""
    best, area = None, 0
    for wrong in (truth & ~mask, mask & ~truth):
        pieces, n = ndimage.label(wrong)
        if n and (sizes := np.bincount(pieces.ravel())[1:]).max() > area:
            area = int(sizes.max())
            best = pieces == 1 + int(sizes.argmax())
    return best


def place_click(mask: Mask, truth: Mask, is_centred: bool, rng: np.random.Generator) -> Click | None:
    """Click on the largest error: at its deepest pixel, or anywhere in its inner half; `None` if nothing is wrong."""
    error = find_largest_error(mask, truth)
    if error is None:
        return None
    depth = ndimage.distance_transform_edt(np.pad(error, 1))[1:-1, 1:-1]
    if is_centred:
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    else:
        places = np.argwhere(depth >= INNER_HALF * depth.max())
        y, x = places[rng.integers(len(places))]
    return Click(int(y), int(x), bool(truth[y, x]))


def draw_clicks(clicks: list[Click], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return two maps (2, h, w) with a disc at each positive and each negative click; clicks may lie outside."""
    maps = np.zeros((2, *shape), np.float32)
    for click in clicks:
        rows, columns = disk((click.y, click.x), CLICK_RADIUS_PX + 0.5, shape=shape)
        maps[0 if click.is_positive else 1, rows, columns] = 1.0
    return maps


def dab(mask: Mask, truth: Mask) -> Mask:
    """Return a mask after the ideal dab: the disc at the centre of the largest error whose radius mends most."""
    click = place_click(mask, truth, True, np.random.default_rng(0))
    if click is None:
        return mask
    y, x = np.ogrid[: mask.shape[0], : mask.shape[1]]
    distance = np.sqrt((y - click.y) ** 2 + (x - click.x) ** 2)
    near = distance <= MAX_DAB_PX
    changed = near & (mask != click.is_positive)
    order = np.argsort(distance[changed], kind="stable")
    gains = np.cumsum(np.where(truth[changed][order] == click.is_positive, 1, -1))
    if not len(gains) or gains.max() <= 0:
        return mask
    radius = distance[changed][order][int(gains.argmax())]
    result = mask.copy()
    result[distance <= radius] = click.is_positive
    return result


def damage(truth: Mask, rng: np.random.Generator) -> Mask:
    """Return a mask as a poor draft has it: its edge moved unevenly, a piece missing, a piece too much."""
    shape = truth.shape
    signed = ndimage.distance_transform_edt(truth) - ndimage.distance_transform_edt(~truth)
    waves = ndimage.gaussian_filter(rng.normal(size=shape), 12.0)
    waves *= rng.uniform(1.0, 8.0) / max(1e-6, float(waves.std()))
    mask: Mask = signed + waves > 0
    for is_added in (False, True):
        if rng.random() < 0.5 and truth.any():
            places = np.argwhere(truth)
            y, x = places[rng.integers(len(places))] + rng.integers(-30, 31, 2) * is_added
            rows, columns = disk((y, x), rng.uniform(5, 30), shape=shape)
            mask[rows, columns] = is_added
    return mask


def keep_clicked_piece(old: Mask, new: Mask, click: Click) -> Mask:
    """Return the old mask with the one changed piece that contains the click."""
    pieces, _ = ndimage.label((new != old) & (new == click.is_positive))
    number = pieces[click.y, click.x]
    return np.where(pieces == number, new, old) if number else old


def compute_mask_dice(mask: Mask, truth: Mask) -> float:
    """Return the Dice of two masks; 1 if both are empty."""
    total = int(mask.sum()) + int(truth.sum())
    return 2.0 * int((mask & truth).sum()) / total if total else 1.0
