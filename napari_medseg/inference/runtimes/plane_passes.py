"""Forward passes over planes: several whole planes at once, or the tiles of one large plane, blended."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_medseg.inference.accumulator import PredictionAccumulator, RowBlender
from napari_medseg.inference.batch_limits import BatchLimits
from napari_medseg.inference.events import PredictionProgress, PredictionTimer
from napari_medseg.inference.preprocess import PreparedImage
from napari_medseg.inference.runtimes.openvino_network import PlaneNetwork
from napari_medseg.inference.tiling import TileSpan, compute_tile_spans


class PassObserver(Protocol):
    """Learns from passes that are needed anyway; a `Tuner` does."""

    def observe(self, planes: NDArray[np.float32], logits: Tensor, seconds: float) -> None:
        """Take the planes (n, c, h, w) of a pass, their logits (n, classes, h, w) and the seconds of the call."""


@dataclass(frozen=True, eq=False)
class PlanePasses:
    """The passes of one prediction.

    Parameters
    ----------
    network, device, limits
        What computes, where, and how much at once.
    accumulator
        Takes the logits.
    timer
        Of the prediction.
    observer
        Is told of each pass; `None` if nobody needs it.
    """

    network: PlaneNetwork
    device: torch.device
    limits: BatchLimits
    accumulator: PredictionAccumulator
    timer: PredictionTimer
    observer: PassObserver | None = None

    def run(self, prepared: PreparedImage, first: int) -> Iterator[PredictionProgress]:
        """Predict planes, the first of which has the index `first`; yield progress after each pass."""
        n_planes = len(self.accumulator.labels)
        if prepared.planes[0, 0].size > self.limits.max_untiled_px:
            yield from self._run_tiles(prepared, first)
            return
        logits = self._compute(prepared.planes)
        for index in range(len(logits)):
            self.accumulator.put_plane(first + index, logits[index : index + 1], prepared)
        done = first + len(logits)
        yield self.timer.make_progress(done, n_planes, f"slice {done} of {n_planes}" if n_planes > 1 else "1 slice")

    def _run_tiles(self, prepared: PreparedImage, plane: int) -> Iterator[PredictionProgress]:
        pixels, accumulator = prepared.planes[0], self.accumulator
        limits, n_planes = self.limits, len(accumulator.labels)
        rows, columns = (compute_tile_spans(side, limits.tile_px, limits.overlap_px) for side in pixels.shape[-2:])
        n_tiles = len(rows) * len(columns)
        resampled = prepared.plane_shape != prepared.native_plane_shape
        whole = torch.empty((1, accumulator.n_classes, *pixels.shape[-2:]), dtype=torch.float16) if resampled else None
        bands = RowBlender(accumulator.n_classes, rows[0].stop, pixels.shape[-1], self.device)
        accumulator.reset_plane(plane)
        for index, row in enumerate(rows):
            for done in self._blend_row(pixels, row, columns, bands):
                tile = index * len(columns) + done
                text = f"tile {tile} of {n_tiles}" + (f", slice {plane + 1} of {n_planes}" if n_planes > 1 else "")
                yield self.timer.make_progress(plane * n_tiles + tile, n_planes * n_tiles, text)
            top = bands.first_row
            finished = bands.pop_rows(rows[index + 1].start if index + 1 < len(rows) else row.stop)
            if whole is None:
                accumulator.put_rows(plane, top, finished, prepared)
            else:
                whole[:, :, top : bands.first_row] = finished
        if whole is not None:
            accumulator.put_plane(plane, whole.float(), prepared)

    def _blend_row(
        self, pixels: NDArray[np.float32], row: TileSpan, columns: list[TileSpan], bands: RowBlender
    ) -> Iterator[int]:
        """Predict one row of tiles, several at once if the device allows it; yield how many are done."""
        height, width = row.stop - row.start, columns[0].stop - columns[0].start
        at_once = max(1, self.limits.batch_px // (height * width))
        down = torch.from_numpy(row.weights).to(self.device)[:, None]
        for first in range(0, len(columns), at_once):
            group = columns[first : first + at_once]
            tiles = np.stack([pixels[:, row.start : row.stop, column.start : column.stop] for column in group])
            for column, logits in zip(group, self._compute(tiles), strict=True):
                bands.add_tile(logits, column.start, down * torch.from_numpy(column.weights).to(self.device))
            yield first + len(group)

    def _compute(self, planes: NDArray[np.float32]) -> Tensor:
        began = time.perf_counter()
        logits = self.network.compute_logits(planes)
        if self.observer is not None:
            self.observer.observe(planes, logits, time.perf_counter() - began)
        return logits
