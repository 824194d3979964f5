"""Labels are added to a task that is in use: what was labelled keeps its meaning, the model grows with the next run."""

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from workflow_phantoms import ONE_EPOCH, SHAPE, phantom_labels

from napari_medseg.cli.main import main
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import Architecture, Lineage, ModelCard, Preprocessing
from napari_medseg.core.project.case_files import read_case_labels
from napari_medseg.core.records import Case, Correction, Run, now
from napari_medseg.core.tasks.catalog import read_task
from napari_medseg.core.tasks.custom_task import append_task_labels, make_custom_task, replace_task_labels
from napari_medseg.networks import build_network, save_version
from napari_medseg.workflow import retrain, run_control
from napari_medseg.workflow.cases import add_cases
from napari_medseg.workflow.review import accept, open_review, predict
from napari_medseg.workflow.tasks import custom_tasks
from napari_medseg.workflow.tasks.custom_tasks import add_task, read_task_file_times
from napari_medseg.workflow.tasks.relabel_task import change_labels, is_task_in_use
from napari_medseg.workflow.workspace import Workspace
from training.run_folder import Finished


def frame(number: int) -> Image:
    """A red picture with a bright field for each label."""
    pixels = np.random.default_rng(number).integers(0, 60, (*SHAPE, 3))
    pixels[phantom_labels() > 0] += 150
    return Image(pixels.astype(np.uint8), "YXC", units="rgb", name=f"frame {number}", group=f"video {number}")


def drawn(ws: Workspace, number: int, *, largest: int = 2) -> Case:
    """An accepted case with two labels, or with a third one too."""
    (case,) = add_cases(ws, [frame(number)], "larynx")
    labels = phantom_labels()
    labels[40:46, 20:44] = 3 * (largest == 3)
    draft = open_review(ws, case, None)
    draft.record(np.flatnonzero(labels), np.zeros(np.count_nonzero(labels), np.uint8), labels[labels > 0])
    accept(ws, draft, draft.labels, frame(number))
    return case


def live_model(ws: Workspace) -> ModelCard:
    """A small network with random weights for the task as it is now."""
    task = ws.tasks.get_task("larynx")
    torch.manual_seed(0)
    options = {"widths": [8, 16, 16]}
    architecture = Architecture(name="conv_unet", in_channels=3, classes=task.n_classes, options=options)
    card = ModelCard(
        name="larynx-unet",
        version=1,
        task="larynx",
        own_task=task,
        architecture=architecture,
        preprocessing=Preprocessing(min_side_px=64, max_side_px=64),
        precision="fp32",
        lineage=Lineage(created=now()),
    )
    save_version(build_network(architecture), card, ws.registry.user_dir / "larynx-unet" / "1")
    return ws.registry.promote("larynx-unet@1")


@pytest.fixture
def larynx(ws: Workspace) -> Workspace:
    add_task(ws, make_custom_task("larynx", ["vocal_folds", "glottis"], kind="endoscopy"))
    return ws


def extended(ws: Workspace) -> None:
    change_labels(ws, append_task_labels(ws.tasks.get_task("larynx"), ["tool"]))


def names(ws: Workspace) -> list[str]:
    return [label.name for label in ws.tasks.get_task("larynx").labels]


def test_a_new_label_gets_the_next_value_and_corrections_keep_theirs(larynx: Workspace) -> None:
    case = drawn(larynx, 1)
    (before,) = larynx.project.read_records(Correction)
    extended(larynx)
    assert names(larynx) == ["vocal folds", "glottis", "tool"]
    in_project = read_task(larynx.project.folder / "tasks" / "larynx.json")
    assert in_project == read_task(larynx.registry.tasks_dir / "larynx.json") == larynx.tasks.get_task("larynx")
    assert larynx.project.read_records(Correction) == [before]
    np.testing.assert_array_equal(read_case_labels(larynx.project.folder, case, before), phantom_labels())
    drawn(larynx, 2, largest=3)


def test_a_label_that_is_in_use_is_neither_removed_nor_renamed(larynx: Workspace) -> None:
    extended(larynx)
    assert not is_task_in_use(larynx, "larynx")
    drawn(larynx, 1)
    assert is_task_in_use(larynx, "larynx")
    task = larynx.tasks.get_task("larynx")
    colours = [label.colour for label in task.labels]
    with pytest.raises(MedSegError, match=r"^label 2 'glottis' is used by the correction of video 1 case 1\. It keeps"):
        change_labels(larynx, replace_task_labels(task, ["vocal folds"], colours[:1]))
    with pytest.raises(MedSegError, match="label 1 'vocal folds' is used"):
        change_labels(larynx, replace_task_labels(task, ["folds", "glottis", "tool"], colours))
    assert names(larynx) == ["vocal folds", "glottis", "tool"]
    change_labels(larynx, replace_task_labels(task, ["vocal folds", "glottis"], ["#112233", "#445566"]))
    assert names(larynx) == ["vocal folds", "glottis"], "nothing used the third"
    assert larynx.tasks.get_task("larynx").labels[0].colour == "#112233"
    with pytest.raises(MedSegError, match="is a built-in task"):
        change_labels(larynx, append_task_labels(larynx.tasks.get_task("lungs"), ["heart"]))


def test_a_label_of_a_model_or_of_a_draft_stays(larynx: Workspace) -> None:
    only_one = replace_task_labels(larynx.tasks.get_task("larynx"), ["vocal folds"], ["#112233"])
    (case,) = add_cases(larynx, [frame(1)], "larynx")
    draft = open_review(larynx, case, None)
    draft.record([3], 0, 2)
    with pytest.raises(MedSegError, match="is used by the draft of video 1 case 1"):
        change_labels(larynx, only_one)
    live_model(larynx)
    with pytest.raises(MedSegError, match="and the model larynx-unet@1"):
        change_labels(larynx, only_one)
    draft.close()


def test_the_model_of_before_still_predicts_and_the_next_one_knows_the_label(
    larynx: Workspace, train_here: Callable[[Callable[[], Run]], Run]
) -> None:
    live_model(larynx)
    cases = [drawn(larynx, number) for number in range(3)]
    extended(larynx)
    predict(larynx, cases[0], frame(0))  # is not refused
    for number in range(3, 8):
        drawn(larynx, number, largest=3)
    run = train_here(lambda: retrain.start_run(larynx, "larynx", None, changes=ONE_EPOCH))
    assert isinstance(run_control.poll_run(larynx, run)[0][-1], Finished)
    card = retrain.keep_old(larynx, run)
    assert card.architecture.classes == 4
    assert card.own_task == larynx.tasks.get_task("larynx")
    assert card.lineage.parent == "larynx-unet@1"
    assert larynx.registry.get_card("larynx-unet@1").architecture.classes == 3


def test_labels_added_by_a_command_reach_a_project_that_has_its_own_copy(
    larynx: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn(larynx, 1)
    before = read_task_file_times(larynx)
    arguments = ["tasks", "extend", "larynx", "--labels", "tool,blood", "--colours", "#010203,#040506"]
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--registry", str(larynx.registry.user_dir)])
    assert not end.value.code
    assert "3 tool #010203, 4 blood #040506" in capsys.readouterr().out
    assert read_task_file_times(larynx) != before
    assert names(larynx) == ["vocal folds", "glottis"]
    custom_tasks.reload_tasks(larynx)
    assert names(larynx) == ["vocal folds", "glottis", "tool", "blood"]
    drawn(larynx, 2, largest=3)
    kept = json.loads((larynx.project.folder / "tasks" / "larynx.json").read_text())
    assert len(kept["labels"]) == 4, "the project takes them along, too"


@pytest.mark.parametrize(
    ("name", "labels", "said"),
    [
        ("knee", "bone", "unknown task 'knee'"),
        ("lungs", "heart", "built-in task"),
        ("larynx", "Glottis", "two labels are called glottis"),
        ("larynx", "", "name the new labels"),
    ],
)
def test_what_cannot_be_added_is_said(
    larynx: Workspace, capsys: pytest.CaptureFixture[str], name: str, labels: str, said: str
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["tasks", "extend", name, "--labels", labels, "--registry", str(larynx.registry.user_dir)])
    assert end.value.code == 1
    assert said in capsys.readouterr().err


def test_a_task_for_other_labels_is_not_taken_for_an_extension(larynx: Workspace) -> None:
    drawn(larynx, 1)
    other = make_custom_task("larynx", ["glottis", "vocal folds", "tool"])
    custom_tasks.write_task(other, larynx.registry.tasks_dir)
    custom_tasks.reload_tasks(larynx)
    assert names(larynx) == ["vocal folds", "glottis"], "the project's own word holds"
