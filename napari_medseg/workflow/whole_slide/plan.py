"""What a prediction of a whole slide is going to do: resolution, chunks on tissue, grey values, space on the disk."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.records import now
from napari_medseg.core.slides.slide import DamagedPartError, Slide
from napari_medseg.workflow.whole_slide.chunks import FIELD_PX, ChunkGrid, divide_grid, find_chunks_on_tissue
from napari_medseg.workflow.whole_slide.grid import ModelGrid, choose_grid, read_grid
from napari_medseg.workflow.whole_slide.manifest import Manifest, SlideIdentity, read_manifest

BYTES_PER_PIXEL = {True: 0.15, False: 0.02}
"""Labels of objects and of classes with all reduced levels and records, compressed: `benchmarks/whole_slide.py`."""
SPARE_BYTES = 200 * 2**20
MAX_SAMPLES = 64
"""Grey values are measured in so many chunks at most, evenly over the tissue."""
SAMPLE_PX = 512
WHOLE_IMAGE_STEPS = (
    "largest_component_per_label",
    "separate_touching_lungs",
    "consistent_over_slices",
    "drop_parts_apart",
)
"""Steps of postprocessing that need all of an image at once."""


@dataclass(frozen=True, eq=False)
class SlidePlan:
    """What is going to be predicted; `n_bytes` is how much of the disk it takes, about."""

    manifest: Manifest
    n_bytes: int
    remarks: tuple[str, ...] = ()

    @property
    def n_chunks(self) -> int:
        """How many chunks are predicted."""
        return len(self.manifest.chunk_numbers)

    @property
    def text(self) -> str:
        """The plan in one line."""
        grid, area = self.manifest.grid, self.area_mm2
        size = f"{area:,.0f} mm² of tissue, " if area is not None and area >= 1 else ""
        at = "" if grid.um_per_px is None else f" at {grid.um_per_px:.3g} µm per pixel"
        chunks = f"{self.n_chunks:,} chunk{'s' * (self.n_chunks != 1)}{at}"
        return f"{self.manifest.model}: {size}{chunks}; about {self.n_bytes / 1e6:,.0f} MB on the disk"

    @property
    def area_mm2(self) -> float | None:
        """Area of all chunks; `None` if the slide does not say its resolution."""
        pixel = self.manifest.grid.pixel_area_mm2
        return None if pixel is None else pixel * _count_pixels(self.manifest.chunks, self.manifest.chunk_numbers)


def make_plan(
    slide: Slide, card: ModelCard, tissue: NDArray[np.bool_] | None = None, um_per_px: float | None = None
) -> SlidePlan:
    """Return what a model is going to predict of a slide.

    Parameters
    ----------
    slide
        An open slide.
    card
        Of the model.
    tissue
        bool (h, w): a reduced picture of the whole slide, True on tissue; `None` to predict all of it.
    um_per_px
        Resolution to predict at; `None` for that of the card.

    Raises
    ------
    MedSegError
        If the model cannot work chunk by chunk, the slide is too coarse, or there is no tissue.
    """
    refuse_unsuitable(card)
    wanted = um_per_px or card.um_per_px
    grid = choose_grid(slide, wanted)
    chunks = divide_grid(grid.height, grid.width, card)
    every = list(range(chunks.n_rows * chunks.n_columns))
    numbers = every if tissue is None else find_chunks_on_tissue(chunks, tissue)
    if not numbers:
        raise MedSegError(f"no tissue was found on {slide.name}. Predict the whole slide, glass included.")
    manifest = Manifest(
        slide=SlideIdentity.of(slide),
        model=card.id,
        weights_sha256=card.weights_sha256,
        task=card.task,
        own_task=card.own_task,
        grid=grid,
        core_px=chunks.core_px,
        halo_px=chunks.halo_px,
        intensity_range=measure_intensities(slide, grid, chunks, numbers, card),
        chunk_numbers=numbers,
        created=now(),
        code_version=version("napari-medseg"),
    )
    n_bytes = round(_count_pixels(chunks, numbers) * BYTES_PER_PIXEL[card.instances is not None])
    return SlidePlan(manifest, n_bytes, tuple(_list_remarks(slide, card, grid, wanted)))


def refuse_unsuitable(card: ModelCard) -> None:
    """Refuse a model that cannot predict a slide chunk by chunk; raises `MedSegError`."""
    reason = ""
    if card.field is not None:
        reason = f"it works inside the {card.field.task} of a whole image"
    elif steps := [step.name for step in card.postprocessing if step.name in WHOLE_IMAGE_STEPS]:
        reason = f"its step {steps[0]!r} needs the whole image at once"
    elif card.architecture.in_channels not in (1, 3):
        reason = f"it takes {card.architecture.in_channels} channels, and a slide has three"
    if reason:
        raise MedSegError(f"{card.id} cannot predict a slide chunk by chunk: {reason}. Choose a model for histology.")


def refuse_other_choice(output: Path, slide: Slide, um_per_px: float | None, *, everywhere: bool) -> None:
    """Refuse to go on with a prediction that was begun at another resolution, or without the glass.

    Parameters
    ----------
    output, slide
        Folder of the prediction, and the slide.
    um_per_px, everywhere
        What is wanted now; `None` and false stand for what was chosen when it was begun.

    Raises
    ------
    MedSegError
        If something else is wanted than was begun.
    """
    manifest = read_manifest(output)
    problems = []
    if um_per_px is not None and choose_grid(slide, um_per_px) != manifest.grid:
        begun = manifest.grid.um_per_px
        problems.append(f"at {begun:.3g} µm per pixel, not {um_per_px:.3g}" if begun else "at level 0")
    if everywhere and len(manifest.chunk_numbers) < manifest.chunks.n_rows * manifest.chunks.n_columns:
        problems.append("only where tissue is, not everywhere")
    if problems:
        raise MedSegError(
            f"the prediction in {output} was begun {' and '.join(problems)}. Choose another folder for a new one, or "
            "leave out these options to go on with it."
        )


def refuse_full_disk(folder: Path, n_bytes: int) -> None:
    """Refuse a prediction that the disk has no space for; raises `MedSegError`."""
    place = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    free = shutil.disk_usage(place).free
    if free < n_bytes + SPARE_BYTES:
        raise MedSegError(
            f"the labels need about {n_bytes / 1e6:,.0f} MB, but the disk of {folder} has {free / 1e6:,.0f} MB free. "
            "Free disk space, or choose a folder on another disk."
        )


def measure_intensities(
    slide: Slide, grid: ModelGrid, chunks: ChunkGrid, numbers: Sequence[int], card: ModelCard
) -> tuple[float, float] | None:
    """Return the grey values that the network is shown as 0 and 1: the card's percentiles over the tissue.

    All chunks get the same ones: with percentiles of its own each chunk would be a little brighter or darker than the
    next, and labels would show it. Few chunks are sampled everywhere, many in a square each. `None` if no part can be
    read; then each chunk has its own.
    """
    chosen = numbers[:: -(-len(numbers) // MAX_SAMPLES)]
    step = 2 if len(numbers) <= MAX_SAMPLES // 4 else 1
    samples = []
    for number in chosen:
        rows, columns = chunks.get_core(number)
        height, width = rows.stop - rows.start, columns.stop - columns.start
        top, left = rows.start, columns.start
        if step == 1:
            top, left = top + max(0, height - SAMPLE_PX) // 2, left + max(0, width - SAMPLE_PX) // 2
            height, width = min(height, SAMPLE_PX), min(width, SAMPLE_PX)
        try:
            samples.append(read_grid(slide, grid, top, left, height, width)[::step, ::step].reshape(-1))
        except DamagedPartError:
            continue
    if not samples:
        return None
    wanted = (card.preprocessing.percentile_low, card.preprocessing.percentile_high)
    up_to = np.cumsum(np.sum([np.bincount(sample, minlength=256) for sample in samples], axis=0))
    low, high = (float(np.searchsorted(up_to, per_cent / 100.0 * (up_to[-1] - 1), side="right")) for per_cent in wanted)
    return (low, high) if high > low else (low, low + 1.0)


def _count_pixels(chunks: ChunkGrid, numbers: Sequence[int]) -> int:
    return sum(
        (rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in map(chunks.get_core, numbers)
    )


def _list_remarks(slide: Slide, card: ModelCard, grid: ModelGrid, wanted: float | None) -> list[str]:
    remarks = []
    if grid.um_per_px is None:
        remarks.append(f"{slide.name} does not say its resolution: level 0 is predicted, and densities have no unit.")
    elif wanted is None:
        remarks.append(f"{card.id} does not say at which resolution it learnt: level 0 is predicted.")
    elif grid.factor < 1.0:
        remarks.append(
            f"{slide.name} is coarser than the images that {card.id} learnt from; "
            f"it is enlarged {1 / grid.factor:.1f} x."
        )
    if card.preprocessing.max_side_px < FIELD_PX:
        remarks.append(f"{card.id} reduces what it is shown: a chunk is as large as a field of {FIELD_PX} pixels.")
    if "equalise" in card.preprocessing.steps:
        remarks.append(f"{card.id} evens out the grey values of each chunk by itself: borders of chunks may show.")
    return remarks
