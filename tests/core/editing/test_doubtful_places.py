"""Doubtful places are ranked by expected wrong voxels, and a confirmed one is a person's."""

from pathlib import Path

import numpy as np
import pytest
from editing_phantoms import LUNGS, NUCLEI

from napari_medseg.core.editing.canvas import Canvas
from napari_medseg.core.editing.doubtful_places import confirm_place, find_doubtful_places
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.project.undo_journal import StrokeJournal


def make_canvas(protected: np.ndarray | None = None) -> Canvas:
    uncertainty = np.zeros((20, 120, 400), np.uint8)
    uncertainty[4:6, 10:20, 10:20] = 50  # 200 voxels, 100 expected wrong
    uncertainty[12, 30:42, 30:42] = 80  # 144 voxels, 115 expected wrong
    uncertainty[17, 100:104, 20:380] = 30  # a long border: 1,440 voxels
    uncertainty[0, 0, 0] = 99  # one voxel
    uncertainty[8] = np.maximum(uncertainty[8], 10)  # below the limit
    labels = np.zeros(uncertainty.shape, np.uint8)
    labels[4:6, 10:20, 10:20] = 1
    return Canvas(labels, LUNGS, (2.0, 1.0, 1.0), protected, uncertainty=uncertainty)


def test_places_are_ranked_by_uncertainty_times_size() -> None:
    places = find_doubtful_places(make_canvas())
    assert [round(place.expected_wrong, 1) for place in places[:2]] == [115.2, 100.0]
    assert places[0].centre[0] == 12
    assert places[0].box == (slice(12, 13), slice(30, 42), slice(30, 42))
    assert all(34 <= place <= 37 for place in places[0].centre[1:])
    assert (places[1].label, places[0].label) == (1, 0)
    assert places[1].centre[0] in (4, 5)
    assert len(places) == 2 + 8


def test_long_border_is_cut_into_stretches_of_a_screen() -> None:
    stretches = find_doubtful_places(make_canvas())[2:]
    assert [np.count_nonzero(place.mask) for place in stretches] == [192] * 7 + [96]
    assert max(place.box[2].stop - place.box[2].start for place in stretches) == 48


def test_centre_is_a_doubtful_voxel() -> None:
    uncertainty = np.zeros((40, 40), np.uint8)
    y, x = np.mgrid[:40, :40]
    uncertainty[(np.hypot(y - 20, x - 20) > 12) & (np.hypot(y - 20, x - 20) < 14)] = 60
    canvas = Canvas(np.zeros((40, 40), np.uint8), LUNGS, uncertainty=uncertainty)
    (ring,) = find_doubtful_places(canvas)
    assert uncertainty[ring.centre] == 60


def test_seen_and_confirmed_places_do_not_come_again(tmp_path: Path) -> None:
    canvas = make_canvas()
    first, second, *_ = find_doubtful_places(canvas)
    seen = np.zeros(canvas.shape, np.bool_)
    seen[first.box] = True
    assert find_doubtful_places(canvas, seen)[0].box == second.box

    edit = confirm_place(canvas, second)
    assert edit.message == "right lung is right here: 200 voxels"
    labels = canvas.labels.copy()
    edit.apply(labels)
    assert np.array_equal(labels, canvas.labels)
    journal = StrokeJournal(tmp_path / "1.journal")
    journal.add(edit.stroke)
    protected = np.zeros(canvas.shape, np.bool_)
    protected.reshape(-1)[journal.applied_strokes[0].indices] = True
    journal.close()
    assert protected.sum() == 200
    again = Canvas(labels, LUNGS, canvas.spacing_mm, protected, uncertainty=canvas.uncertainty)
    assert all(place.box != second.box for place in find_doubtful_places(again))
    with pytest.raises(MedSegError, match="a person set all"):
        confirm_place(again, second)


def test_number_of_places_is_limited_and_may_be_zero() -> None:
    assert len(find_doubtful_places(make_canvas(), max_places=3)) == 3
    assert find_doubtful_places(make_canvas(np.ones((20, 120, 400), np.bool_))) == []
    with pytest.raises(MedSegError, match="Predict this image first"):
        find_doubtful_places(Canvas(np.zeros((3, 3), np.uint8), LUNGS))


def make_nuclei(protected: np.ndarray | None = None) -> Canvas:
    """Nuclei of 12 px: three doubtful ones and a sure one beside each other, one far away, and a missed one."""
    labels, uncertainty = np.zeros((200, 300), np.uint32), np.zeros((200, 300), np.uint8)
    for number, (y, x, inside) in {
        7: (20, 20, 30),
        8: (20, 36, 30),
        9: (36, 20, 20),
        10: (36, 36, 4),
        900: (150, 250, 40),
        12: (150, 100, 0),
    }.items():
        rows, columns = np.ogrid[:200, :300]
        distance = np.hypot(rows - y, columns - x)
        labels[distance <= 6] = number
        uncertainty[distance <= 6] = inside
        uncertainty[(distance > 6) & (distance <= 8)] = 45  # a blurred border says nothing
    uncertainty[60:68, 200:208] = 35  # maybe a nucleus that is not drawn
    uncertainty[100:102, 200:202] = 49  # too small for one
    return Canvas(labels, NUCLEI, None, protected, uncertainty=uncertainty)


def test_objects_are_ranked_by_the_doubt_in_them_and_come_in_groups() -> None:
    places = find_doubtful_places(make_nuclei())
    assert [place.n_objects for place in places] == [3, 1, 1]
    group, lonely, missed = places
    assert (group.box[0].start, group.box[0].stop) == (14, 43)  # the three, without the sure one
    assert set(np.unique(make_nuclei().labels[group.box][group.mask])) == {7, 8, 9}
    assert (lonely.label, missed.label) == (900, 0)
    assert missed.box == (slice(60, 68), slice(200, 208))
    assert make_nuclei().labels[group.centre] in {7, 8, 9}
    assert len(find_doubtful_places(make_nuclei(), max_places=1)) == 1


def test_objects_that_a_person_knows_are_not_doubtful() -> None:
    protected = np.zeros((200, 300), np.bool_)
    protected[:, :60] = protected[140:152, 240:260] = True
    places = find_doubtful_places(make_nuclei(protected))
    assert [place.label for place in places] == [0]
    edit = confirm_place(make_nuclei(), find_doubtful_places(make_nuclei())[0])
    assert edit.message.startswith("3 objects are right here")


def test_a_field_without_doubt_or_without_objects_has_no_doubtful_objects() -> None:
    sure = Canvas(make_nuclei().labels, NUCLEI, uncertainty=np.zeros((200, 300), np.uint8))
    assert find_doubtful_places(sure) == []
    empty = np.zeros((60, 60), np.uint32)
    assert find_doubtful_places(Canvas(empty, NUCLEI, uncertainty=np.zeros((60, 60), np.uint8))) == []
    blob = np.zeros((60, 60), np.uint8)
    blob[20:30, 20:30] = 40
    blob[5, 5] = 50  # a speck
    (only,) = find_doubtful_places(Canvas(empty, NUCLEI, uncertainty=blob))
    assert (only.label, only.n_objects) == (0, 1)


def test_objects_of_a_series_are_grouped_on_one_slice() -> None:
    labels, uncertainty = np.zeros((8, 60, 90), np.uint32), np.zeros((8, 60, 90), np.uint8)
    for number, (z, x) in {1: (1, 20), 2: (3, 20), 3: (3, 40)}.items():
        labels[z : z + 1, 20:32, x : x + 12] = number
        uncertainty[z : z + 1, 20:32, x : x + 12] = 30
    pair, single = find_doubtful_places(Canvas(labels, NUCLEI, uncertainty=uncertainty))
    assert (pair.n_objects, pair.centre[0], pair.box[0]) == (2, 3, slice(3, 4))
    assert (single.n_objects, single.centre[0]) == (1, 1)
    wide = Canvas(labels, NUCLEI, (1.0, 1.0, 4.0), uncertainty=uncertainty)  # 80 mm apart, 27 mm across
    assert [place.n_objects for place in find_doubtful_places(wide)] == [1, 1, 1]
