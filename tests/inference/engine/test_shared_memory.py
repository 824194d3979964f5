import errno
import subprocess
import sys
from collections import namedtuple

import numpy as np
import pytest

from napari_medseg.core.errors import MedSegError
from napari_medseg.inference.engine import shared_memory
from napari_medseg.inference.engine.protocol import ArrayRef
from napari_medseg.inference.engine.shared_memory import SharedArray

DOUBLE = """
import sys
from napari_medseg.inference.engine.protocol import ArrayRef
from napari_medseg.inference.engine.shared_memory import SharedArray

with SharedArray.attach(ArrayRef.model_validate_json(sys.argv[1])) as segment:
    segment.write(segment.read() * 2)
"""


def test_another_process_reads_and_writes_and_removes_nothing() -> None:
    array = np.arange(24, dtype=">i2").reshape(2, 3, 4)[:, ::-1]
    with SharedArray.from_array(array) as segment:
        for factor in (2, 4):
            command = [sys.executable, "-c", DOUBLE, segment.ref.model_dump_json()]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, "")
            np.testing.assert_array_equal(segment.read(), array * factor)
    with pytest.raises(MedSegError, match="cancelled before it started"):
        SharedArray.attach(segment.ref)


def fail_with_a_view(segment: SharedArray) -> None:
    view = segment.view()
    raise KeyError(view.sum())


def test_an_error_that_still_holds_a_view_does_not_keep_the_segment() -> None:
    with pytest.raises(KeyError), SharedArray.create((4, 4), np.uint8) as segment:
        fail_with_a_view(segment)
    with pytest.raises(MedSegError):
        SharedArray.attach(segment.ref)


def test_an_empty_array_can_be_shared() -> None:
    with SharedArray.create((0, 64), np.uint8) as segment:
        assert segment.read().shape == (0, 64)


@pytest.mark.skipif(
    not shared_memory.LINUX_SHARED_MEMORY.is_dir(), reason="only Linux kills who writes beyond its limit"
)
def test_an_image_larger_than_shared_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shared_memory.shutil, "disk_usage", lambda _folder: usage(64_000_000, 0, 64_000_000))
    with pytest.raises(MedSegError, match=r"needs 100 MB of shared memory, but only 64 MB are free.*--shm-size"):
        SharedArray.create((100, 1000, 1000), np.uint8)


def test_the_size_of_an_array_is_known_from_its_reference() -> None:
    assert ArrayRef(name="x", shape=(2, 3), dtype="<f8").n_bytes == 48


@pytest.mark.parametrize(
    "error",
    [
        OSError(22, "The paging file is too small for this operation to complete"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        OSError(errno.EMFILE, "Too many open files"),
        MemoryError(),
    ],
    ids=str,
)
def test_windows_and_macos_say_only_at_the_call_that_there_is_too_little(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    with SharedArray.create((4, 4), np.uint8) as segment, monkeypatch.context() as full:
        full.setattr(shared_memory, "SharedMemory", refuse)
        with pytest.raises(MedSegError, match=r"0 MB of shared memory.*fewer slices") as refused:
            SharedArray.create((2, 2), np.uint8)
        assert refused.value.__cause__ is error
        with pytest.raises(MedSegError, match=r"cannot map.*fewer slices"):
            SharedArray.attach(segment.ref)
