"""The simulated annotator: it reaches its goal, by cheaper actions where it has tools, and its times are counted."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import annotator
import annotator_errors
import annotator_picture
import annotator_search
import numpy as np
import pytest
from annotator_actions import list_strokes
from annotator_errors import compute_score, find_false_objects, find_wrong_places
from annotator_hand import Effort, Hand, TimeModel, choose_zoom, plan_strokes
from annotator_person import Work

from napari_medseg.core.editing.canvas import Canvas
from napari_medseg.core.image import Image
from napari_medseg.core.tasks.bundled_tasks import get_task


def draw_disc(labels: np.ndarray, y: int, x: int, radius: int, value: int) -> np.ndarray:
    rows, columns = np.ogrid[: labels.shape[0], : labels.shape[1]]
    labels[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = value
    return labels


def make_work(task: str, draft: np.ndarray, truth: np.ndarray) -> Work:
    pixels = np.where(truth > 0, 200, 50).astype(np.uint8)
    pixels = np.stack([pixels] * 3, axis=-1) if get_task(task).instances else pixels
    image = Image(pixels, "YXC" if pixels.ndim == 3 else "YX", (1.0, 1.0))
    return Work(get_task(task), image, draft, truth, None)


def correct(work: Work, way: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> annotator.Row:
    monkeypatch.setattr(annotator_errors, "OVERLOOKED", 0.0)
    return annotator.correct_case(work, way, 0, "case", folder)


def test_an_effort_gets_its_seconds_from_the_time_model() -> None:
    effort = Effort(strokes=2, stroke_px=400, clicks=1, keys=3) + Effort(looks=1)
    assert effort.compute_seconds(TimeModel(), 1.0) == pytest.approx(0.8 + 1.0 + 0.9 + 0.9 + 1.5)
    assert effort.compute_seconds(TimeModel(), 2.0) == pytest.approx(0.8 + 2.0 + 0.9 + 0.9 + 1.5)
    names = [name for name, _ in TimeModel().list_variants()]
    assert len(names) == len(set(names)) == 13


def test_an_image_is_shown_as_large_as_the_canvas_but_never_smaller_than_it_is() -> None:
    assert choose_zoom((350, 250)) == 2.0
    assert choose_zoom((1000, 3000)) == 1.0
    path = np.zeros((2000, 2))
    hands = [Hand(np.random.default_rng(0), zoom=zoom).shake(path) for zoom in (1.0, 2.0)]
    assert hands[0].std() == pytest.approx(2 * hands[1].std())


def test_strokes_cover_a_region_and_little_else() -> None:
    region = draw_disc(np.zeros((90, 90), np.uint8), 45, 45, 30, 1) > 0
    for strokes in plan_strokes(region):
        covered = strokes.rasterise(Hand(np.random.default_rng(0), jitter_px=0.0), region.shape)
        assert (covered & region).sum() > 0.8 * region.sum()
        assert (covered & ~region).sum() < 0.08 * region.sum()


def test_wrong_places_are_listed_by_size_with_the_right_label() -> None:
    truth = draw_disc(draw_disc(np.zeros((80, 80), np.uint8), 20, 20, 6, 1), 60, 60, 12, 2)
    large, small = find_wrong_places(np.zeros_like(truth), truth, np.zeros(truth.shape, np.bool_))
    assert (large.value, small.value) == (2, 1)
    assert large.n_px > small.n_px == (truth == 1).sum()
    assert np.array_equal(small.region, truth == 1)
    assert small.centre.tolist() == [20.0, 20.0]


def test_a_missing_lesion_is_painted_and_a_wrong_one_is_deleted_by_one_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = draw_disc(np.zeros((128, 128), np.uint8), 40, 40, 14, 1)
    draft = truth.copy()
    draft[80:120, 60:120:12] = draft[80:120, 61:120:12] = draft[118:120, 60:120] = 1  # a comb: many strokes, one piece
    work = make_work("covid", draft, truth)
    brush, tools = (correct(work, way, tmp_path, monkeypatch) for way in ("brush", "all tools"))
    nothing = correct(work, "brush from nothing", tmp_path, monkeypatch)
    assert [row["reached"] for row in (brush, tools, nothing)] == [True, True, True]
    assert tools["actions"] == {"delete": 1}
    assert annotator.price(tools, TimeModel()) < annotator.price(brush, TimeModel())


def test_a_thin_rim_is_painted_with_the_whole_lesion_and_tools_are_no_dearer_than_the_brush(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = draw_disc(np.zeros((128, 128), np.uint8), 64, 64, 20, 1)
    draft = draw_disc(np.zeros((128, 128), np.uint8), 64, 64, 13, 1)
    work = make_work("covid", draft, truth)
    brush, nothing = (correct(work, way, tmp_path, monkeypatch) for way in ("brush", "brush from nothing"))
    assert brush["reached"]
    assert annotator.price(brush, TimeModel()) <= annotator.price(nothing, TimeModel()) + TimeModel().look_s
    tools = correct(work, "all tools", tmp_path, monkeypatch)
    assert annotator.price(tools, TimeModel()) <= annotator.price(brush, TimeModel())


def test_two_nuclei_in_one_are_cut_with_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = draw_disc(draw_disc(np.zeros((100, 100), np.uint32), 50, 36, 14, 1), 50, 64, 14, 2)
    draft = np.where(truth > 0, 1, 0).astype(np.uint32)
    work = make_work("nuclei", draft, truth)
    tools = correct(work, "all tools", tmp_path, monkeypatch)
    assert tools["reached"]
    assert "cut" in tools["actions"]
    assert compute_score(draft, truth, work.task) < 0.7


def test_what_is_left_of_a_split_object_is_false_too() -> None:
    truth = draw_disc(np.zeros((80, 80), np.uint32), 40, 40, 14, 1)
    draft = np.where(truth > 0, 7, 0).astype(np.uint32)
    draft[40, 30:36] = 8  # a rest on a nucleus that another object matches
    draft[2:5, 2:5] = 9  # on the background
    assert find_false_objects(draft, truth) == [8, 9]


def test_one_line_is_the_new_border_of_a_lesion_that_is_too_large_and_too_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = draw_disc(np.zeros((128, 128), np.uint8), 64, 58, 24, 1)
    draft = draw_disc(np.zeros((128, 128), np.uint8), 64, 74, 24, 1)
    work = make_work("covid", draft, truth)
    tools = correct(
        replace(work, image=replace(work.image, pixels=np.zeros_like(draft))), "all tools", tmp_path, monkeypatch
    )
    assert tools["reached"]
    assert tools["actions"] == {"outline": 1}
    assert tools["effort"]["traced_px"] > 50


def test_what_is_in_sight_needs_no_other_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    for column, sight_px in ((90, 100.0), (300, 100.0), (90, 0.0)):  # of the screen: the image is not zoomed
        truth = draw_disc(draw_disc(np.zeros((700, 700), np.uint32), 40, 40, 14, 1), 40, column, 14, 2)
        work = replace(make_work("nuclei", np.zeros_like(truth), truth), sight_px=sight_px)
        row = correct(work, "brush", tmp_path, monkeypatch)
        assert row["reached"]
        looks.append(row["effort"]["looks"])
    assert looks == [1, 2, 2]


def test_the_hand_misses_when_it_acts_and_not_while_the_annotator_chooses() -> None:
    hand = Hand(np.random.default_rng(0), plans=True)
    canvas = Canvas(np.zeros((80, 80), np.uint8), get_task("lungs"))
    region = draw_disc(np.zeros((80, 80), np.uint8), 40, 40, 20, 1) > 0
    first, again = (next(list_strokes(canvas, region, 1, hand, has_tools=False)) for _ in range(2))
    assert np.array_equal(first.edit.voxel_runs, again.edit.voxel_runs)
    assert first.draw is not None
    hand.plans = False
    assert not np.array_equal(first.draw().voxel_runs, first.edit.voxel_runs)


def test_a_tool_stays_in_the_hand() -> None:
    hand = Hand(np.random.default_rng(0))
    assert (hand.count_key("brush"), hand.count_key("cut")) == (Effort(), Effort(keys=1))
    hand.tool = "cut"
    assert hand.count_key("cut") == Effort()


def test_a_case_that_is_good_enough_costs_one_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = draw_disc(np.zeros((64, 64), np.uint8), 30, 30, 12, 1)
    row = correct(make_work("lungs", truth.copy(), truth), "brush", tmp_path, monkeypatch)
    assert row["actions"] == {}
    assert annotator.price(row, TimeModel()) == TimeModel().look_s


def test_the_table_compares_the_cases_that_both_ways_finished() -> None:
    row = {"task": "lungs", "case": "a", "seed": 0, "reached": True, "zoom": 1.0, "actions": {"brush": 1}}
    slow, fast = ({"strokes": 0, "stroke_px": 0.0, "clicks": 0, "keys": 0, "looks": n} for n in (4, 2))
    rows = [row | {"way": "brush", "effort": slow}, row | {"way": "all tools", "effort": fast}]
    rows.append(row | {"case": "b", "way": "brush", "effort": slow})
    assert annotator.compute_ratio(rows, "lungs", "all tools", "brush", TimeModel()) == 0.5
    assert "| lungs | 0.50 | 0.50 | 0.50 | 0.50-0.50 | 1.00 |" in annotator.format_table(rows)


def test_a_person_with_a_brush_may_begin_anew() -> None:
    row = {"task": "lungs", "case": "a", "seed": 0, "reached": True, "zoom": 1.0, "actions": {}}
    rows = [row | {"way": way, "effort": {"looks": n}} for way, n in zip(annotator.WAYS, (2, 4, 1), strict=True)]
    (quicker,) = annotator.list_quicker(rows)
    assert quicker["effort"] == {"looks": 2}


def test_the_picture_has_a_bar_for_each_way_and_each_round(tmp_path: Path) -> None:
    effort = {"strokes": 0, "stroke_px": 0.0, "clicks": 0, "keys": 0, "looks": 4}
    row = {"task": "lungs", "case": "a", "seed": 0, "reached": True, "zoom": 1.0, "effort": effort}
    rounds = [
        row | {"kind": "seconds", "steps": 20, "round": number, "case": case} for number in (0, 5) for case in "abc"
    ]
    files = tmp_path / "ways.jsonl", tmp_path / "rounds.jsonl"
    for file, rows in zip(files, ([row | {"way": way} for way in annotator.WAYS], rounds), strict=True):
        file.write_text("\n".join(map(json.dumps, rows)))
    annotator_picture.main([*map(str, files), "--out", str(tmp_path / "picture.svg")])
    texts = [one.text for one in ElementTree.parse(tmp_path / "picture.svg").iter() if one.tag.endswith("text")]
    assert texts.count("6 s") == 5, "four looks of 1.5 s"
    assert "after 40 cases" in texts
    assert annotator_picture.list_ways([row | {"way": "brush"}]) == [], "a way is missing"
    assert annotator_picture.list_rounds([one for one in rounds if one["case"] != "c"]) == [], "two images say little"


def test_who_searches_pays_for_looks_at_what_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = draw_disc(draw_disc(np.zeros((400, 400), np.uint8), 60, 60, 8, 1), 340, 340, 8, 2)
    draft = np.where(truth == 2, 0, truth)
    known = make_work("nuclei", draft, truth)
    searched = replace(known, is_searched=True)
    rows = [correct(work, "brush", tmp_path, monkeypatch) for work in (known, searched)]
    assert [row["reached"] for row in rows] == [True, True]
    assert [row["effort"]["looks"] for row in rows] == [1, 25]  # the last of five by five squares


def test_doubtful_places_come_before_the_rest_of_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = draw_disc(draw_disc(np.zeros((400, 400), np.uint8), 60, 60, 8, 1), 340, 340, 8, 2)
    draft = np.where(truth == 2, 0, truth)
    monkeypatch.setattr(annotator_search, "find_doubtful_centres", lambda work: [np.array([338.0, 342.0])])
    work = replace(make_work("nuclei", draft, truth), is_searched=True)
    brush, tools = (correct(work, way, tmp_path, monkeypatch) for way in ("brush", "all tools"))
    assert (brush["effort"]["looks"], tools["effort"]["looks"]) == (25, 1)
    assert tools["effort"]["keys"] >= 1


def test_stops_cover_the_image_without_those_that_were_seen() -> None:
    stops = list(annotator_search.list_stops((100, 100), 50.0, []))
    assert [stop.tolist() for stop in stops] == [[24.5, 24.5], [24.5, 74.5], [74.5, 24.5], [74.5, 74.5]]
    left = annotator_search.list_stops((100, 100), 50.0, [np.array([30.0, 70.0]), np.array([74.0, 40.0])])
    assert [stop.tolist() for stop in left] == [[24.5, 24.5], [74.5, 74.5]]
