from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image as Picture
from training_phantoms import item

from napari_medseg.core.snapshot import Box, Role
from napari_medseg.core.tasks.bundled_tasks import TASKS
from training.reports.batch_preview import main, write_batch_preview

MakeRun = Callable[..., Path]


def pixels_of(path: Path) -> np.ndarray:
    return np.asarray(Picture.open(path))


def count(pixels: np.ndarray, colour: str) -> int:
    wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return int((pixels == wanted).all(axis=-1).sum())


def test_patches_are_shown_with_outlines_in_the_colours_of_their_labels(make_run: MakeRun, tmp_path: Path) -> None:
    run_dir = make_run(augmentation="none", replay_share=0.0)
    assert main([str(run_dir), str(tmp_path / "batch.png")]) == 0
    pixels = pixels_of(tmp_path / "batch.png")
    assert pixels.shape[1] == 1200
    assert pixels.shape[0] > 900
    right, left = (count(pixels, label.colour) for label in TASKS["lungs"].labels)
    assert right > left > 3000
    write_batch_preview(run_dir, tmp_path / "again.png")
    np.testing.assert_array_equal(pixels_of(tmp_path / "again.png"), pixels)
    assert not (run_dir / "events.jsonl").exists()


def test_what_nobody_looked_at_is_darkened_and_mixtures_show_both_labels(make_run: MakeRun, tmp_path: Path) -> None:
    box = Box(top=0, bottom=64, left=0, right=32)
    part = [item(tmp_path, f"part{n}", Role.TRAIN, seed=n).model_copy(update={"reviewed": box}) for n in range(3)]
    write_batch_preview(make_run("part", items=part, augmentation="none"), tmp_path / "part.png")
    whole = [one.model_copy(update={"reviewed": None}) for one in part]
    write_batch_preview(make_run("whole", items=whole, augmentation="none"), tmp_path / "whole.png")
    darkened, plain = pixels_of(tmp_path / "part.png"), pixels_of(tmp_path / "whole.png")
    assert darkened[40:].mean() < 0.85 * plain[40:].mean()
    assert count(darkened, TASKS["lungs"].labels[1].colour) == 0
    mixed = make_run("mixed", items=whole, augmentation="mixup", augmentation_strength=2.0)
    write_batch_preview(mixed, tmp_path / "mixed.png")
    assert count(pixels_of(tmp_path / "mixed.png"), "#FFFFFF") > count(plain, "#FFFFFF") + 2000


def test_an_incomplete_folder_is_an_error_that_says_so(tmp_path: Path) -> None:
    assert main([str(tmp_path), str(tmp_path / "batch.png")]) == 1
    assert not (tmp_path / "batch.png").exists()
