"""Arrays in shared memory for window and engine, and prediction results in such arrays.

The window creates and removes them, so that none remains after a crash of the engine.
"""

import contextlib
import os
import secrets
import shutil
import sys
import traceback
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import ModelCard
from napari_medseg.inference.engine.interface import EngineUnavailable
from napari_medseg.inference.engine.protocol import ArrayRef, PartWrittenReply, PredictRequest, ResultReply
from napari_medseg.inference.events import PredictionPart, PredictionResult

LINUX_SHARED_MEMORY = Path("/dev/shm")


class SharedArray:
    """One array in shared memory; a context manager that closes it, and removes it in the process that created it.

    No view may exist when it is closed: copy with `write` and `read`, or delete the array of `view` first. After an
    error, the local variables of the failed functions are cleared, including views.
    """

    def __init__(self, memory: SharedMemory, ref: ArrayRef, owned: bool) -> None:
        self._memory = memory
        self._owned = owned
        self.ref = ref

    @classmethod
    def create(cls, shape: tuple[int, ...], dtype: DTypeLike) -> "SharedArray":
        """Make an array of zeros of this shape and type, in the machine's byte order.

        Raises
        ------
        MedSegError
            If there is too little shared memory; writing to it would kill the process.
        """
        native = np.dtype(dtype).newbyteorder("=")
        ref = ArrayRef(name="", shape=shape, dtype=native.str)
        _require_free_memory(ref.n_bytes)
        name = f"medseg_{os.getpid()}_{secrets.token_hex(4)}"  # shows the owner if one remains
        try:
            memory = SharedMemory(name, create=True, size=max(1, ref.n_bytes))
        except (OSError, MemoryError) as error:  # Windows and macOS say only now that there is too little
            raise EngineUnavailable(
                f"the image needs {ref.n_bytes / 1e6:.0f} MB of shared memory, but the system does not give them "
                f"({get_reason(error)}). Close other programs and images, or predict fewer slices at once."
            ) from error
        return cls(memory, ref.model_copy(update={"name": name}), owned=True)

    @classmethod
    def from_array(cls, array: NDArray[Any]) -> "SharedArray":
        """Make a copy of an array, of its shape and type; raises as `create`."""
        segment = cls.create(array.shape, array.dtype)
        segment.write(array)
        return segment

    @classmethod
    def attach(cls, ref: ArrayRef) -> "SharedArray":
        """Open an array of the shape and type of `ref`, which another process made and will remove.

        Raises
        ------
        MedSegError
            If the other process has removed it, or there is too little memory.
        """
        try:
            return cls(_open_untracked(ref.name), ref, owned=False)
        except FileNotFoundError as error:
            raise MedSegError("The prediction was cancelled before it started. Run it again.") from error
        except (OSError, MemoryError) as error:
            raise EngineUnavailable(
                f"the engine cannot map {ref.n_bytes / 1e6:.0f} MB of shared memory ({get_reason(error)}). Close other "
                "programs and images, or predict fewer slices at once."
            ) from error

    def view(self) -> NDArray[Any]:
        """Return the array itself, of the shape and type of `ref`, writable; drop it before the segment is closed."""
        return np.ndarray(self.ref.shape, self.ref.dtype, buffer=self._memory.buf)

    def write(self, array: NDArray[Any]) -> None:
        """Copy an array of the same shape into the shared memory."""
        self.view()[...] = array

    def read(self) -> NDArray[Any]:
        """Copy the array out, in its shape and type."""
        return self.view().copy()

    def __enter__(self) -> "SharedArray":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            traceback.clear_frames(trace)
        try:
            self._memory.close()
        except BufferError:  # an array is still in use; after an error that one is worth more than this
            if error is None:
                raise
        finally:
            if self._owned:
                self._memory.unlink()


@dataclass(frozen=True)
class SharedResult:
    """Shared arrays for one result: the engine fills them with `write_result`, the window calls `read`."""

    labels: SharedArray
    uncertainty_map: SharedArray | None
    roi: SharedArray | None

    @classmethod
    def create(
        cls, stack: contextlib.ExitStack, image: Image, card: ModelCard, with_uncertainty_map: bool, with_roi: bool
    ) -> "SharedResult":
        """Make the arrays that a prediction of this model fills, each of `image.spatial_shape`; `stack` removes them.

        Labels are uint32 of a model of instances, else uint8, or uint16 from 257 classes on; the others are uint8.

        Raises
        ------
        MedSegError
            If there is too little shared memory.
        """

        def allocate(dtype: DTypeLike) -> SharedArray:
            return stack.enter_context(SharedArray.create(image.spatial_shape, dtype))

        return cls(
            labels=allocate(_choose_label_dtype(card)),
            uncertainty_map=allocate(np.uint8) if with_uncertainty_map else None,
            roi=allocate(np.uint8) if with_roi else None,
        )

    def read_part(self, reply: PartWrittenReply) -> PredictionPart:
        """Return a copy of a part of the labels, while the engine works on the rest."""
        return PredictionPart(reply.first, self.labels.view()[reply.first : reply.stop].copy())

    def read(self, reply: ResultReply) -> PredictionResult:
        """Return a copy of the result, after the engine's last reply."""
        return PredictionResult(
            labels=self.labels.read(),
            uncertainty=reply.uncertainty,
            uncertainty_map=None if self.uncertainty_map is None else self.uncertainty_map.read(),
            seconds=reply.seconds,
            device=reply.device,
            roi=None if self.roi is None else self.roi.read(),
            domain_distance=reply.domain_distance,
            is_like_training=reply.is_like_training,
            runtime=reply.runtime,
        )


def write_part(request: PredictRequest, part: PredictionPart) -> PartWrittenReply:
    """Write a part of the labels to the shared array of a request; raises as `write_result`."""
    stop = part.first + len(part.labels)
    with SharedArray.attach(request.labels) as segment:
        segment.view()[part.first : stop] = part.labels
    return PartWrittenReply(id=request.id, first=part.first, stop=stop)


def write_result(request: PredictRequest, result: PredictionResult) -> ResultReply:
    """Write the result to the shared arrays of a request, and return the rest of it as the reply.

    Raises
    ------
    MedSegError
        If the window has removed the arrays.
    """
    refs = (request.labels, request.uncertainty_map, request.roi)
    for ref, array in zip(refs, (result.labels, result.uncertainty_map, result.roi), strict=True):
        if ref is not None and array is not None:
            with SharedArray.attach(ref) as segment:
                segment.write(array)
    return ResultReply(
        id=request.id,
        uncertainty=result.uncertainty,
        seconds=result.seconds,
        device=result.device,
        domain_distance=result.domain_distance,
        is_like_training=result.is_like_training,
        runtime=result.runtime,
    )


def _choose_label_dtype(card: ModelCard) -> DTypeLike:
    if card.instances is not None:
        return np.uint32
    return np.uint8 if card.architecture.classes <= 256 else np.uint16


def _require_free_memory(n_bytes: int) -> None:
    if not LINUX_SHARED_MEMORY.is_dir():
        return
    if n_bytes > (free := shutil.disk_usage(LINUX_SHARED_MEMORY).free):
        raise EngineUnavailable(
            f"the image needs {n_bytes / 1e6:.0f} MB of shared memory, but only {free / 1e6:.0f} MB are free. "
            f"Enlarge {LINUX_SHARED_MEMORY} (in Docker: --shm-size), or predict fewer slices at once."
        )


def _open_untracked(name: str) -> SharedMemory:
    if sys.version_info >= (3, 13):
        return SharedMemory(name, track=False)
    memory = SharedMemory(name)
    if os.name == "posix":
        # Before 3.13, Python treats a process that opens a segment as its owner and would remove it at exit.
        resource_tracker.unregister(f"/{memory.name}", "shared_memory")
    return memory
