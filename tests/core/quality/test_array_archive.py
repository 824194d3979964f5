"""Archives of arrays come back as they were written, and a damaged one is one kind of error."""

import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from napari_medseg.core.decoded_size.limit import allow_memory
from napari_medseg.core.quality.array_archive import read_array, read_arrays


def test_arrays_come_back(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", numbers=np.arange(5), text=np.array("größer"), empty=np.zeros((0, 3)))
    found = read_arrays(tmp_path / "a.npz")
    assert found.keys() == {"numbers", "text", "empty"}
    np.testing.assert_array_equal(found["numbers"], np.arange(5))
    assert str(found["text"]) == "größer"
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "b.npz")


def test_an_archive_that_would_take_too_much_memory_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", zeros=np.zeros(10**6, np.uint8))
    with allow_memory(10**5), pytest.raises(ValueError, match=r"would take 1 MB of memory; 100 KB are allowed"):
        read_arrays(tmp_path / "a.npz")
    assert read_arrays(tmp_path / "a.npz")["zeros"].size == 10**6


def _write_header(path: Path, header: bytes, compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\0" * 64)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (9000000000000,)}",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
        b"{'descr': '<f8', 'shape': (1,)}",
        b"{'descr': (((",
        b"[" * 900,
    ],
)
def test_an_array_that_cannot_be_is_one_kind_of_error(tmp_path: Path, header: bytes) -> None:
    _write_header(tmp_path / "a.npz", header)
    with pytest.raises(ValueError, match=r"a\.npz is damaged"):
        read_arrays(tmp_path / "a.npz")


def test_every_cut_and_every_flipped_byte_is_one_kind_of_error(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, numbers=np.arange(200), text=np.array(["a", "b"]))
    whole = buffer.getvalue()
    path = tmp_path / "a.npz"
    refused = []
    for place in range(0, len(whole), 3):
        for damaged in (whole[:place], whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]):
            path.write_bytes(damaged)
            try:
                read_arrays(path)
            except ValueError:
                refused.append(place)
    assert len(refused) > len(whole) / 3, "every cut, and most others"


@pytest.mark.parametrize(
    "kind",
    [b"'|u1', 'fortran_order': False, 'shape': (60000000,)", b"'|V60000000', 'fortran_order': False, 'shape': (1,)"],
)
def test_an_array_larger_than_its_entry_takes_no_memory(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "a.npz"
    _write_header(path, b"{'descr': " + kind + b"}")
    tracemalloc.start()
    with pytest.raises(ValueError, match="claims"):
        read_arrays(path)
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()


def test_one_array_is_read_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.arange(6, dtype=np.uint8).reshape(2, 3))
    assert read_array(path, 1000).tolist() == [[0, 1, 2], [3, 4, 5]]
    huge = b"{'descr': '<f8', 'fortran_order': False, 'shape': (9000000000000,), }".ljust(117) + b"\n"
    np.savez(tmp_path / "b.npz", np.zeros(3))
    for content in (
        b"",
        b"\x93NUMPY\x01\x00" + len(huge).to_bytes(2, "little") + huge,
        path.read_bytes()[:-1],
        path.read_bytes().replace(b"'|u1'", b"'|O' "),
        (tmp_path / "b.npz").read_bytes(),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is damaged"):
            read_array(path, 1000)
