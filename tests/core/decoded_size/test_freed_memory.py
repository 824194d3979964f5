"""Memory that was freed is kept for the next array, and given back where it is short."""

from collections.abc import Iterator

import psutil
import pytest

from napari_medseg.core.decoded_size import limit
from napari_medseg.core.decoded_size.free_memory import bound_process_memory, measure_left_of_bound
from napari_medseg.core.decoded_size.freed_memory import keep_freed_memory, return_freed_memory
from napari_medseg.core.decoded_size.limit import compute_limit, refuse_above_limit

N_BYTES = 24 * 2**20
"""Less than `LARGEST_KEPT_BYTES_OLD`, so that each glibc keeps it."""


@pytest.fixture(autouse=True)
def without_bound() -> Iterator[None]:
    if not keep_freed_memory():  # here, not when tests are collected, as it changes the process
        pytest.skip("only glibc keeps what was freed")
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


def test_no_image_is_refused_because_of_what_was_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    most = measure_taken() + 2 * N_BYTES
    monkeypatch.setattr(limit, "measure_free_bytes", lambda: max(0, most - measure_taken()))
    use_and_free()
    assert compute_limit(N_BYTES).n_bytes < 0.3 * N_BYTES
    refuse_above_limit(int(0.4 * N_BYTES), N_BYTES, "a.nii")
    assert compute_limit(N_BYTES).n_bytes > 0.4 * N_BYTES


def test_what_was_freed_does_not_count_as_taken_from_a_bound() -> None:
    bound_process_memory(measure_taken() + N_BYTES)
    use_and_free()
    assert measure_left_of_bound() > 0.9 * N_BYTES
