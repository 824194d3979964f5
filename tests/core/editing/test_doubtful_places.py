"""Doubtful places are ranked by expected wrong voxels, and a confirmed one is a person's."""

from pathlib import Path

import numpy as np
import pytest
from editing_phantoms import LUNGS

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
