"""Work slab by slab gives what work on the whole array gives."""

import numpy as np
import pytest

from napari_medseg.core.decoded_size import slabs
from napari_medseg.core.decoded_size.slabs import convert_to_native, flip_in_place, iterate_slabs
from napari_medseg.core.formats.orientation import reorient_own_pixels, reorient_to_canonical
from napari_medseg.core.image import StorageLayout, cast_compact


@pytest.fixture(autouse=True)
def small_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slabs, "SLAB_ITEMS", 7)


def make_volume() -> np.ndarray:
    return np.random.default_rng(0).integers(-900, 900, (5, 4, 6)).astype(np.int16)


@pytest.mark.parametrize("order", ["C", "F"])
def test_slabs_cover_an_array_once(order: str) -> None:
    counts = np.zeros((5, 4, 6), int, order=order)
    for slab in iterate_slabs(counts):
        assert counts[slab].size <= 24
        counts[slab] += 1
    assert (counts == 1).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_flip_in_place(axis: int) -> None:
    flipped = make_volume()
    flip_in_place(flipped, axis)
    np.testing.assert_array_equal(flipped, np.flip(make_volume(), axis))


@pytest.mark.parametrize("permutation", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
@pytest.mark.parametrize("flips", [(False, False, False), (True, False, True), (False, True, False)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_own_pixels_become_canonical_like_those_of_others(
    permutation: tuple[int, ...], flips: tuple[bool, ...], order: str
) -> None:
    storage, pixels = StorageLayout(permutation, flips), np.array(make_volume(), order=order)
    expected = reorient_to_canonical(pixels.copy(), storage)
    found = reorient_own_pixels(pixels, storage)
    np.testing.assert_array_equal(found, expected)
    assert found.flags.c_contiguous


def test_byte_order_is_converted_in_place() -> None:
    stored = make_volume().astype(">i2")
    native = convert_to_native(stored)
    np.testing.assert_array_equal(native, make_volume())
    assert native.dtype.isnative
    assert np.shares_memory(native, stored)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, -5.0, 30000.0] * 9, np.int16),
        ([1.0, 40000.0] * 9, np.int32),
        ([1.0] * 20 + [0.5], np.float32),
        ([1.0] * 20 + [np.nan], np.float32),
        ([1.0] * 20 + [2.0**31], np.float32),
    ],
)
def test_the_compact_type_is_that_of_all_slabs(values: list[float], expected: type) -> None:
    compact = cast_compact(np.array(values))
    assert compact.dtype == expected
    np.testing.assert_array_equal(compact, np.array(values, np.float32))


def test_the_conversion_is_applied_before_the_type_is_chosen() -> None:
    stored = np.arange(30, dtype=np.int16)
    assert cast_compact(stored, lambda slab: slab * 0.5).dtype == np.float32
    np.testing.assert_array_equal(cast_compact(stored, lambda slab: slab * 2.0), (stored * 2))
