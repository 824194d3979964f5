"""The device of a network, and its batch and tile sizes."""

import logging
from dataclasses import dataclass

import torch

from napari_medseg.core.errors import look_up

logger = logging.getLogger(__name__)


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


def choose_device(wanted: str | None = None) -> torch.device:
    """Return the device with a name, or the fastest available kind: cuda, mps, cpu.

    Raises
    ------
    MedSegError
        If the wanted device is not available.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    available = {name: torch.device(name) for name in there if there[name] and _can_compute(name)}
    if wanted is None:
        return next(iter(available.values()))
    look_up(available, wanted.partition(":")[0], problem=f"there is no device {wanted!r} here")
    return torch.device(wanted)


def describe_device(device: torch.device) -> str:
    """Return the name of the device to show, such as ``CUDA: NVIDIA RTX 4070``."""
    if device.type == "cuda":
        return f"CUDA: {torch.cuda.get_device_name(device)}"
    return "GPU (Apple)" if device.type == "mps" else "CPU"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is a failed allocation; torch reports it in several ways."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return any(words in text for words in ("out of memory", "not enough memory", "can't allocate memory"))


def free_cached_memory(device: torch.device) -> None:
    """Release the memory that torch caches on the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def _can_compute(kind: str) -> bool:
    """Whether a device works: torch also lists GPUs that are too old, full, or lost by their driver."""
    try:
        return float(torch.ones(2, device=kind).sum()) == 2.0
    except RuntimeError:
        logger.warning("cannot compute on %s", kind, exc_info=True)
        return False
