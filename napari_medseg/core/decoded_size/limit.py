"""How much memory the pixels of an image may take. `refuse_above_limit` decides it, before anything is decoded.

A header of a few bytes can announce terabytes, and a compressed stream can hold a thousand times its size. So each
reader computes from the header what the pixels will take, and asks here. Allowed is the smaller one of two limits:

- a quarter of the free memory. The other three quarters are for what else the program makes of an image: the layer, its
  labels, a prediction, and reading itself, which takes at most twice the pixels.
- 200 times the size on disk. Images of patients shrink to a half or a tenth; only made-up files shrink more. Honest
  exceptions are nearly empty: a label map, a black volume, a drawing. deflate shrinks them 1,000 to 1. So this limit
  starts at `ALWAYS_PLAUSIBLE_BYTES`: a label map of 512 x 512 x 1,000 voxels of 16 bits (524 MB) and a drawing of
  14,900 px square in colour (666 MB) still fit, and what a forged file takes is harmless on any machine that can run
  the program.

What a person allows, by `--max-memory` or in the preferences, replaces both. So does a size that is known otherwise: a
file of a project belongs to an image whose shape the database knows.
"""

import contextlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from napari_medseg.core.decoded_size.free_memory import measure_free_bytes, measure_left_of_bound
from napari_medseg.core.decoded_size.freed_memory import return_freed_memory
from napari_medseg.core.errors import MedSegError

FREE_SHARE = 0.25
"""Share of the free memory that the pixels of one image may take."""
MAX_RATIO = 200
"""Bytes in memory per byte on disk."""
ALWAYS_PLAUSIBLE_BYTES = 640 * 2**20
"""Whatever the size on disk, so many bytes are no sign of a forged file."""
DEFLATE_MAX_RATIO = 1032
"""Bytes that deflate makes of one byte at most (https://zlib.net/zlib_tech.html): what claims more is damaged."""
LABEL_BYTES = 4
"""Of the largest type of labels."""
MAX_VALUE_BYTES = 8
"""Of the largest type of images."""
MAX_MEMORY_OPTION = "--max-memory"
"""Of the commands that read images, and of the processes that they start; there it is in bytes."""
_OF_WORKER = "of the --memory of this worker"
_AS_EXPECTED = "what the image that it belongs to needs"
_UNITS = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?", re.IGNORECASE)

_allowed_bytes: int | None = None
"""What a person allowed. State of the process, because memory belongs to the process: all its threads read images."""


@dataclass(frozen=True)
class SizeLimit:
    """Bytes that an image may take, and why not more."""

    n_bytes: int
    reason: str


def set_max_memory(n_bytes: int | None) -> None:
    """Allow the pixels of one image this many bytes, instead of what is computed; `None` to compute it again."""
    global _allowed_bytes
    _allowed_bytes = n_bytes


def get_max_memory() -> int | None:
    """Return what a person allowed in bytes; `None` if nothing was set."""
    return _allowed_bytes


@contextlib.contextmanager
def allow_memory(n_bytes: int | None) -> Iterator[None]:
    """Allow it for a while, as `set_max_memory` does; `None` changes nothing."""
    before = get_max_memory()
    set_max_memory(before if n_bytes is None else n_bytes)
    try:
        yield
    finally:
        set_max_memory(before)


def make_memory_arguments() -> list[str]:
    """Return the words that tell another process of ours what a person allowed; none if nothing was set."""
    return [] if _allowed_bytes is None else [MAX_MEMORY_OPTION, str(_allowed_bytes)]


def parse_size(text: str) -> int:
    """Return the bytes in a text such as ``"8GB"``, ``"500 MB"`` or ``"4GiB"``.

    Raises
    ------
    MedSegError
        If it is no number with a unit, or not above 0.
    """
    found = _SIZE.fullmatch(text.strip())
    n_bytes = int(float(found[1]) * _UNITS[(found[2] or "").lower()]) if found else 0
    if n_bytes <= 0:
        raise MedSegError(f"{text!r} is no amount of memory. Give a number and its unit, such as 8GB or 500MB.")
    return n_bytes


def compute_limit(disk_bytes: int, expected_bytes: int | None = None) -> SizeLimit:
    """Return the bytes that the pixels of an image may take.

    Parameters
    ----------
    disk_bytes
        Its size on disk.
    expected_bytes
        What it takes at most, if that is known otherwise: then nothing else counts. `None` if only the file says it.
    """
    if expected_bytes is not None:
        return SizeLimit(expected_bytes, _AS_EXPECTED)
    left = measure_left_of_bound()
    if _allowed_bytes is not None and (left is None or _allowed_bytes <= left):
        return SizeLimit(_allowed_bytes, "as you set it")
    if _allowed_bytes is not None and left is not None:
        return SizeLimit(left, f"which is left {_OF_WORKER}")
    free = measure_free_bytes()
    where = "of free memory" if left is None else f"that are left {_OF_WORKER}"
    by_memory = SizeLimit(int(free * FREE_SHARE), f"{FREE_SHARE:.0%} of the {format_bytes(free)} {where}")
    by_ratio = SizeLimit(
        max(ALWAYS_PLAUSIBLE_BYTES, MAX_RATIO * disk_bytes), f"{MAX_RATIO} times its {format_bytes(disk_bytes)} on disk"
    )
    if by_ratio.n_bytes == ALWAYS_PLAUSIBLE_BYTES:
        by_ratio = SizeLimit(ALWAYS_PLAUSIBLE_BYTES, f"because it has only {format_bytes(disk_bytes)} on disk")
    return min(by_memory, by_ratio, key=lambda limit: limit.n_bytes)


def refuse_above_limit(
    n_bytes: int, disk_bytes: int, name: str, *, is_exact: bool = True, expected_bytes: int | None = None
) -> None:
    """Refuse an image that would take too much memory. All readers ask here before they decode.

    Parameters
    ----------
    n_bytes
        Bytes of its pixels once decoded; of a series, those of all files.
    disk_bytes
        Size of its files on disk.
    name
        Name of the file or series.
    is_exact
        Whether `n_bytes` is all that it takes; otherwise it takes at least as much.
    expected_bytes
        As of `compute_limit`.

    Raises
    ------
    MedSegError
        Says what the image would take, what is allowed and why, and how to allow more.
    """
    limit = compute_limit(disk_bytes, expected_bytes)
    if n_bytes > limit.n_bytes:  # a process that keeps what it frees must not refuse an image because of it
        return_freed_memory()
        limit = compute_limit(disk_bytes, expected_bytes)
    if n_bytes <= limit.n_bytes:
        return
    amount = format_bytes(n_bytes) if is_exact else f"more than {format_bytes(n_bytes)}"
    found = f"{name} would take {amount} of memory; {format_bytes(limit.n_bytes)} are allowed ({limit.reason}). "
    if expected_bytes is not None:
        raise MedSegError(found + "It is damaged, or belongs to another image. Restore it from a backup.")
    if limit.reason.endswith(_OF_WORKER):
        raise MedSegError(
            f"{found}Give each worker more with --memory, or start fewer workers. If the image is not that large, it "
            "is damaged: export it again."
        )
    raise MedSegError(
        f"{found}"
        f"It is damaged, or larger than usual. If you trust it, allow more: {MAX_MEMORY_OPTION} "
        f"{_suggest(n_bytes if is_exact else 2 * n_bytes)} on the command line, or Preferences in the window. "
        "Otherwise export it again, or only a part of it."
    )


def format_bytes(n_bytes: float) -> str:
    """Return an amount as text, in units of 1,000: ``"4.7 GB"``."""
    for unit in ("bytes", "KB", "MB", "GB", "TB"):
        if n_bytes < 999.5 or unit == "TB":
            break
        n_bytes /= 1000
    return f"{n_bytes:,.0f} {unit}" if n_bytes >= 100 or unit == "bytes" else f"{n_bytes:,.3g} {unit}"


def _suggest(n_bytes: int) -> str:
    """Return a round amount that is enough, as `parse_size` reads it."""
    return f"{math.ceil(n_bytes / 1e9)}GB" if n_bytes >= 1e9 else f"{math.ceil(n_bytes / 1e6)}MB"
