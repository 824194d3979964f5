"""Where tissue lies on a slide, found at low resolution: what is darker or more coloured than the glass.

Optical density parts stain from glass on bright-field slides of any stain (Beer-Lambert law); the threshold is Otsu's
(IEEE Trans Syst Man Cybern 1979), with a floor, so that an empty slide has no tissue.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import disk

from napari_medseg.core.errors import MedSegError, report_damage
from napari_medseg.core.slides.shown_levels import reduce_pixels
from napari_medseg.core.slides.slide import DamagedPartError, Slide

SEARCH_PX = 2048
"""Tissue is searched in a picture of at most so many pixels in height and width."""
MIN_DENSITY = 0.025
"""Optical density of a faint stain; less is glass, whatever its noise."""
MAX_THRESHOLD = 0.15
"""Above it, Otsu's threshold parts dark stain from faint stain."""
MIN_PIECE_PX = 12
"""Smaller pieces are dust."""
BLACK = 25
"""What is darker in all colours is the edge of a scan or a cover, not tissue."""
_STRIP_PX = 4096
_LEAST_PART_PX = 128
"""Parts are divided down to this size around what is damaged; tiles are rarely smaller."""


@dataclass(frozen=True, eq=False)
class Tissue:
    """Where tissue lies.

    Parameters
    ----------
    mask
        (height, width), True on tissue.
    downsample
        Pixels of level 0 in one of its pixels.
    """

    mask: NDArray[np.bool_]
    downsample: float

    @property
    def share(self) -> float:
        """Share of the slide that is tissue, in [0, 1]."""
        return float(self.mask.mean())

    def measure_shares(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the share of tissue of each box.

        Parameters
        ----------
        boxes
            (n, 4): top, left, bottom, right in pixels of level 0.

        Returns
        -------
        NDArray
            (n,), in [0, 1]; 0 for a box of less than a pixel of the mask.
        """
        sums = np.pad(np.cumsum(np.cumsum(self.mask, axis=0, dtype=np.int64), axis=1), ((1, 0), (1, 0)))
        height, width = self.mask.shape
        places = np.rint(boxes / self.downsample).astype(np.int64)
        top, bottom = np.clip(places[:, 0], 0, height), np.clip(places[:, 2], 0, height)
        left, right = np.clip(places[:, 1], 0, width), np.clip(places[:, 3], 0, width)
        # A field smaller than a pixel of the mask counts as the pixel in which it lies.
        bottom, right = np.maximum(bottom, np.minimum(top + 1, height)), np.maximum(right, np.minimum(left + 1, width))
        inside = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
        area = (bottom - top) * (right - left)
        shares: NDArray[np.float64] = inside / np.maximum(area, 1)
        return shares


def find_tissue(slide: Slide) -> Tissue:
    """Find the tissue of a slide in its smallest picture that is not too small; other threads may run meanwhile.

    A damaged part of that picture counts as tissue, because finer levels may be whole there; it is reported.

    Raises
    ------
    MedSegError
        If nothing of the slide can be read there.
    """
    picture, damaged, downsample = _read_parts(slide, SEARCH_PX)
    if damaged.all():
        raise MedSegError(f"no part of the overview of {slide.name} can be read. Copy or export the slide again.")
    if damaged.any():
        report_damage(
            f"{damaged.mean():.1%} of the overview of {slide.name} is damaged; it counts as tissue, because full "
            "resolution may be whole there."
        )
        picture[damaged] = np.percentile(picture[~damaged], 90, axis=0)
    return Tissue(find_tissue_in_picture(picture) | damaged, downsample)


def read_overview(slide: Slide, max_px: int) -> tuple[NDArray[np.uint8], float]:
    """Return the whole slide, (height, width, 3), reduced to at most `max_px`, and its downsample.

    The coarsest level that is at least half as large is read, strip by strip. What is damaged is white.
    """
    picture, _, downsample = _read_parts(slide, max_px)
    return picture, downsample


def _read_parts(slide: Slide, max_px: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_], float]:
    """Return the picture, where it is damaged, and its downsample."""
    whole = slide.levels[0]
    wanted = max(whole.height, whole.width) / max_px
    fine = [n for n, level in enumerate(slide.levels) if level.downsample <= max(1.0, wanted) * 1.001]
    number = max(fine, key=lambda n: slide.levels[n].downsample)
    if max(slide.levels[-1].height, slide.levels[-1].width) * 2 >= max_px:
        number = len(slide.levels) - 1  # coarse enough, and the fastest
    level = slide.levels[number]
    factor = 1
    while max(level.height, level.width) > max_px * factor:
        factor *= 2
    rows, columns = -(-level.height // factor), -(-level.width // factor)
    picture, damaged = np.full((rows, columns, 3), 255, np.uint8), np.zeros((rows, columns), bool)
    step = max(factor, _STRIP_PX // factor * factor)
    waiting = [(y, x, step) for y in range(0, level.height, step) for x in range(0, level.width, step)]
    while waiting:
        y, x, side = waiting.pop()
        height, width = min(side, level.height - y), min(side, level.width - x)
        if height <= 0 or width <= 0:
            continue
        place = (slice(y // factor, -(-(y + height) // factor)), slice(x // factor, -(-(x + width) // factor)))
        try:
            picture[place] = reduce_pixels(slide.read(number, y, x, height, width), factor)
        except DamagedPartError:
            half = max(factor, -(-side // 2 // factor) * factor)
            if half == side or side <= _LEAST_PART_PX:
                damaged[place] = True
            else:  # a part has many tiles, and one of them is damaged
                waiting += [(y + down, x + right, half) for down in (0, half) for right in (0, half)]
    return picture, damaged, level.downsample * factor


def find_tissue_in_picture(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where tissue is in a small picture of a slide, (height, width, 3) to (height, width)."""
    values = picture.astype(np.float32)
    bright = values[values.mean(axis=-1) > np.percentile(values.mean(axis=-1), 50)]
    glass = np.percentile(bright if bright.size else values.reshape(-1, 3), 90, axis=0) if values.size else 255.0
    density = np.log10((np.maximum(glass, 150.0) + 1) / (values + 1)).clip(0).max(axis=-1)
    is_black = (picture < BLACK).all(axis=-1)
    density[is_black] = 0
    density = ndimage.gaussian_filter(density, 1.0)
    if density.size == 0 or density.max() < MIN_DENSITY:
        return np.zeros(picture.shape[:2], bool)
    threshold = min(max(float(threshold_otsu(density)), MIN_DENSITY), MAX_THRESHOLD)
    mask = ndimage.binary_closing(np.pad(density > threshold, 3), disk(2))[3:-3, 3:-3] & ~is_black
    return _drop_small_pieces(mask)


def _drop_small_pieces(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    pieces, n_pieces = ndimage.label(mask)
    if n_pieces == 0:
        return mask
    sizes = np.bincount(pieces.ravel(), minlength=n_pieces + 1)
    kept = sizes >= MIN_PIECE_PX
    kept[0] = False
    chosen: NDArray[np.bool_] = kept[pieces]
    return chosen
