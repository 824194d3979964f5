"""Memory that was freed is kept for the next array, and given back where it is short."""

import sys
from collections.abc import Iterator

import psutil
import pytest

from napari_medseg.core.decoded_size.free_memory import bound_process_memory, measure_left_of_bound
from napari_medseg.core.decoded_size.freed_memory import keep_freed_memory, return_freed_memory

N_BYTES = 96 * 2**20
pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not keep_freed_memory(), reason="only glibc keeps what was freed"
)


@pytest.fixture(autouse=True)
def without_bound() -> Iterator[None]:
    return_freed_memory()
    yield
    bound_process_memory(None)
    return_freed_memory()


def measure_taken() -> int:
    return int(psutil.Process().memory_info().rss)


def use_and_free() -> None:
    array = bytearray(N_BYTES)
    array[::4096] = b"1" * len(range(0, N_BYTES, 4096))


def test_a_freed_array_is_kept_until_it_is_given_back() -> None:
    before = measure_taken()
    use_and_free()
    kept = measure_taken() - before
    return_freed_memory()
    assert kept > 0.9 * N_BYTES
    assert measure_taken() - before < 0.1 * N_BYTES


def test_what_was_freed_does_not_count_as_taken_from_a_bound() -> None:
    bound_process_memory(measure_taken() + N_BYTES)
    use_and_free()
    assert measure_left_of_bound() > 0.9 * N_BYTES
