"""The process that adapts: started, waiting, ended in every way, and once with a real network."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import torch
from learning_phantoms import get_sha256, write_fake_python, write_state
from workflow_phantoms import accepted, phantom, phantom_labels

from napari_medseg.core.grouping.split import choose_validation_groups
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import Architecture, Lineage, ModelCard, Preprocessing
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.project.database import Project
from napari_medseg.core.records import Case, Correction
from napari_medseg.core.snapshot import Role, read_snapshot
from napari_medseg.inference.events import PredictionEvent, PredictionResult
from napari_medseg.inference.predictor import Predictor
from napari_medseg.networks import build_network, save_version
from napari_medseg.workflow.cases import add_cases
from napari_medseg.workflow.hold_out.held_out_groups import set_held_out
from napari_medseg.workflow.learning.learner import AcceptLearner, start_process
from napari_medseg.workflow.learning.lesson import plan_lesson, write_lesson
from napari_medseg.workflow.learning.next_draft import find_state
from napari_medseg.workflow.review import accept, open_review, predict, record_prediction
from napari_medseg.workflow.workspace import Workspace
from training.adapt.request import SNAPSHOT_FILE, read_request, write_request

LIVE = "lungs-unet@1"
SLEEP = "time.sleep(60)"


class HereEngine:
    """Predicts in this process, which has torch already: another one would load it for seconds."""

    def predict(self, image: Image, version_folder: Path, **_: object) -> Iterator[PredictionEvent]:
        return Predictor.load(version_folder, "cpu").predict(image)

    def close(self) -> None:
        pass


@pytest.fixture
def ws(ws: Workspace) -> Workspace:
    ws.adapted.is_on = True
    return ws


@pytest.fixture
def start(ws: Workspace, tmp_path: Path) -> Iterator[Callable[..., AcceptLearner]]:
    """Start an adaptation of what was accepted, in a process that stands in for the real one."""
    started: list[AcceptLearner] = []

    def begin(mode: str = "", python: str = "", *, paused: bool = False) -> AcceptLearner:
        learner = AcceptLearner(ws, python or write_fake_python(tmp_path, mode))
        started.append(learner)
        learner.start("lungs", write(ws), paused=paused)
        return learner

    yield begin
    for learner in started:
        learner.stop()


def write(ws: Workspace) -> Path:
    lesson = plan_lesson(ws, "lungs")
    assert lesson is not None
    folder = ws.adapted.make_folder()
    assert write_lesson(lesson, folder)
    return folder


def wait_for_end(learner: AcceptLearner, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while learner.is_running and time.monotonic() < until:
        learner.poll()
        time.sleep(0.01)
    assert not learner.is_running


def read_roles(folder: Path) -> dict[str, Role]:
    return {item.group: item.role for item in read_snapshot(folder / SNAPSHOT_FILE).items}


def test_an_accepted_case_makes_a_state_and_the_next_goes_on_from_it(
    ws: Workspace, start: Callable[..., AcceptLearner]
) -> None:
    accepted(ws, 1, "patient 1")
    wait_for_end(start())
    first = find_state(ws, "lungs", LIVE)
    assert first is not None
    assert first.corrections == (1,)
    assert get_sha256(first.folder) == first.sha256
    assert plan_lesson(ws, "lungs") is None, "nothing new"

    accepted(ws, 2, "patient 1")
    request = read_request(write(ws))
    assert (request.start, request.start_sha256) == (str(first.folder.absolute()), first.sha256)
    assert request.corrections == (1, 2)


WORSE = (
    '(folder / \'result.json\').write_text(\'{"kept": false, "text": "worse", "validation": '
    '{"live": 0.9, "adapted": %s, "n_planes": 1}}\'); sys.exit()'
)


@pytest.mark.parametrize(("adapted", "stays"), [("0.8", False), ("0.95", True)])
def test_a_state_that_was_never_compared_goes_if_a_new_start_is_no_better(
    ws: Workspace, start: Callable[..., AcceptLearner], adapted: str, stays: bool
) -> None:
    names = ["patient 1", "patient 2", "patient 3"]
    (validating,) = choose_validation_groups(names, 3)
    for number, name in enumerate([validating, *(name for name in names if name != validating)], start=1):
        set_held_out(ws, accepted(ws, number, name).group, False)
        wait_for_end(start(WORSE % adapted if number == 3 else ""))
    assert (find_state(ws, "lungs", LIVE) is not None) is stays


def test_with_three_groups_learning_begins_anew_so_that_one_can_validate(
    ws: Workspace, start: Callable[..., AcceptLearner]
) -> None:
    names = ["patient 1", "patient 2", "patient 3"]
    (validating,) = choose_validation_groups(names, 3)
    order = [validating, *(name for name in names if name != validating)]
    for number, name in enumerate(order[:2], start=1):
        set_held_out(ws, accepted(ws, number, name).group, False)
        wait_for_end(start())
    state = find_state(ws, "lungs", LIVE)
    assert state is not None
    assert state.corrections == (1, 2)

    set_held_out(ws, accepted(ws, 3, order[2]).group, False)
    folder = write(ws)
    request = read_request(folder)
    assert (request.start, request.corrections) == ("", (2, 3))
    roles = [role for role in read_roles(folder).values() if role is not Role.REPLAY]
    assert sorted(roles) == [Role.TRAIN, Role.TRAIN, Role.VALIDATE]


def test_held_out_cases_and_their_copies_are_not_in_the_folder(ws: Workspace) -> None:
    held = accepted(ws, 1, "patient 1")
    accepted(ws, 2, "patient 2")
    other = ws.project.get_record(Case, 2)
    for group, is_held_out in ((other.group, False), (held.group, True)):
        set_held_out(ws, group, is_held_out)
    roles = read_roles(write(ws))
    assert held.group not in roles
    assert Role.HOLD_OUT not in roles.values()

    set_held_out(ws, other.group, True)
    assert plan_lesson(ws, "lungs") is None


def test_without_a_live_version_nothing_is_learnt(ws: Workspace) -> None:
    accepted(ws, 1)
    assert plan_lesson(ws, "covid") is None


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        ("sys.exit(1)", "ended early"),
        ("raise MemoryError('no memory')", "no memory"),
        ("(folder / 'result.json').write_text('{'); sys.exit()", "ended early"),
        ('(folder / \'result.json\').write_text(\'{"kept": true, "weights_sha256": "0"}\'); sys.exit()', "damaged"),
        (
            '(folder / \'result.json\').write_text(\'{"kept": false, "text": "it would be worse (Dice 1)"}\'); '
            "sys.exit()",
            "would be worse",
        ),
        ("import shutil; shutil.rmtree(folder); sys.exit()", "ended early"),
    ],
)
def test_a_process_without_a_good_state_leaves_the_live_version_and_says_why_once(
    ws: Workspace, start: Callable[..., AcceptLearner], mode: str, told: str
) -> None:
    accepted(ws, 1)
    learner = start(mode)
    wait_for_end(learner)
    notices = ws.adapted.take_notices()
    assert len(notices) == 1
    assert told in notices[0]
    assert notices[0].count("\n") == 0
    assert find_state(ws, "lungs", LIVE) is None
    assert not list((ws.project.folder / "adapted").iterdir()), "nothing is left"

    learner.start("lungs", write(ws))
    wait_for_end(learner)
    assert not ws.adapted.take_notices(), "the same reason is not told at each Accept"


def test_a_program_that_cannot_start_is_told(ws: Workspace, start: Callable[..., AcceptLearner]) -> None:
    accepted(ws, 1)
    with pytest.raises(Exception, match="cannot be learnt from"):
        start(python="/nowhere/python")
    assert not list((ws.project.folder / "adapted").iterdir())


def test_a_killed_process_leaves_the_state_before(ws: Workspace, start: Callable[..., AcceptLearner]) -> None:
    accepted(ws, 1)
    before = write_state(ws, (1,))
    ws.adapted.keep(before)
    accepted(ws, 2, "patient 1")
    learner = start(SLEEP)
    psutil.Process(learner.pid).kill()
    wait_for_end(learner)
    assert find_state(ws, "lungs", LIVE) is before


def test_it_waits_while_it_is_paused(ws: Workspace, start: Callable[..., AcceptLearner]) -> None:
    accepted(ws, 1)
    learner = start(paused=True)
    time.sleep(0.3)
    learner.poll()
    assert learner.is_running
    learner.set_paused(False)
    wait_for_end(learner)
    assert find_state(ws, "lungs", LIVE) is not None


def test_stopping_ends_the_process_and_removes_its_folder(ws: Workspace, start: Callable[..., AcceptLearner]) -> None:
    accepted(ws, 1)
    learner = start(SLEEP)
    pid = learner.pid
    learner.stop()
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert not list((ws.project.folder / "adapted").iterdir())


def test_the_process_ends_with_its_window(ws: Workspace) -> None:
    process = start_process(ws.adapted.make_folder(), sys.executable)
    assert process.stdin is not None
    process.stdin.close()  # as when the window is killed
    assert process.wait(60) == 2


def test_a_case_withdrawn_meanwhile_ends_in_the_live_version(
    ws: Workspace, start: Callable[..., AcceptLearner]
) -> None:
    case = accepted(ws, 1)
    learner = start(paused=True)
    set_held_out(ws, case.group, True)
    learner.set_paused(False)
    wait_for_end(learner)
    assert find_state(ws, "lungs", LIVE) is None
    assert not ws.adapted.take_notices()


@pytest.mark.usefixtures("warm_trainings")
def test_the_whole_chain_with_a_real_network(tmp_path: Path) -> None:
    """Accept, a process of its own, and a draft from the adapted weights, which the engine would load alike."""
    card = ModelCard(
        name="lungs-unet",
        version=1,
        task="lungs",
        architecture=Architecture(name="conv_unet", in_channels=1, classes=3, options={"widths": [4, 4, 8, 8]}),
        preprocessing=Preprocessing(min_side_px=64, max_side_px=64),
        precision="fp32",
        lineage=Lineage(created="2024-01-01"),
    )
    torch.manual_seed(0)
    save_version(build_network(card.architecture), card, tmp_path / "bundled" / "lungs-unet" / "1")
    registry = ModelRegistry(tmp_path / "registry", tmp_path / "bundled")
    ws = Workspace(Project.create(tmp_path / "project"), registry, HereEngine(), samples=tmp_path)
    learner = AcceptLearner(ws)
    try:
        ws.adapted.is_on = True
        image = phantom(1)
        case = add_cases(ws, [image], "lungs")[0]
        result = PredictionResult(phantom_labels(), 0.1, None, 1.0, "CPU")
        draft = open_review(ws, case, record_prediction(ws, case, result, LIVE))
        accept(ws, draft, draft.labels, image)
        folder = write(ws)
        write_request(read_request(folder).model_copy(update={"max_steps": 2}), folder)
        learner.start("lungs", folder)
        wait_for_end(learner, 300.0)

        state = find_state(ws, "lungs", LIVE)
        assert state is not None, ws.adapted.take_notices()
        assert state.corrections == (1,)
        assert get_sha256(state.folder) != registry.get_live_card("lungs").weights_sha256
        other = phantom(2)
        following = add_cases(ws, [other], "lungs")[0]
        events = list(predict(ws, following, other, LIVE, state=state))
        made = record_prediction(ws, following, events[-1], LIVE)
        assert made.model_title == "lungs-unet@1 + 1 case"
        assert made.adapted_sha256 == state.sha256
        assert ws.project.read_records(Correction)[0].adapted_sha256 == ""
    finally:
        learner.stop()
        ws.close()
