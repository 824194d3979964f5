"""Training images within a time budget: the newest of every patient first, the same ones after a pause."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from napari_medseg.core.snapshot import Role, Snapshot, SnapshotItem
from training.data import bounded_reading
from training.data.bounded_reading import count_bytes, describe_unread, leave_out_unread, read_within_budget
from training.data.dataset import LabelledImage, LabelledPlane
from training.run_folder import READ_IMAGES_FILE
from training.schedule import TimeBudget

ITEMS = [
    SnapshotItem(name=f"case {n}", image=f"i{n}.tif", labels=f"l{n}.tif", group=f"patient {n // 10}", role=Role.TRAIN)
    for n in range(60)
]


def read_image(item: SnapshotItem) -> LabelledImage:
    plane = LabelledPlane((np.zeros((1, 8, 8), np.float16),), np.zeros((8, 8), np.uint8))
    return LabelledImage(item.name, (plane,))


def read(run_dir: Path, clock: TimeBudget) -> list[str]:
    items, images = read_within_budget(ITEMS, read_image, clock, run_dir)
    assert [image.name for image in images] == [item.name for item in items]
    return [item.name for item in items]


def test_all_are_read_without_a_budget_or_with_enough_of_it(tmp_path: Path) -> None:
    everything = [item.name for item in ITEMS]
    assert read(tmp_path, TimeBudget(time.monotonic() - 1000)) == everything
    assert read(tmp_path, TimeBudget(time.monotonic(), 3600.0)) == everything
    assert list(tmp_path.iterdir()) == []


def test_without_time_the_newest_of_every_patient_are_read_and_again_after_a_pause(tmp_path: Path) -> None:
    late = TimeBudget(time.monotonic() - 100, 90.0)
    names = read(tmp_path, late)
    expected = sorted(10 * patient + 9 - number for patient in range(6) for number in range(4))
    assert names == [f"case {number}" for number in expected]
    assert read(tmp_path, TimeBudget(time.monotonic(), 3600.0)) == names, "a resumed run trains on the same images"
    (tmp_path / READ_IMAGES_FILE).write_text("torn")
    assert len(read(tmp_path, TimeBudget(time.monotonic(), 3600.0))) == 60


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    each = count_bytes(read_image(ITEMS[0]))
    assert each == 64 * 3
    monkeypatch.setattr(bounded_reading, "measure_free_bytes", lambda: 2 * 30 * each)
    assert len(read(tmp_path, TimeBudget(time.monotonic(), 3600.0))) == 31
    assert len(json.loads((tmp_path / READ_IMAGES_FILE).read_text())) == 31


def test_a_few_large_images_fill_the_memory_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_reading, "measure_free_bytes", lambda: 2 * 5 * 64 * 3)
    assert len(read(tmp_path, TimeBudget(time.monotonic(), 3600.0))) == 6


def test_the_snapshot_of_the_card_holds_what_was_read() -> None:
    held_out = ITEMS[0].model_copy(update={"role": Role.HOLD_OUT, "group": "other", "labels": "h.tif"})
    snapshot = Snapshot(task="lungs", items=(*ITEMS, held_out))
    left = leave_out_unread(snapshot, ITEMS, ITEMS[:5])
    assert left.items == (*ITEMS[:5], held_out)
    assert leave_out_unread(snapshot, ITEMS, ITEMS) is snapshot
    assert describe_unread(60, 60) == ""
    assert "24 of 60 training images" in describe_unread(24, 60)
