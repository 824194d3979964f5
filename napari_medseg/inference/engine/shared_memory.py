"""Arrays that two processes see. The window makes and removes them, so that no crash of the engine leaves any."""

import os
import secrets
import shutil
import sys
import traceback
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_medseg.core.errors import MedSegError
from napari_medseg.inference.engine.protocol import ArrayRef

LINUX_SHARED_MEMORY = Path("/dev/shm")


class SharedArray:
    """One array in shared memory; a context manager that lets go of it, and removes it where it was made.

    Keep no view of it longer than it: copy with `write` and `read`, or drop the array of `view` first. Where an
    error passes through, the variables of the functions that it left are dropped, views among them.
    """

    def __init__(self, memory: SharedMemory, ref: ArrayRef, owned: bool) -> None:
        self._memory = memory
        self._owned = owned
        self.ref = ref

    @classmethod
    def create(cls, shape: tuple[int, ...], dtype: DTypeLike) -> "SharedArray":
        """Make an array of zeros.

        Raises
        ------
        MedSegError
            If the system has too little shared memory; touching it would kill the process.
        """
        native = np.dtype(dtype).newbyteorder("=")
        ref = ArrayRef(name="", shape=shape, dtype=native.str)
        _require_free_memory(ref.n_bytes)
        name = f"medseg_{os.getpid()}_{secrets.token_hex(4)}"  # whose it is can be seen, should one ever be left
        memory = SharedMemory(name, create=True, size=max(1, ref.n_bytes))
        return cls(memory, ref.model_copy(update={"name": name}), owned=True)

    @classmethod
    def from_array(cls, array: NDArray[Any]) -> "SharedArray":
        """Make a copy of an array."""
        segment = cls.create(array.shape, array.dtype)
        segment.write(array)
        return segment

    @classmethod
    def attach(cls, ref: ArrayRef) -> "SharedArray":
        """Open an array that another process made, and that stays its own to remove.

        Raises
        ------
        MedSegError
            If the other process removed it in the meantime.
        """
        try:
            return cls(_open_untracked(ref.name), ref, owned=False)
        except FileNotFoundError as error:
            raise MedSegError("the image was taken back before the work on it began. Ask again.") from error

    def view(self) -> NDArray[Any]:
        """Return the array itself; drop it before the segment is closed."""
        return np.ndarray(self.ref.shape, self.ref.dtype, buffer=self._memory.buf)

    def write(self, array: NDArray[Any]) -> None:
        """Copy an array of the same shape in."""
        self.view()[...] = array

    def read(self) -> NDArray[Any]:
        """Copy the array out."""
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
        finally:
            if self._owned:
                self._memory.unlink()


def _require_free_memory(n_bytes: int) -> None:
    if not LINUX_SHARED_MEMORY.is_dir():
        return
    if n_bytes > (free := shutil.disk_usage(LINUX_SHARED_MEMORY).free):
        raise MedSegError(
            f"the image needs {n_bytes / 1e6:.0f} MB of shared memory, and {free / 1e6:.0f} MB are free. "
            f"Enlarge {LINUX_SHARED_MEMORY} (in Docker: --shm-size), or predict fewer slices at once."
        )


def _open_untracked(name: str) -> SharedMemory:
    if sys.version_info >= (3, 13):
        return SharedMemory(name, track=False)
    memory = SharedMemory(name)
    if os.name == "posix":
        # until 3.13 Python takes whoever opens a segment for its owner, and would remove it under the window
        resource_tracker.unregister(f"/{memory.name}", "shared_memory")
    return memory
