"""Predictions of whole slides chunk by chunk: the same as of one image, and resumable after any interruption."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from whole_slide_phantoms import (
    ClassModel,
    DiscModel,
    draw_discs,
    find_discs,
    plan_small,
    read_nuclei_card,
    write_slide,
)

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.quality.instance_metrics import compute_object_scores
from napari_medseg.core.slides.open_slide import open_slide
from napari_medseg.core.slides.slide import DamagedPartError, Slide
from napari_medseg.core.tasks.custom_task import make_custom_task
from napari_medseg.inference.engine.interface import PredictionCancelled
from napari_medseg.inference.events import PredictionEvent
from napari_medseg.workflow.whole_slide import plan as plans
from napari_medseg.workflow.whole_slide.manifest import LABELS_FOLDER, TABLE_FILE
from napari_medseg.workflow.whole_slide.prediction import (
    WholeSlide,
    begin_prediction,
    continue_prediction,
    predict_chunks,
)

HEIGHT, WIDTH, N_DISCS = 560, 590, 300


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    return draw_discs(HEIGHT, WIDTH, N_DISCS)


@pytest.fixture
def slide(tmp_path: Path, picture: NDArray[np.uint8]) -> Iterator[Slide]:
    opened = open_slide(write_slide(tmp_path / "a.tif", picture))
    yield opened
    opened.close()


def find_whole(picture: NDArray[np.uint8]) -> NDArray[np.uint32]:
    return find_discs(Image(picture, "YXC", units="rgb"))


def run(whole: WholeSlide, slide: Slide, model: DiscModel) -> None:
    for _ in predict_chunks(whole, slide, model.predict):
        pass


def read_all(whole: WholeSlide) -> NDArray[np.uint32]:
    height, width = whole.labels.shape
    labels: NDArray[np.uint32] = whole.labels.read((slice(0, height), slice(0, width)))
    return labels


def assert_same_objects(labels: NDArray[np.uint32], expected: NDArray[np.uint32]) -> None:
    """The same pixels in the same objects, under any numbers."""
    assert np.array_equal(labels > 0, expected > 0)
    pairs = np.unique(np.stack([labels[labels > 0], expected[labels > 0]]), axis=1)
    assert pairs.shape[1] == len(np.unique(pairs[0])) == len(np.unique(pairs[1]))


@pytest.mark.parametrize("spoil_px", [0, 12])
def test_nine_chunks_are_as_one_image(tmp_path: Path, slide: Slide, picture: NDArray[np.uint8], spoil_px: int) -> None:
    with begin_prediction(tmp_path / "out", plan_small(slide, read_nuclei_card())) as whole:
        assert whole.table.n_chunks == 9
        run(whole, slide, DiscModel(spoil_px))
        labels, n_objects = read_all(whole), whole.table.n_objects
        assert whole.is_complete
        records = list(whole.table.iterate_objects())
    expected = find_whole(picture)
    if spoil_px:  # at the ends of the slide, where it has no surroundings
        expected[:spoil_px] = expected[-spoil_px:] = expected[:, :spoil_px] = expected[:, -spoil_px:] = 0
    assert_same_objects(labels, expected)
    assert n_objects == len(np.unique(expected)) - 1
    sizes = np.bincount(labels.ravel())
    assert all(sizes[record.id] == record.area_px for record in records)
    assert compute_object_scores(labels, expected).pq == 1.0


def test_objects_of_any_size_are_one(tmp_path: Path) -> None:
    picture = np.full((560, 590, 3), 235, np.uint8)
    picture[100:130, 20:570] = 40  # a bar through three chunks
    picture[250:540, 200:230] = picture[250:540, 400:430] = picture[250:280, 200:430] = 40  # a horseshoe
    with (
        open_slide_file(tmp_path, picture) as slide,
        begin_prediction(tmp_path / "out", plan_small(slide, read_nuclei_card())) as whole,
    ):
        run(whole, slide, DiscModel())
        assert_same_objects(read_all(whole), find_whole(picture))
        records = sorted(whole.table.iterate_objects(), key=lambda record: record.top)
        assert [record.area_px for record in records] == [30 * 550, 2 * 290 * 30 + 30 * 170]
        assert not whole.table.list_pairs()


class open_slide_file:
    def __init__(self, folder: Path, picture: NDArray[np.uint8]) -> None:
        self._slide = open_slide(write_slide(folder / "b.tif", picture))

    def __enter__(self) -> Slide:
        return self._slide

    def __exit__(self, *_: object) -> None:
        self._slide.close()


@pytest.mark.parametrize("n_events", [1, 2, 5, 8, 13, 20, 27])
def test_a_prediction_that_stopped_anywhere_goes_on(
    tmp_path: Path, slide: Slide, picture: NDArray[np.uint8], n_events: int
) -> None:
    card = read_nuclei_card()
    with begin_prediction(tmp_path / "out", plan_small(slide, card)) as whole:
        events = predict_chunks(whole, slide, DiscModel().predict)
        for _ in range(n_events):
            next(events)
        n_done = whole.table.count("done")
    model = DiscModel()
    with continue_prediction(tmp_path / "out", slide, (card.id, card.weights_sha256)) as whole:
        run(whole, slide, model)
        assert_same_objects(read_all(whole), find_whole(picture))
        assert whole.table.n_objects == N_DISCS
    assert model.n_predicted == 9 - n_done


class Killed(BaseException):
    pass


@pytest.mark.parametrize("step", ["write", "commit_chunk", "replace", "join"])
@pytest.mark.parametrize("nth", [1, 4])
@pytest.mark.parametrize("after", [False, True])
def test_a_kill_between_labels_and_table_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, nth: int, after: bool
) -> None:
    picture = draw_discs(HEIGHT, WIDTH, 150)
    picture[100:130, 20:570] = 40
    with open_slide_file(tmp_path, picture) as slide:
        whole = begin_prediction(tmp_path / "out", plan_small(slide, read_nuclei_card()))
        owner = whole.labels if step in ("write", "replace") else whole.table
        original, n_calls = getattr(owner, step), 0

        def die(*args: object) -> None:
            nonlocal n_calls
            n_calls += 1
            if n_calls == nth and not after:
                raise Killed
            original(*args)
            if n_calls == nth:
                raise Killed

        monkeypatch.setattr(owner, step, die)
        try:
            run(whole, slide, DiscModel())
        except Killed:
            pass
        else:
            assert n_calls < nth
        whole.close()
        with continue_prediction(tmp_path / "out") as again:
            run(again, slide, DiscModel())
            labels = read_all(again)
            assert_same_objects(labels, find_whole(picture))
            sizes = np.bincount(labels.ravel())
            records = list(again.table.iterate_objects())
            assert sorted(record.id for record in records) == (np.flatnonzero(sizes[1:]) + 1).tolist()
            assert all(sizes[record.id] == record.area_px for record in records)


def test_reduced_levels_hold_every_second_pixel(tmp_path: Path, slide: Slide) -> None:
    big = draw_discs(1300, 1500, 200)
    with (
        open_slide_file(tmp_path, big) as large,
        begin_prediction(tmp_path / "out", plan_small(large, read_nuclei_card(), core_px=333)) as whole,
    ):
        run(whole, large, DiscModel())
        levels = whole.labels.levels
        assert len(levels) == 2
        assert np.array_equal(levels[1][:], levels[0][::2, ::2])


def test_classes_have_no_seam(tmp_path: Path, slide: Slide, picture: NDArray[np.uint8]) -> None:
    task = make_custom_task("tissue", ["stroma", "nuclei"], kind="histology")
    card = read_nuclei_card(instances=None, task="tissue", own_task=task)
    with begin_prediction(tmp_path / "out", plan_small(slide, card)) as whole:
        run(whole, slide, ClassModel())
        labels = read_all(whole)
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, np.where(picture[..., 0] < 150, 2, 1))


def test_a_damaged_part_is_left_out_and_said(tmp_path: Path, slide: Slide, monkeypatch: pytest.MonkeyPatch) -> None:
    read = type(slide).read

    def fail(self: Slide, level: int, y: int, x: int, height: int, width: int) -> NDArray[np.uint8]:
        if y <= 250 < y + height and x <= 250 < x + width and (y, x) == (168, 168):
            raise DamagedPartError(self.name, level, y, x, height, width, "no JPEG")
        return read(self, level, y, x, height, width)

    plan = plan_small(slide, read_nuclei_card())
    monkeypatch.setattr(type(slide), "read", fail)
    with begin_prediction(tmp_path / "out", plan) as whole:
        notices = [event.notice for event in predict_chunks(whole, slide, DiscModel().predict) if event.notice]
        assert whole.table.count("done") == 8
        ((number, reason),) = whole.table.list_reasons()
        assert number == 4
        assert reason.startswith("the slide is damaged at level 0")  # it names no one
        assert "no JPEG" in notices[0]
        monkeypatch.setattr(type(slide), "read", read)
        run(whole, slide, DiscModel())
        assert whole.is_complete
        assert whole.table.n_objects == N_DISCS


def test_it_gives_way_and_predicts_the_chunk_again(tmp_path: Path, slide: Slide) -> None:
    asked = iter([False, True, True, False])
    with begin_prediction(tmp_path / "out", plan_small(slide, read_nuclei_card())) as whole:
        events = predict_chunks(whole, slide, DiscModel().predict, lambda: next(asked, False))
        seen = list(events)
        assert sum(event.is_waiting for event in seen) == 1
        assert whole.is_complete
        assert whole.table.n_objects == N_DISCS


def test_a_cancel_of_others_does_not_end_it(tmp_path: Path, slide: Slide) -> None:
    model, n_calls = DiscModel(), 0

    def predict(image: Image) -> Iterator[PredictionEvent]:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 2:
            raise PredictionCancelled("the prediction was cancelled")
        yield from model.predict(image)

    with begin_prediction(tmp_path / "out", plan_small(slide, read_nuclei_card())) as whole:
        list(predict_chunks(whole, slide, predict))
        assert whole.is_complete


def test_another_slide_model_or_folder_is_refused(tmp_path: Path, slide: Slide, picture: NDArray[np.uint8]) -> None:
    card = read_nuclei_card()
    plan = plan_small(slide, card)
    begin_prediction(tmp_path / "out", plan).close()
    with pytest.raises(MedSegError, match="holds a prediction already"):
        begin_prediction(tmp_path / "out", plan)
    with pytest.raises(MedSegError, match="begun with nuclei-unet@2, not with nuclei-unet@3"):
        continue_prediction(tmp_path / "out", slide, ("nuclei-unet@3", "ab"))
    with pytest.raises(MedSegError, match="begun with other weights of nuclei-unet@2"):
        continue_prediction(tmp_path / "out", slide, (card.id, "ab"))
    with (
        open_slide_file(tmp_path, np.ascontiguousarray(picture[::-1])) as other,
        pytest.raises(MedSegError, match="another slide"),
    ):
        continue_prediction(tmp_path / "out", other, (card.id, card.weights_sha256))
    with pytest.raises(MedSegError, match="holds no prediction"):
        continue_prediction(tmp_path)


def test_options_that_a_begun_prediction_cannot_follow_are_refused(tmp_path: Path, slide: Slide) -> None:
    whole = begin_prediction(tmp_path / "out", plan_small(slide, read_nuclei_card()))
    begun = whole.manifest.grid.um_per_px
    whole.close()
    assert begun is not None
    for same in (None, begun):
        plans.refuse_other_choice(tmp_path / "out", slide, same, everywhere=False)
    with pytest.raises(MedSegError, match=r"not 1\.5\. Choose another folder for a new one"):
        plans.refuse_other_choice(tmp_path / "out", slide, 1.5, everywhere=False)


def test_a_start_that_was_killed_is_begun_again(tmp_path: Path, slide: Slide) -> None:
    begin_prediction(tmp_path / "out", plan_small(slide, read_nuclei_card())).close()
    (tmp_path / "out" / TABLE_FILE).unlink()
    (tmp_path / "out" / LABELS_FOLDER / ".zattrs").unlink()
    with continue_prediction(tmp_path / "out") as whole:
        run(whole, slide, DiscModel())
        assert whole.table.n_objects == N_DISCS


def test_a_full_disk_is_refused_before_the_start(tmp_path: Path, slide: Slide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "SPARE_BYTES", 2**60)
    with pytest.raises(MedSegError, match="MB free"):
        begin_prediction(tmp_path / "out", plan_small(slide, read_nuclei_card()))
    assert not (tmp_path / "out").exists()


def test_a_disk_that_fills_up_leaves_what_is_done(
    tmp_path: Path, slide: Slide, monkeypatch: pytest.MonkeyPatch
) -> None:
    with begin_prediction(tmp_path / "out", plan_small(slide, read_nuclei_card())) as whole:
        events = predict_chunks(whole, slide, DiscModel().predict)
        while whole.table.count("done") < 3:
            next(events)

        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(whole.labels, "write", fail)
        with pytest.raises(MedSegError, match="No space left"):
            list(events)
    with continue_prediction(tmp_path / "out") as whole:
        run(whole, slide, DiscModel())
        assert whole.table.n_objects == N_DISCS
