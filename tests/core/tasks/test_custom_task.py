"""A person's own task is checked once, kept as a file, and means the same wherever it is read."""

import re
from pathlib import Path

import pytest

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import Architecture, ModelCard, Preprocessing, read_card, write_card
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.snapshot import Role, Snapshot, SnapshotItem, read_snapshot, write_snapshot
from napari_medseg.core.tasks.bundled_tasks import TASKS, Task
from napari_medseg.core.tasks.catalog import read_task, read_task_catalog, write_task
from napari_medseg.core.tasks.custom_task import (
    IMAGE_KINDS,
    append_task_labels,
    count_input_channels,
    extends,
    find_image_kind,
    get_default_colour,
    have_same_labels,
    make_custom_task,
    replace_task_labels,
)


def larynx() -> Task:
    return make_custom_task("larynx", ["vocal_folds", "glottal  space"], ["#e69f00", "#0072B2"], kind="endoscopy")


def card_of(task: Task) -> ModelCard:
    return ModelCard(
        name=task.default_model,
        version=1,
        task=task.name,
        own_task=task,
        architecture=Architecture(name="unet", in_channels=3, classes=task.n_classes),
        preprocessing=Preprocessing(),
    )


def test_labels_are_numbered_in_order_and_named_in_words() -> None:
    task = larynx()
    assert [(label.value, label.name, label.colour) for label in task.labels] == [
        (1, "vocal folds", "#E69F00"),
        (2, "glottal space", "#0072B2"),
    ]
    assert task.title == "Larynx"
    assert task.default_model == "larynx-unet"
    assert count_input_channels(task) == 3
    assert count_input_channels(make_custom_task("knee", ["bone"], kind="mr")) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": "lungs"}, "is a built-in task"),
        ({"name": "Larynx"}, "is not a valid task name"),
        ({"name": "../larynx"}, "is not a valid task name"),
        ({"labels": []}, "at least one label"),
        ({"labels": ["a", "A"]}, "two labels are called a"),
        ({"labels": ["a", " "]}, "has no name"),
        ({"labels": ["background", "a"]}, "background is always 0"),
        ({"labels": [f"l{n}" for n in range(255)]}, "at most 254 labels, not 255"),
        ({"labels": ["a", "b"], "colours": ["#000000"]}, "2 labels, but 1 colours"),
        ({"labels": ["a"], "colours": ["red"]}, "RED is not a colour"),
        ({"kind": "smell"}, "unknown kind of images 'smell'; choose one of"),
        ({"labels": ["a", "b"], "instances": True}, "numbered objects has exactly one label"),
    ],
)
def test_what_is_wrong_is_said(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(MedSegError, match=said):
        make_custom_task(**{"name": "larynx", "labels": ["fold"], **arguments})


def test_254_labels_have_254_colours() -> None:
    assert len({get_default_colour(index) for index in range(254)}) == 254
    assert all(re.fullmatch(r"#[0-9A-F]{6}", get_default_colour(index)) for index in range(254))


def test_sides_are_known_by_their_names_in_grey_images_only() -> None:
    assert make_custom_task("chest", ["heart", "left_lung", "right_lung"], kind="x-ray").sides == (3, 2)
    assert make_custom_task("chest", ["left_lung", "right_heart"], kind="ct").sides is None
    assert make_custom_task("folds", ["left_fold", "right_fold"], kind="endoscopy").sides is None


@pytest.mark.parametrize("kind", IMAGE_KINDS)
def test_each_kind_takes_images(kind: str) -> None:
    assert set(make_custom_task("new", ["a"], kind=kind).axes) <= {"YX", "ZYX", "YXC", "ZYXC"}


def test_a_task_is_the_same_after_its_file_its_card_and_its_snapshot(tmp_path: Path) -> None:
    task = larynx()
    assert read_task(write_task(task, tmp_path / "tasks")) == task
    write_card(card_of(task), tmp_path / "card.json")
    assert read_card(tmp_path / "card.json").task_definition == task
    item = SnapshotItem(name="a", image="a", labels="a", group="a", role=Role.TRAIN)
    write_snapshot(Snapshot(task="larynx", items=(item,), own_task=task), tmp_path / "snapshot.json")
    assert read_snapshot(tmp_path / "snapshot.json").task_definition == task
    assert Snapshot(task="lungs", items=(item,)).task_definition == TASKS["lungs"]


def test_a_file_that_was_tampered_with_is_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_task(larynx(), tmp_path)
    path.write_text(path.read_text().replace("glottal space", "Vocal folds"))
    assert "larynx" not in read_task_catalog([tmp_path])
    assert "larynx.json is not a task" in caplog.text
    assert "two labels" in caplog.text


def test_the_project_has_the_last_word(tmp_path: Path) -> None:
    write_task(larynx(), tmp_path / "registry")
    write_task(make_custom_task("larynx", ["tissue"]), tmp_path / "project")
    book = read_task_catalog([tmp_path / "registry", tmp_path / "project", tmp_path / "missing"])
    assert [label.name for label in book.get_task("larynx").labels] == ["tissue"]
    assert [task.name for task in book] == [*TASKS, "larynx"]
    with pytest.raises(MedSegError, match=r"unknown task 'knee'.*larynx.*medseg tasks add knee"):
        book.get_task("knee")


def test_a_card_brings_its_task_and_names_the_same(tmp_path: Path) -> None:
    registry = ModelRegistry(tmp_path / "user", tmp_path / "bundled")
    (tmp_path / "user" / "larynx-unet" / "1").mkdir(parents=True)
    write_card(card_of(larynx()), tmp_path / "user" / "larynx-unet" / "1" / "card.json")
    assert registry.read_task_catalog().get_task("larynx") == larynx()
    with pytest.raises(ValueError, match="defines 'larynx'"):
        ModelCard.model_validate(card_of(larynx()).model_dump() | {"task": "knee"})


def test_no_version_is_live_before_the_first_is_promoted(tmp_path: Path) -> None:
    folder = tmp_path / "user" / "larynx-unet" / "1"
    folder.mkdir(parents=True)
    write_card(card_of(larynx()), folder / "card.json")
    registry = ModelRegistry(tmp_path / "user", tmp_path / "bundled")
    assert registry.get_live_id("larynx") == ""
    with pytest.raises(MedSegError, match=r"the task 'larynx' has no live model.*Promote one of \['larynx-unet@1'\]"):
        registry.get_live_card("larynx")
    registry.promote("larynx-unet@1", "the first")
    assert registry.get_live_id("larynx") == "larynx-unet@1"
    with pytest.raises(MedSegError, match="first model of its task"):
        registry.roll_back("larynx")


def test_labels_decide_whether_two_tasks_mean_the_same() -> None:
    assert have_same_labels(larynx(), make_custom_task("larynx", ["vocal folds", "glottal space"]))
    assert not have_same_labels(larynx(), make_custom_task("larynx", ["glottal space", "vocal folds"]))


def test_labels_come_behind_in_colours_that_are_free() -> None:
    longer = append_task_labels(larynx(), ["tool", "blood"])
    assert [(label.value, label.name) for label in longer.labels[2:]] == [(3, "tool"), (4, "blood")]
    assert len({label.colour for label in longer.labels}) == 4
    assert longer.labels[:2] == larynx().labels
    assert extends(longer, larynx())
    assert extends(larynx(), larynx())
    assert not extends(larynx(), longer)
    assert not extends(make_custom_task("larynx", ["glottal space", "vocal folds", "tool"]), larynx())
    assert extends(replace_task_labels(larynx(), ["vocal folds", "glottal space"], ["#000000", "#FFFFFF"]), larynx())
    with pytest.raises(MedSegError, match="two labels are called vocal folds"):
        append_task_labels(larynx(), ["Vocal folds"])
    with pytest.raises(MedSegError, match="numbered objects has exactly one label"):
        append_task_labels(make_custom_task("cells", ["cell"], instances=True), ["dead cell"])


def test_sides_that_come_later_are_known_too() -> None:
    assert append_task_labels(make_custom_task("chest", ["left_lung"], kind="x-ray"), ["right lung"]).sides == (2, 1)


@pytest.mark.parametrize("kind", IMAGE_KINDS)
def test_the_kind_of_a_task_is_found_again(kind: str) -> None:
    assert find_image_kind(make_custom_task("new", ["a"], kind=kind)) == kind


def test_labels_that_were_added_anywhere_are_known_everywhere(tmp_path: Path) -> None:
    longer = append_task_labels(larynx(), ["tool"])
    write_task(longer, tmp_path / "registry")
    write_task(larynx(), tmp_path / "project")
    folders = [tmp_path / "registry", tmp_path / "project"]
    assert read_task_catalog(folders).get_task("larynx") == longer
    assert read_task_catalog(folders[::-1]).get_task("larynx") == longer
    assert read_task_catalog(folders[1:], [longer]).get_task("larynx") == longer, "from the card of a version"
