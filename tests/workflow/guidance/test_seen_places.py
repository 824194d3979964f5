from pathlib import Path

import numpy as np

from napari_medseg.core.editing.doubtful_places import DoubtfulPlace
from napari_medseg.core.project.strokes import Spans
from napari_medseg.workflow.guidance.seen_places import PlacesReview, SeenPlaces, read_seen_places

SHAPE = (4, 20, 20)


def make_place(plane: int) -> DoubtfulPlace:
    box = (slice(plane, plane + 1), slice(5, 9), slice(5, 10))
    return DoubtfulPlace((plane, 7, 7), box, np.ones((1, 4, 5), np.bool_), 10.0 - plane, 1)


PLACES = [make_place(plane) for plane in range(3)]


def make(path: Path, model: str = "lungs-unet@1") -> PlacesReview:
    return PlacesReview(path, model, PLACES, SHAPE)


def test_the_worst_unseen_place_comes_first_and_all_can_be_seen_again(tmp_path: Path) -> None:
    places = make(tmp_path / "1.places.json")
    assert places.summary == "0 of 3 seen"
    assert [places.go(+1).centre[0] for _ in range(3)] == [0, 1, 2]
    assert places.summary == "3 of 3 seen"
    assert [places.go(step).centre[0] for step in (+1, +1, -1, -1)] == [0, 1, 0, 2]


def test_back_goes_to_the_place_before(tmp_path: Path) -> None:
    places = make(tmp_path / "1.places.json")
    places.go(+1)
    places.go(+1)
    assert places.go(-1) is PLACES[0]
    assert places.go(+1) is PLACES[2]  # the next one that was not seen


def test_a_restart_remembers_what_was_seen_and_another_model_does_not(tmp_path: Path) -> None:
    path = tmp_path / "1.places.json"
    make(path).go(+1)
    again = make(path)
    assert again.summary == "1 of 3 seen"
    assert again.go(+1) is PLACES[1]
    assert read_seen_places(path) == SeenPlaces(model="lungs-unet@1", n_places=3, seen=(147, 547))
    assert make(path, "lungs-unet@2").summary == "0 of 3 seen"


def test_a_place_that_a_person_set_counts_as_seen(tmp_path: Path) -> None:
    places = make(tmp_path / "1.places.json")
    rows = np.arange(5, 9) * 20
    places.mark_edited(Spans(rows[:2] + 5, rows[:2] + np.array([10, 9])))
    assert places.n_seen == 0
    places.mark_edited(Spans(rows[:2] + 5, rows[:2] + 10))
    assert places.n_seen == 1
    places.mark_edited(Spans(rows[:0], rows[:0]))
    assert places.go(+1) is PLACES[1]


def test_a_damaged_file_counts_nothing_as_seen(tmp_path: Path) -> None:
    path = tmp_path / "1.places.json"
    path.write_text("{")
    assert make(path).summary == "0 of 3 seen"
    assert len(list(tmp_path.iterdir())) == 2  # it was set aside


def test_no_place_is_no_error(tmp_path: Path) -> None:
    places = PlacesReview(tmp_path / "1.places.json", "m", [], SHAPE)
    assert places.go(+1) is None
    assert places.summary == "none"
