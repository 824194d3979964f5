"""Background predictions that fail: a few attempts, later and later, and one message."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest
from plugin_phantoms import Texts, phantom
from pytestqt.qtbot import QtBot

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.project import case_files
from napari_medseg.core.records import Prediction
from napari_medseg.plugin.controllers.background_prediction import MAX_ATTEMPTS, BackgroundPrediction
from napari_medseg.plugin.widgets.back_off import BackOff
from napari_medseg.workflow import cases
from napari_medseg.workflow.case_list.ranking import rank_undecided_cases


class Desk:
    """A list of cases whose images are in the project, and a clock that the test sets."""

    def __init__(self, window: SimpleNamespace, qtbot: QtBot, n_cases: int) -> None:
        window.worklist.close()
        self.ws, self.queue, self.qtbot, self.now_s = window.ws, window.prediction_queue, qtbot, 0.0
        images = [phantom(number) for number in range(n_cases)]
        for image in images:
            case_files.write_image_copy(self.ws.project.folder, image)
        self.cases = cases.add_cases(self.ws, images, "lungs")
        self.n_ahead = 500
        self.work = BackgroundPrediction(
            self.ws,
            self.queue,
            lambda n_cases: rank_undecided_cases(cases.list_cases(self.ws, "lungs"))[:n_cases],
            lambda _cost: self.n_ahead,
            lambda: "lungs-unet@1",
            BackOff(lambda: self.now_s),
        )
        self.is_open = True

    def close(self) -> None:
        """Close what predicts, once."""
        if self.is_open:
            self.work.close()
        self.is_open = False

    def try_for(self, seconds: int) -> list[str]:
        """Ask for the next prediction ten times a second; return the images that were predicted."""
        n_before = len(self.ws.engine.asked)
        for _ in range(seconds * 10):
            self.work.predict_next()
            self.qtbot.waitUntil(lambda: self.queue.running_request is None)
            self.now_s += 0.1
        return self.ws.engine.asked[n_before:]


@pytest.fixture
def open_desk(window: SimpleNamespace, qtbot: QtBot) -> Iterator[Callable[[int], Desk]]:
    """Open a desk with so many cases. It closes before its project: its timer would read a closed one."""
    desks: list[Desk] = []

    def make(n_cases: int) -> Desk:
        desks.append(Desk(window, qtbot, n_cases))
        return desks[-1]

    yield make
    for desk in desks:
        desk.close()


def test_a_full_disk_gives_a_few_attempts_and_one_message(
    open_desk: Callable[[int], Desk], told: Texts, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = open_desk(1)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(desk.ws.project, "insert", refuse)
        assert len(desk.try_for(10)) == 2
        assert len(told) == 1
        assert "No space left on device" in told
        desk.now_s += 1000
        assert len(desk.try_for(1)) == 1
    desk.now_s += 1000
    assert len(desk.try_for(1)) == 1
    assert len(desk.ws.project.read_records(Prediction)) == 1
    assert len(told) == 1


def test_a_case_that_always_fails_does_not_hold_up_the_others(open_desk: Callable[[int], Desk], told: Texts) -> None:
    desk = open_desk(3)
    predict = desk.ws.engine.predict

    def fail_on_first(image: object, *rest: object, **options: object) -> object:
        if image.name == "patient 1 case 1":
            desk.ws.engine.asked.append("patient 1 case 1")
            raise MedSegError("the prediction process ended")
        return predict(image, *rest, **options)

    desk.ws.engine.predict = fail_on_first
    for _ in range(10):
        desk.now_s += 1000
        desk.try_for(1)
    assert desk.ws.engine.asked.count("patient 1 case 1") == MAX_ATTEMPTS
    assert [row.state for row in cases.list_cases(desk.ws, "lungs")] == ["new", "predicted", "predicted"]
    assert list(told) == ["the prediction process ended"]
    desk.work.forget_failures()
    assert desk.try_for(1) == ["patient 1 case 1"]


def test_a_case_without_its_image_is_left_alone(open_desk: Callable[[int], Desk], told: Texts) -> None:
    desk = open_desk(2)
    case_files.get_image_copy_path(desk.ws.project.folder, desk.cases[0].content_hash).unlink()
    assert desk.try_for(1) == ["patient 2 case 2"]
    assert len(told) == 0


def test_so_many_cases_are_predicted_ahead_as_are_wanted(open_desk: Callable[[int], Desk]) -> None:
    desk = open_desk(5)
    desk.n_ahead = 2
    assert len(desk.try_for(1)) == 2
    desk.n_ahead = 4
    assert len(desk.try_for(1)) == 2


def test_drafts_of_a_dropped_state_are_predicted_again_however_far_they_are(open_desk: Callable[[int], Desk]) -> None:
    desk = open_desk(6)
    assert len(desk.try_for(1)) == 6
    for case in desk.cases[3:]:
        made = desk.ws.project.read_records(Prediction, "case_id", case.id)[0]
        desk.ws.project.insert(replace(made, id=0, adapted_sha256="of a state", adapted_corrections=(1,)))
    desk.n_ahead = 1
    assert desk.try_for(1) == [f"patient {n} case {n}" for n in (4, 5, 6)]
    assert desk.try_for(1) == []


def test_what_the_user_asked_for_comes_first_also_if_it_is_predicted(open_desk: Callable[[int], Desk]) -> None:
    desk = open_desk(4)
    desk.n_ahead = 1
    assert desk.try_for(1) == ["patient 1 case 1"]
    desk.work.predict_first([desk.cases[3], desk.cases[0]], "lungs-unet@1")
    assert desk.work.n_requested == 2
    assert desk.try_for(1) == ["patient 4 case 4", "patient 1 case 1"]
    assert desk.work.n_requested == 0


def test_a_request_whose_image_is_gone_is_told_and_given_up(open_desk: Callable[[int], Desk], told: Texts) -> None:
    desk = open_desk(1)
    desk.n_ahead = 0
    case_files.get_image_copy_path(desk.ws.project.folder, desk.cases[0].content_hash).unlink()
    desk.work.predict_first(desk.cases, "lungs-unet@1")
    assert desk.try_for(1) == []
    assert "cannot be shown" in told
    assert desk.work.n_requested == 0


@pytest.mark.parametrize("then", ["", "covid-unet@1"])
def test_what_the_user_asked_for_keeps_its_model_if_another_task_is_shown_or_nothing_is_predicted_ahead(
    open_desk: Callable[[int], Desk], then: str
) -> None:
    desk = open_desk(2)
    desk.n_ahead = 0
    desk.work.predict_first(desk.cases[:1], "lungs-unet@1")
    desk.work._get_model = lambda: then
    assert desk.try_for(1) == ["patient 1 case 1"]
    assert [one.model for one in desk.ws.project.read_records(Prediction)] == ["lungs-unet@1"]
    assert desk.work.n_requested == 0
    desk.work.predict_first(desk.cases, "lungs-unet@1")
    desk.close()
    assert desk.try_for(1) == []
