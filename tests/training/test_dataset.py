from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from training_phantoms import item, small_card

from napari_medseg.core.cards import Preprocessing
from napari_medseg.core.durable import sha256_of
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.snapshots import Role, SnapshotItem
from napari_medseg.core.tasks import TASKS
from training.augment import Augmenter
from training.augmentations import AUGMENTATIONS
from training.dataset import (
    MAX_PLANES_PER_IMAGE,
    Batches,
    LabelledImage,
    LabelledPlane,
    labelled_image,
    training_planes,
)

LUNGS = TASKS["lungs"]


def flat(value: float, label: int) -> LabelledImage:
    plane = LabelledPlane((np.full((1, 64, 64), value, np.float16),), np.full((64, 64), label, np.uint8))
    return LabelledImage(str(value), (plane,))


def batches(**changes: object) -> Batches:
    settings = {"train": [flat(0.5, 1)], "replay": [flat(-0.5, 2)], "batch_size": 8, "replay_share": 0.25, "seed": 3}
    augmenter = Augmenter(AUGMENTATIONS["none"], Preprocessing(), 64, (1, 2))
    return Batches(augmenter=augmenter, replay_augmenter=augmenter, **{**settings, **changes})


def test_a_quarter_of_a_batch_is_replayed() -> None:
    _, labels = batches().batch(0)
    assert [int(one.max()) for one in labels].count(2) == 2
    _, labels = batches(replay=[]).batch(0)
    assert (labels == 1).all()


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    many = {"train": [flat(value / 10, 1) for value in range(8)]}
    first, again = batches(**many).batch(7)[0], batches(**many).batch(7)[0]
    assert torch.equal(first, again)
    assert not torch.equal(first, batches(**many).batch(8)[0])
    assert not torch.equal(first, batches(**many, seed=4).batch(7)[0])


def test_a_picture_becomes_one_plane_as_the_predictor_sees_it(tmp_path: Path) -> None:
    one = labelled_image(item(tmp_path, "a", Role.TRAIN, seed=1), tmp_path, small_card(), LUNGS, 3, 0)
    (plane,) = one.planes
    assert len(plane.views) == 1
    assert plane.views[0].shape == (1, 64, 64)
    assert float(plane.views[0].min()) == -1
    assert float(plane.views[0].max()) == 1
    assert set(np.unique(plane.labels)) == {0, 1, 2}


def test_labels_that_changed_after_the_snapshot_are_refused(tmp_path: Path) -> None:
    one = item(tmp_path, "a", Role.TRAIN)
    frozen = one.model_copy(update={"labels_sha256": sha256_of(tmp_path / one.labels)})
    labelled_image(frozen, tmp_path, small_card(), LUNGS, 0, 0)
    tifffile.imwrite(tmp_path / one.labels, np.zeros((64, 64), np.uint8))
    with pytest.raises(MedSegError, match="changed after the snapshot"):
        labelled_image(frozen, tmp_path, small_card(), LUNGS, 0, 0)


def test_a_label_that_the_task_lacks_is_refused(tmp_path: Path) -> None:
    one = item(tmp_path, "a", Role.TRAIN)
    tifffile.imwrite(tmp_path / one.labels, np.full((64, 64), 7, np.uint8))
    with pytest.raises(MedSegError, match="value 7"):
        labelled_image(one, tmp_path, small_card(), LUNGS, 0, 0)


def test_of_a_volume_edited_planes_come_first_and_empty_ones_are_among_the_rest(tmp_path: Path) -> None:
    labels = np.zeros((200, 64, 64), np.uint8)
    labels[60:140] = 1
    chosen = training_planes(labels, (100, 101))
    assert len(chosen) <= MAX_PLANES_PER_IMAGE
    assert {99, 100, 101, 102} <= set(chosen.tolist())
    assert {0, 199} <= set(chosen.tolist())
    assert len(training_planes(labels, tuple(range(200)))) <= MAX_PLANES_PER_IMAGE
    assert training_planes(labels[:10], ()).tolist() == list(range(10))
    assert training_planes(labels[0], ()).tolist() == [0]


def test_a_volume_becomes_planes(tmp_path: Path) -> None:
    one = SnapshotItem(name="v", image="v.tif", labels="l.tif", group="v", role=Role.TRAIN, edited_planes=(70,))
    volume = np.random.default_rng(0).integers(0, 255, (90, 32, 40), np.uint8)
    labels = np.zeros_like(volume)
    labels[70] = 2
    tifffile.imwrite(tmp_path / "v.tif", volume, metadata={"axes": "ZYX"}, imagej=True)
    tifffile.imwrite(tmp_path / "l.tif", labels, metadata={"axes": "ZYX"}, imagej=True)
    planes = labelled_image(one, tmp_path, small_card(), LUNGS, 0, 0).planes
    assert len(planes) <= MAX_PLANES_PER_IMAGE
    assert sum(bool((plane.labels == 2).any()) for plane in planes) == 1


@pytest.mark.shared
def test_a_ct_in_hu_is_seen_under_other_windows_too(shared_data: Path) -> None:
    folder = shared_data / "lungs" / "lung_pet_ct_dx_A0001"
    one = SnapshotItem(
        name="ct", image="dicom/A0001_z030.dcm", labels="labels/A0001_z030.tif", group="A0001", role=Role.TRAIN
    )
    (plane,) = labelled_image(one, folder, small_card(), LUNGS, 3, 0).planes
    assert len(plane.views) == 4
    lung = plane.labels == 1
    for view in plane.views:
        assert float(view[0][lung].mean()) < 0 < float(view.max())
    assert not np.array_equal(plane.views[0], plane.views[1])
