"""Record the probabilities of a prediction in a file while the network computes, from the same logits as the labels."""

import contextlib
import logging
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_medseg.core.errors import get_reason
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import ModelCard
from napari_medseg.inference.accumulator import compute_expected_depth
from napari_medseg.inference.preprocess import PreparedImage, restore
from napari_medseg.inference.probabilities.probability_file import LARGEST, ProbabilityHeader, ProbabilityWriter
from napari_medseg.inference.roi import Box
from napari_medseg.inference.watershed import CORE_DEPTH

logger = logging.getLogger(__name__)

MAX_WAITING = 4
"""Planes that wait for their compression; more would take memory."""


@contextlib.contextmanager
def record_probabilities(
    path: Path | None, image: Image, card: ModelCard, box: Box | None
) -> Iterator["ProbabilityRecorder | None"]:
    """Yield the observer that writes the probabilities; the file appears when the context ends without an error.

    The probabilities are a help: if they cannot be written, such as on a full disk, the prediction goes on without
    them, and there is no file.

    Parameters
    ----------
    path
        The file to write; `None` to write none.
    image, card
        The image that is predicted, and the card of the model.
    box
        The part of each plane that the network sees; `None` for all of it.
    """
    if path is None:
        yield None
        return
    height, width = image.spatial_shape[-2:]
    rows, columns = box or (slice(0, height), slice(0, width))
    header = ProbabilityHeader(
        shape=image.spatial_shape,
        n_maps=card.architecture.classes if card.instances is None else len(("object", "depth")),
        maps="classes" if card.instances is None else "objects",
        corner=(rows.start, columns.start),
        size=(rows.stop - rows.start, columns.stop - columns.start),
        weights_sha256=card.weights_sha256,
    )
    recorder = ProbabilityRecorder(path, card)
    try:
        yield recorder
        recorder.finish(header)
    finally:
        recorder.close()


class ProbabilityRecorder:
    """A `LogitsObserver` that writes the probabilities of each plane to a file; see `record_probabilities`."""

    def __init__(self, path: Path, card: ModelCard) -> None:
        self._card = card
        self._waiting: list[Future[None]] = []
        self._thread = ThreadPoolExecutor(1, "probabilities")  # compresses while the network computes
        self._writer: ProbabilityWriter | None = None
        try:
            self._writer = ProbabilityWriter(path)
        except OSError as error:
            self._give_up(error)

    def reset_plane(self, plane: int) -> None:
        """Do nothing: the rows of a repeated plane replace those before."""

    def put_rows(self, plane: int, first: int, logits: Tensor, prepared: PreparedImage) -> None:
        """As in `LogitsObserver`: logits (1, classes, rows, w) of a plane, starting at its row `first`."""
        n_rows = min(logits.shape[-2], prepared.plane_shape[0] - first)
        if self._writer is None or n_rows <= 0:
            return
        if n_rows < prepared.plane_shape[0]:  # a band of a plane that is not resampled
            band = (n_rows, prepared.plane_shape[1])
            prepared = replace(prepared, plane_shape=band, native_plane_shape=band)
        compute = compute_class_probabilities if self._card.instances is None else compute_object_maps
        maps = compute(logits, prepared, self._card.calibration.applied_temperature)
        self._waiting.append(self._thread.submit(self._writer.write, plane, first, maps))
        if len(self._waiting) > MAX_WAITING:
            self._wait_for_one()

    def finish(self, header: ProbabilityHeader) -> None:
        """Complete the file."""
        while self._waiting:
            self._wait_for_one()
        try:
            if self._writer is not None:
                self._writer.finish(header)
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """End the thread, and remove a file that is not complete."""
        self._thread.shutdown(cancel_futures=True)
        if self._writer is not None:
            self._writer.abandon()

    def _wait_for_one(self) -> None:
        try:
            self._waiting.pop(0).result()
        except (OSError, ValueError) as error:  # a full disk, and what follows in the archive
            self._give_up(error)

    def _give_up(self, error: OSError | ValueError) -> None:
        logger.warning("the model's probabilities are not kept: %s", get_reason(error))
        if (writer := self._writer) is not None:
            self._writer = None
            self._thread.shutdown(cancel_futures=True)
            self._waiting.clear()
            writer.abandon()


def compute_class_probabilities(logits: Tensor, prepared: PreparedImage, temperature: float) -> NDArray[np.uint8]:
    """Return the calibrated probability of each class on the image's own plane, in 1/255.

    One class is restored at a time, so that a large photograph is never in memory once per class as float.

    Parameters
    ----------
    logits
        (1, classes, h, w) on the prepared plane.
    prepared
        Says how the prepared plane lies on the native one.
    temperature
        Of the card; logits are divided by it.

    Returns
    -------
    NDArray
        uint8 (classes, y, x). Where two classes are equally likely, the labels have their border.
    """
    n_classes = logits.shape[1]
    if n_classes == 2:
        more = restore(logits[:, 1:] - logits[:, :1], prepared)[0, 0].float()
        other = _to_uint8(torch.sigmoid(more / temperature))
        return np.stack([LARGEST - other, other])
    if prepared.plane_shape == prepared.native_plane_shape:
        return _to_uint8(torch.softmax(restore(logits, prepared)[0].float() / temperature, dim=0))
    total = _restore_class(logits, 0, prepared, temperature)
    for value in range(1, n_classes):
        total = torch.logaddexp(total, _restore_class(logits, value, prepared, temperature))
    maps = np.empty((n_classes, *prepared.native_plane_shape), np.uint8)
    for value in range(n_classes):
        maps[value] = _to_uint8(torch.exp(_restore_class(logits, value, prepared, temperature) - total))
    return maps


def compute_object_maps(logits: Tensor, prepared: PreparedImage, temperature: float) -> NDArray[np.uint8]:
    """Return the probability of any object and the expected depth inside it, from logits of depth classes.

    Shapes as in `compute_class_probabilities`; uint8 (2, y, x), both in 1/255.
    """
    depth = restore(compute_expected_depth(logits), prepared)[0, 0] / CORE_DEPTH
    inside = torch.logsumexp(logits[:, 1:].float(), dim=1, keepdim=True) - logits[:, :1].float()
    return np.stack([_to_uint8(torch.sigmoid(restore(inside, prepared)[0, 0] / temperature)), _to_uint8(depth)])


def _restore_class(logits: Tensor, value: int, prepared: PreparedImage, temperature: float) -> Tensor:
    return restore(logits[:, value : value + 1], prepared)[0, 0].float() / temperature


def _to_uint8(probability: Tensor) -> NDArray[np.uint8]:
    stored: NDArray[np.uint8] = (probability * LARGEST).round_().to(torch.uint8).cpu().numpy()
    return stored
