"""Batch and tile sizes of each kind of device, and smaller ones when memory runs out."""

from dataclasses import dataclass, replace

from napari_medseg.core.image import Image
from napari_medseg.core.model_card import ModelCard
from napari_medseg.inference.preprocess import compute_plane_shape, get_planes_shape
from napari_medseg.inference.tiling import ALIGNMENT_PX

SMALLEST_TILE_PX = 128


@dataclass(frozen=True)
class BatchLimits:
    """How much goes through the network in one forward pass.

    Parameters
    ----------
    batch_px
        Maximum pixels of the planes or tiles in one batch.
    max_untiled_px
        Planes with more pixels are divided into tiles.
    tile_px
        Longest side of a tile, a multiple of 32.
    overlap_px
        Width of the strip that neighbouring tiles share.
    """

    batch_px: int
    max_untiled_px: int
    tile_px: int
    overlap_px: int


DEVICE_LIMITS = {
    # Layers of a U-Net on more than 0.6 MP leave the caches and the allocator's pools: measured with MobileNetV2 in
    # bf16 on two cores, 0.15 s/MP for 2 x 512 x 512, 0.16 for 768 x 768, 0.21 for 1024 x 1024, 0.31 for 8 x 512 x 512.
    # It also limits a forward pass to a tenth of a second, so that Cancel is checked often.
    "cpu": BatchLimits(batch_px=600_000, max_untiled_px=1_100_000, tile_px=768, overlap_px=112),
    "cuda": BatchLimits(batch_px=8_000_000, max_untiled_px=9_000_000, tile_px=2048, overlap_px=112),
    "mps": BatchLimits(batch_px=2_200_000, max_untiled_px=4_200_000, tile_px=1536, overlap_px=112),
}


def count_planes_per_batch(image: Image, card: ModelCard, limits: BatchLimits) -> int:
    """Return the number of an image's planes per batch; at least 1, also for very large planes."""
    _, *native = get_planes_shape(image)
    height, width = compute_plane_shape((native[0], native[1]), card.preprocessing)
    return max(1, limits.batch_px // (height * width))


def reduce_limits(limits: BatchLimits, n_planes: int, height: int, width: int) -> tuple[BatchLimits, str] | None:
    """Return smaller limits after memory ran out, and what they are: fewer planes, then tiles, then smaller tiles.

    Parameters
    ----------
    limits
        Limits with which it ran out.
    n_planes, height, width
        Size of the batch that did not fit.

    Returns
    -------
    tuple or None
        `None` if there are no smaller ones.
    """
    if n_planes > 1:
        return replace(limits, batch_px=n_planes // 2 * height * width), f"{n_planes // 2} slices at once"
    longest = get_longest_side(limits, height, width)
    tile = longest // 2 // ALIGNMENT_PX * ALIGNMENT_PX
    if tile < SMALLEST_TILE_PX:
        return None
    max_untiled_px, overlap_px = min(limits.max_untiled_px, height * width - 1), min(limits.overlap_px, tile // 2)
    return BatchLimits(0, max_untiled_px, tile, overlap_px), f"tiles of {tile} px"


def get_longest_side(limits: BatchLimits, height: int, width: int) -> int:
    """Return the longest side, in pixels, of what goes through the network at once from such a plane."""
    return limits.tile_px if height * width > limits.max_untiled_px else max(height, width)
