from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from training_phantoms import item, small_card

from napari_medseg.core.atomic_io import compute_file_sha256
from napari_medseg.core.decoded_size import limit
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import InstanceSeparation, PostprocessingStep, RegionOfInterest
from napari_medseg.core.snapshot import IGNORE_INDEX, Box, Role, SnapshotItem
from napari_medseg.core.tasks.bundled_tasks import TASKS
from training.data.label_sets import encode_label_set, unmark_certain
from training.data.sample_reader import MAX_PLANES_PER_IMAGE, SampleReader, choose_training_planes, find_largest_label
from training.evaluation.evaluate import load_case
from training.evaluation.hold_out_evaluation import make_labelled_case

LUNGS = TASKS["lungs"]


def reader(root: Path, steps: tuple[PostprocessingStep, ...] = ()) -> SampleReader:
    return SampleReader(root, small_card(), LUNGS, seed=0, label_steps=steps)


def test_a_picture_becomes_one_plane_as_the_predictor_sees_it(tmp_path: Path) -> None:
    one = reader(tmp_path).read_image(item(tmp_path, "a", Role.TRAIN, seed=1), 3)
    (plane,) = one.planes
    assert len(plane.views) == 1
    assert plane.views[0].shape == (1, 64, 64)
    assert float(plane.views[0].min()) == -1
    assert float(plane.views[0].max()) == 1
    assert set(np.unique(plane.labels)) == {0, 1, 2}


def test_the_copy_of_a_project_is_read_whatever_memory_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = item(tmp_path, "a", Role.TRAIN)
    monkeypatch.setattr(limit, "measure_free_bytes", lambda: 0)
    of_project = one.model_copy(update={"image_shape": (64, 64)})
    reader(tmp_path).read_image(of_project)
    assert load_case(make_labelled_case(of_project, tmp_path)).image.pixels.shape == (64, 64)
    assert find_largest_label(of_project, tmp_path) == 2
    with pytest.raises(MedSegError, match="of free memory"):
        reader(tmp_path).read_image(one)


def test_labels_that_changed_after_the_snapshot_are_refused(tmp_path: Path) -> None:
    one = item(tmp_path, "a", Role.TRAIN)
    frozen = one.model_copy(update={"labels_sha256": compute_file_sha256(tmp_path / one.labels)})
    reader(tmp_path).read_image(frozen, 0)
    tifffile.imwrite(tmp_path / one.labels, np.zeros((64, 64), np.uint8))
    with pytest.raises(MedSegError, match="changed after the snapshot"):
        reader(tmp_path).read_image(frozen, 0)


def test_a_label_that_the_task_lacks_is_refused(tmp_path: Path) -> None:
    one = item(tmp_path, "a", Role.TRAIN)
    tifffile.imwrite(tmp_path / one.labels, np.full((64, 64), 7, np.uint8))
    with pytest.raises(MedSegError, match="have the value 7"):
        reader(tmp_path).read_image(one, 0)


def test_of_a_volume_edited_planes_come_first_and_empty_ones_are_among_the_rest(tmp_path: Path) -> None:
    labels = np.zeros((200, 64, 64), np.uint8)
    labels[60:140] = 1
    chosen = choose_training_planes(labels, (100, 101))
    assert len(chosen) <= MAX_PLANES_PER_IMAGE
    assert {99, 100, 101, 102} <= set(chosen.tolist())
    assert {0, 199} <= set(chosen.tolist())
    assert len(choose_training_planes(labels, tuple(range(200)))) <= MAX_PLANES_PER_IMAGE
    assert choose_training_planes(labels[:10], ()).tolist() == list(range(10))
    assert choose_training_planes(labels[0], ()).tolist() == [0]


def test_a_volume_becomes_planes(tmp_path: Path) -> None:
    one = SnapshotItem(name="v", image="v.tif", labels="l.tif", group="v", role=Role.TRAIN, edited_planes=(70,))
    volume = np.random.default_rng(0).integers(0, 255, (90, 32, 40), np.uint8)
    labels = np.zeros_like(volume)
    labels[70] = 2
    tifffile.imwrite(tmp_path / "v.tif", volume, metadata={"axes": "ZYX"}, imagej=True)
    tifffile.imwrite(tmp_path / "l.tif", labels, metadata={"axes": "ZYX"}, imagej=True)
    planes = reader(tmp_path).read_image(one, 0).planes
    assert len(planes) <= MAX_PLANES_PER_IMAGE
    assert sum(bool((plane.labels == 2).any()) for plane in planes) == 1


@pytest.mark.shared
def test_a_ct_in_hu_is_seen_under_other_windows_too(shared_data: Path) -> None:
    folder = shared_data / "lungs" / "lung_pet_ct_dx_A0001"
    one = SnapshotItem(
        name="ct", image="dicom/A0001_z030.dcm", labels="labels/A0001_z030.tif", group="A0001", role=Role.TRAIN
    )
    (plane,) = reader(folder).read_image(one, 3).planes
    assert len(plane.views) == 4
    lung = plane.labels == 1
    for view in plane.views:
        assert float(view[0][lung].mean()) < 0 < float(view.max())
    assert not np.array_equal(plane.views[0], plane.views[1])


def test_what_was_not_looked_at_is_ignored_and_the_rest_is_as_it_was(tmp_path: Path) -> None:
    whole = item(tmp_path, "a", Role.TRAIN, seed=1)
    (all_of_it,) = reader(tmp_path).read_image(whole).planes
    part = whole.model_copy(update={"reviewed": Box(top=10, bottom=40, left=0, right=30)})
    (plane,) = reader(tmp_path).read_image(part).planes
    seen = np.zeros((64, 64), bool)
    seen[10:40, :30] = True
    assert (plane.labels[~seen] == IGNORE_INDEX).all()
    np.testing.assert_array_equal(plane.labels[seen], all_of_it.labels[seen])
    np.testing.assert_array_equal(plane.views[0], all_of_it.views[0])


def test_a_mask_and_a_value_say_what_was_looked_at_too(tmp_path: Path) -> None:
    one = item(tmp_path, "a", Role.TRAIN, seed=1)
    labels = tifffile.imread(tmp_path / one.labels)
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 1
    tifffile.imwrite(tmp_path / "seen.tif", mask)
    labels[:8] = 99
    tifffile.imwrite(tmp_path / one.labels, labels)
    with pytest.raises(MedSegError, match="value 99"):
        reader(tmp_path).read_image(one)
    changes = {"reviewed_mask": "seen.tif", "ignored_value": 99}
    (plane,) = reader(tmp_path).read_image(one.model_copy(update=changes)).planes
    np.testing.assert_array_equal(plane.labels == IGNORE_INDEX, (mask == 0) | (labels == 99))


def test_planes_that_nobody_looked_at_are_left_out(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).integers(0, 255, (6, 32, 40), np.uint8)
    seen = np.zeros_like(volume)
    seen[2], seen[4, :10] = 1, 1
    for name, pixels in (("v", volume), ("l", np.zeros_like(volume)), ("seen", seen)):
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels, metadata={"axes": "ZYX"}, imagej=True)
    one = SnapshotItem(
        name="v",
        image="v.tif",
        labels="l.tif",
        group="v",
        role=Role.TRAIN,
        reviewed_mask="seen.tif",
        edited_planes=(4,),
    )
    planes = reader(tmp_path).read_image(one).planes
    assert [bool((plane.labels == IGNORE_INDEX).any()) for plane in planes] == [False, True]


def test_a_part_outside_the_field_says_so(tmp_path: Path) -> None:
    one = item(tmp_path, "a", Role.TRAIN)
    field = np.zeros((64, 64), np.uint8)
    field[40:60, 40:60] = 1
    tifffile.imwrite(tmp_path / "field.tif", field)
    base = reader(tmp_path)
    looking = replace(base, card=base.card.model_copy(update={"field": RegionOfInterest(task="lungs")}))
    part = {"field_labels": "field.tif", "reviewed": Box(top=0, bottom=10, left=0, right=10)}
    with pytest.raises(MedSegError, match="no reviewed pixel of a is in the region of interest"):
        looking.read_image(one.model_copy(update=part))


def test_parts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    one = item(tmp_path, "a", Role.TRAIN)
    beyond = one.model_copy(update={"reviewed": Box(top=0, bottom=65, left=0, right=10)})
    with pytest.raises(MedSegError, match="row 65"):
        reader(tmp_path).read_image(beyond)
    tifffile.imwrite(tmp_path / "seen.tif", np.ones((32, 32), np.uint8))
    with pytest.raises(MedSegError, match="does not fit"):
        reader(tmp_path).read_image(one.model_copy(update={"reviewed_mask": "seen.tif"}))
    tifffile.imwrite(tmp_path / "seen.tif", np.zeros((64, 64), np.uint8))
    with pytest.raises(MedSegError, match=r"the reviewed region of .+ is empty"):
        reader(tmp_path).read_image(one.model_copy(update={"reviewed_mask": "seen.tif"}))
    with pytest.raises(ValueError, match="is empty"):
        Box(top=4, bottom=4, left=0, right=1)


def test_steps_change_labels_and_must_not_make_classes_that_the_network_lacks(tmp_path: Path) -> None:
    one = item(tmp_path, "a", Role.TRAIN, seed=1)
    (plain,) = reader(tmp_path).read_image(one).planes
    (binary,) = reader(tmp_path, (PostprocessingStep(name="binarise"),)).read_image(one).planes
    np.testing.assert_array_equal(binary.labels, plain.labels > 0)
    with pytest.raises(MedSegError, match="class 4"):
        reader(tmp_path, (PostprocessingStep(name="distance", options={"n_levels": 4}),)).read_image(one)


def test_a_label_may_stand_for_several_classes(tmp_path: Path) -> None:
    one = item(tmp_path, "a", Role.TRAIN, seed=1)
    plain = reader(tmp_path).read_image(one, 0).planes[0].labels
    tifffile.imwrite(tmp_path / one.labels, (plain > 0).astype(np.uint8))  # lung, without its side
    lung = one.model_copy(update={"label_sets": {1: (1, 2)}})
    coded = reader(tmp_path).read_image(lung, 0).planes[0].labels
    assert set(np.unique(coded)) == {0, encode_label_set([1, 2])}
    assert np.array_equal(coded > 0, plain > 0)


def test_a_mask_without_instances_says_where_objects_are_and_not_their_borders(tmp_path: Path) -> None:
    one = item(tmp_path, "a", Role.TRAIN)
    blob = np.zeros((64, 64), np.uint8)
    blob[10:30, 10:50] = 1  # touching nuclei
    blob[40:50, 40:50] = 255  # ambiguous
    tifffile.imwrite(tmp_path / one.labels, blob)
    levels = InstanceSeparation(levels=[0.0, 0.3, 0.6])
    card = small_card().model_copy(update={"task": "nuclei", "instances": levels})
    card = card.model_copy(update={"architecture": card.architecture.model_copy(update={"classes": 4})})
    mask = one.model_copy(update={"label_sets": {1: (1, 2, 3)}, "ignored_value": 255})
    (plane,) = SampleReader(tmp_path, card, TASKS["nuclei"], seed=0).read_image(mask, 0).planes
    assert set(np.unique(plane.labels)) == {0, encode_label_set([1, 2, 3]), IGNORE_INDEX}
    assert np.array_equal(plane.labels == IGNORE_INDEX, blob == 255)


def test_voxels_that_a_person_set_are_certain(tmp_path: Path) -> None:
    one = item(tmp_path, "a", Role.TRAIN)
    mask = np.zeros((64, 64), np.uint8)
    mask[:30] = 1
    tifffile.imwrite(tmp_path / "certain.tif", mask)
    told = one.model_copy(
        update={"certain_mask": "certain.tif", "certain_sha256": compute_file_sha256(tmp_path / "certain.tif")}
    )
    (before,), (plane,) = (reader(tmp_path).read_image(each, 0).planes for each in (one, told))
    np.testing.assert_array_equal(unmark_certain(plane.labels), before.labels)
    assert (plane.labels[:30] > 128).all()
    np.testing.assert_array_equal(plane.labels[30:], before.labels[30:])
    tifffile.imwrite(tmp_path / "certain.tif", mask[::-1])
    with pytest.raises(MedSegError, match="changed after the snapshot"):
        reader(tmp_path).read_image(told, 0)
