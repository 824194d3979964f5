"""Image in, labels out: whole planes in batches where they fit, blended tiles where they do not, on any device."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_medseg.core.cards import ModelCard
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.inference.answer import Answer, Bands
from napari_medseg.inference.device import (
    LIMITS,
    Limits,
    autocast_dtype,
    choose_device,
    device_title,
    free_cached_memory,
    is_out_of_memory,
)
from napari_medseg.inference.postprocess import apply_step
from napari_medseg.inference.runner import Runner
from napari_medseg.inference.tiles import ALIGNMENT_PX, Span, spans
from napari_medseg.inference.transforms import Prepared, plane_shape_for, prepare
from napari_medseg.networks import load_version

logger = logging.getLogger(__name__)

SMALLEST_TILE_PX = 128


@dataclass(frozen=True)
class Options:
    """What else a prediction should bring."""

    with_uncertainty_map: bool = False


@dataclass(frozen=True)
class Progress:
    """How far a prediction is; `done` of `total` pieces of work, and a guess of the seconds that are left."""

    done: int
    total: int
    text: str
    seconds_left: float


@dataclass(frozen=True)
class Notice:
    """Something a person should know; the prediction goes on."""

    text: str


@dataclass(frozen=True, eq=False)
class Result:
    """The prediction.

    Parameters
    ----------
    labels
        uint8 or uint16 on the image's own grid.
    uncertainty
        Share of the labels that is expected to be wrong, in [0, 1].
    uncertainty_map
        uint8 per cent on the same grid: probability that the voxel's label is wrong; `None` where not asked for.
    seconds
        From request to result.
    """

    labels: NDArray[np.uint8 | np.uint16]
    uncertainty: float
    uncertainty_map: NDArray[np.uint8] | None
    seconds: float


class Predictor:
    """One model version on one device. It keeps its own copy of the network, ready for inference.

    Parameters
    ----------
    network
        Maps (n, c, h, w) to logits (n, classes, h, w). It is copied, not changed.
    card
        Preprocessing, postprocessing and precision.
    device
        ``"cpu"``, ``"cuda"``, ``"mps"``; `None` for the fastest there is.
    limits
        How much goes through the network at once; `None` for what suits the device.
    """

    def __init__(
        self, network: nn.Module, card: ModelCard, device: str | None = None, limits: Limits | None = None
    ) -> None:
        self.card = card
        self.device = choose_device(device)
        self.limits = limits or LIMITS[self.device.type]
        self._runner = Runner(network, self.device, autocast_dtype(self.device, card.precision))

    @classmethod
    def load(cls, folder: Path, device: str | None = None) -> "Predictor":
        """Make the predictor of a version's folder; raise `MedSegError` where it is not whole."""
        network, card = load_version(folder)
        return cls(network, card, device)

    @property
    def title(self) -> str:
        """What a person calls the device."""
        return device_title(self.device)

    def labels_of(self, image: Image) -> NDArray[np.uint8 | np.uint16]:
        """Predict and return the labels only, on the image's own grid."""
        return next(event.labels for event in self.predict(image) if isinstance(event, Result))

    def predict(self, image: Image, options: Options | None = None) -> Iterator[Progress | Notice | Result]:
        """Yield progress after every forward pass and step, notices, and last the result. Close it to cancel.

        Raises
        ------
        MedSegError
            If the model does not take such an image, or memory does not suffice for the smallest tile.
        """
        options = options or Options()
        clock = _Clock()
        shape = _planes_shape(image)
        answer = Answer(shape, self.card.architecture.classes, options.with_uncertainty_map)
        first = 0
        while first < shape[0]:
            prepared = prepare(image, self.card, first, first + self._planes_at_once(image))
            shortage = False
            try:
                yield from self._predict_planes(prepared, first, answer, clock)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                shortage = True  # answered below: within this block the error still holds the tensors
            if shortage:
                yield self._take_less(prepared)
            else:
                first += len(prepared.planes)
        yield from self._finish(image, answer, clock)

    def _planes_at_once(self, image: Image) -> int:
        """Count the planes of one batch; those too large for a batch come one at a time."""
        _, *native = _planes_shape(image)
        height, width = plane_shape_for((native[0], native[1]), self.card.preprocessing)
        return max(1, self.limits.batch_px // (height * width))

    def _predict_planes(self, prepared: Prepared, first: int, answer: Answer, clock: "_Clock") -> Iterator[Progress]:
        n_planes = len(answer.labels)
        if prepared.planes[0, 0].size > self.limits.whole_px:
            yield from self._predict_tiles(prepared, first, answer, clock)
            return
        logits = self._runner.logits(prepared.planes)
        for index in range(len(logits)):
            answer.put_plane(first + index, logits[index : index + 1], prepared)
        done = first + len(logits)
        yield clock.progress(done, n_planes, f"slice {done} of {n_planes}" if n_planes > 1 else "1 slice")

    def _predict_tiles(self, prepared: Prepared, plane: int, answer: Answer, clock: "_Clock") -> Iterator[Progress]:
        pixels = prepared.planes[0]
        limits, n_planes = self.limits, len(answer.labels)
        rows, columns = (spans(side, limits.tile_px, limits.overlap_px) for side in pixels.shape[-2:])
        n_tiles = len(rows) * len(columns)
        resampled = prepared.plane_shape != prepared.native_plane_shape
        whole = torch.empty((1, answer.n_classes, *pixels.shape[-2:]), dtype=torch.float16) if resampled else None
        bands = Bands(answer.n_classes, rows[0].stop, pixels.shape[-1], self.device)
        answer.begin_plane(plane)
        for index, row in enumerate(rows):
            for done in self._blend_row(pixels, row, columns, bands):
                tile = index * len(columns) + done
                text = f"tile {tile} of {n_tiles}" + (f", slice {plane + 1} of {n_planes}" if n_planes > 1 else "")
                yield clock.progress(plane * n_tiles + tile, n_planes * n_tiles, text)
            top = bands.first
            finished = bands.take(rows[index + 1].start if index + 1 < len(rows) else row.stop)
            if whole is None:
                answer.put_rows(plane, top, finished, prepared)
            else:
                whole[:, :, top : bands.first] = finished
        if whole is not None:
            answer.put_plane(plane, whole.float(), prepared)

    def _blend_row(self, pixels: NDArray[np.float32], row: Span, columns: list[Span], bands: Bands) -> Iterator[int]:
        """Predict one row of tiles, several at once where the device takes them; yield how many are done."""
        height, width = row.stop - row.start, columns[0].stop - columns[0].start
        at_once = max(1, self.limits.batch_px // (height * width))
        down = torch.from_numpy(row.weights).to(self.device)[:, None]
        for first in range(0, len(columns), at_once):
            group = columns[first : first + at_once]
            tiles = np.stack([pixels[:, row.start : row.stop, column.start : column.stop] for column in group])
            for column, logits in zip(group, self._runner.logits(tiles), strict=True):
                bands.add(logits, column.start, down * torch.from_numpy(column.weights).to(self.device))
            yield first + len(group)

    def _take_less(self, prepared: Prepared) -> Notice:
        """Answer an out-of-memory error: fewer planes at once, then tiles, then smaller tiles. It is remembered."""
        free_cached_memory(self.device)
        height, width = prepared.planes.shape[-2:]
        limits = self.limits
        at_once = len(prepared.planes)
        if at_once > 1:
            self.limits = replace(limits, batch_px=at_once // 2 * height * width)
            return self._notice(f"{at_once // 2} slices at once")
        longest = limits.tile_px if height * width > limits.whole_px else max(height, width)
        tile = longest // 2 // ALIGNMENT_PX * ALIGNMENT_PX
        if tile < SMALLEST_TILE_PX:
            raise MedSegError(
                f"{self.title} has too little memory for {self.card.id}, even in tiles of {longest} px. "
                "Close other programs, or choose a smaller model."
            )
        self.limits = Limits(0, min(limits.whole_px, height * width - 1), tile, min(limits.overlap_px, tile // 2))
        return self._notice(f"tiles of {tile} px")

    def _notice(self, smaller: str) -> Notice:
        text = f"The memory of {self.title} ran out; going on with {smaller}."
        logger.info(text)
        return Notice(text)

    def _finish(self, image: Image, answer: Answer, clock: "_Clock") -> Iterator[Progress | Result]:
        labels = answer.labels.reshape(image.spatial_shape)
        for step in self.card.postprocessing:
            yield clock.progress(1, 1, step.name.replace("_", " "))
            apply_step(labels, step, image.spacing_mm)
        doubt_map = None if answer.doubt_map is None else answer.doubt_map.reshape(image.spatial_shape)
        yield Result(labels, answer.uncertainty, doubt_map, clock.seconds)


class _Clock:
    """Seconds since a prediction began, and how many are left at this pace."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    def progress(self, done: int, total: int, text: str) -> Progress:
        return Progress(done, total, text, self.seconds * (total - done) / done)


def _planes_shape(image: Image) -> tuple[int, int, int]:
    """(n, y, x) of the image's planes; a single one is a stack of one."""
    depth, height, width = (1, *image.spatial_shape)[-3:]
    if 0 in (depth, height, width):
        raise MedSegError(f"{image.name or 'the image'} has no pixels (shape {image.pixels.shape}). Open another file.")
    return depth, height, width
