"""Which objects of a chunk are new, the same as one that is there, or parts of it."""

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_medseg.workflow.whole_slide.chunk_merge import PlacedObjects, place_objects

SHAPE = (100, 200)
CORE = (slice(0, 100), slice(20, 100))
PLACE = (slice(0, 100), slice(80, 200))


def draw(*boxes: tuple[int, int, int, int]) -> NDArray[np.uint32]:
    labels = np.zeros((100, 120), np.uint32)
    for number, (top, left, bottom, right) in enumerate(boxes, start=1):
        labels[top:bottom, left:right] = number
    return labels


def place(found: NDArray[np.uint32], existing: NDArray[np.uint32], cut: tuple[int, ...] = ()) -> PlacedObjects:
    return place_objects(found, existing, CORE, 51, PLACE, SHAPE, cut)


def test_objects_that_reach_into_the_core_are_written_whole() -> None:
    placed = place(draw((10, 10, 20, 25), (40, 50, 50, 60), (70, 5, 80, 15)), draw())
    assert [record[:2] for record in placed.records] == [(51, 150), (52, 100)]
    assert np.count_nonzero(placed.labels == 51) == 150
    assert not placed.labels[70:80, 5:15].any()
    assert not placed.pairs


def test_a_record_gives_size_centre_and_box_on_the_slide() -> None:
    (record,) = place(draw((40, 50, 50, 60)), draw()).records
    assert (record.area_px, record.y, record.x) == (100, 44.5, 134.5)
    assert (record.top, record.left, record.bottom, record.right) == (40, 130, 50, 140)


def test_a_nucleus_that_an_earlier_chunk_wrote_is_not_written_again() -> None:
    existing = draw((10, 10, 20, 30)) * 7
    for moved in range(-4, 5):
        placed = place(draw((10, 14 + moved, 20, 34 + moved)), existing)
        assert not placed.records
        assert not placed.pairs
        assert not placed.labels.any()


def test_a_neighbour_that_touches_is_new() -> None:
    existing = draw((10, 10, 20, 22)) * 7
    placed = place(draw((10, 20, 20, 40)), existing)
    assert [record.area_px for record in placed.records] == [180]
    assert not placed.pairs
    assert not (placed.labels[existing > 0]).any()


def test_a_small_piece_of_a_nucleus_becomes_the_whole() -> None:
    existing = draw((10, 17, 20, 21)) * 7
    placed = place(draw((10, 17, 20, 60)), existing)
    assert placed.pairs == [(7, 51)]
    assert placed.records[0].area_px == 390


def test_two_halves_that_were_seen_as_one_stay_two_and_the_other_way_round() -> None:
    halves = draw((10, 10, 20, 25), (10, 25, 20, 40))
    one = draw((10, 10, 20, 40))
    assert not place(one, halves * 7).records
    assert not place(halves, one * 7).records


def test_an_object_that_was_cut_goes_on_under_its_number() -> None:
    existing = draw((10, 0, 20, 40)) * 7
    placed = place(draw((10, 0, 20, 60)), existing, cut=(7,))
    assert placed.pairs == [(51, 7)]
    assert placed.records[0].area_px == 200


def test_arms_of_an_object_that_were_cut_become_one() -> None:
    arms = draw((10, 0, 20, 40), (60, 0, 70, 40))
    whole = draw((10, 0, 20, 40))
    whole[60:70, 0:40] = 1
    whole[10:70, 40:44] = 1
    placed = place(whole, arms * 7, cut=(7, 14))
    assert set(placed.pairs) == {(14, 7), (51, 7)} or set(placed.pairs) == {(7, 14), (51, 14)}


@pytest.mark.parametrize(
    ("box", "is_cut"), [((40, 90, 50, 120), False), ((40, 0, 50, 30), True), ((0, 30, 9, 50), False)]
)
def test_only_what_reaches_an_end_where_the_slide_goes_on_is_cut(box: tuple[int, int, int, int], is_cut: bool) -> None:
    (record,) = place(draw(box), draw()).records
    assert bool(record.is_cut) == is_cut
