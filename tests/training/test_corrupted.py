"""Corrupted corrections never get past the gate, sound ones do: real training runs on phantoms.

`benchmarks/corrupted.py` runs twenty trials on real images.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from training_phantoms import WIDER, phantom, small_card, small_recipe

from napari_medseg.core.quality.label_checks import swap_sides
from napari_medseg.core.quality.promotion_gate import Decision, Verdict, decide_promotion
from napari_medseg.core.snapshot import Role, Snapshot, SnapshotItem, write_snapshot
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.networks import build_network, save_version
from training.__main__ import main
from training.recipe import write_recipe
from training.run_folder import Compared, read_events

Labels = list[NDArray[np.uint8]]

N_CORRECTED, N_HELD_OUT, N_REPLAYED = 6, 6, 3
OTHER_SCANNER = 1000
"""Seeds from here on are of pictures whose grey values are inverted: what the base model has never seen."""

CORRUPTIONS: dict[str, Callable[[Labels, int], Labels]] = {
    "shuffled": lambda labels, seed: list(np.roll(labels, 1 + seed % (len(labels) - 1), axis=0)),
    "empty": lambda labels, seed: [np.zeros_like(one) for one in labels],
    "sides swapped": lambda labels, seed: [swap_sides(one, TASKS["lungs"]) for one in labels],
}


def moved(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A phantom somewhere in its picture, so that another's labels do not fit it."""
    pixels, labels = phantom(seed)
    shift = tuple(np.random.default_rng(seed).integers(-9, 10, 2))
    pixels, labels = np.roll(pixels, shift, (0, 1)), np.roll(labels, shift, (0, 1))
    return (255 - pixels if seed >= OTHER_SCANNER else pixels), labels


def items(folder: Path, name: str, role: Role, pictures: list[NDArray[np.uint8]], labels: Labels) -> list[SnapshotItem]:
    made = []
    for number, (pixels, one) in enumerate(zip(pictures, labels, strict=True)):
        stem = f"{name}{number}"
        tifffile.imwrite(folder / f"{stem}.tif", pixels)
        tifffile.imwrite(folder / f"{stem}_labels.tif", one)
        made.append(
            SnapshotItem(
                name=stem, image=f"{stem}.tif", labels=f"{stem}_labels.tif", group=stem, role=role, source=name
            )
        )
    return made


def verdict_on(folder: Path, base: Path, first: int, corrupt: Callable[[Labels], Labels], **recipe: object) -> Verdict:
    """Train on corrections that `corrupt` has passed over, and judge on sound ones; seeds count from `first`."""
    folder.mkdir()
    seeds = iter(range(first, first + 1000))
    snapshot: list[SnapshotItem] = []
    for name, role, count in (
        ("held", Role.HOLD_OUT, N_HELD_OUT),
        ("old", Role.REPLAY, N_REPLAYED),
        ("new", Role.TRAIN, N_CORRECTED),
    ):
        chosen = [next(seeds) for _ in range(count)]
        if role is Role.REPLAY:
            chosen = [seed % OTHER_SCANNER for seed in chosen]
        pictures, labels = (list(part) for part in zip(*map(moved, chosen), strict=True))
        snapshot += items(folder, name, role, pictures, corrupt(labels) if role is Role.TRAIN else labels)
    write_snapshot(Snapshot(task="lungs", items=tuple(snapshot)), folder / "snapshot.json")
    write_recipe(small_recipe(base=str(base), seed=first, **recipe), folder / "recipe.json")
    assert main([str(folder)]) == 0
    return decide_promotion([event for event, _ in read_events(folder) if isinstance(event, Compared)])


@pytest.fixture(scope="module")
def live_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version that is good at phantoms of its own scanner."""
    folder = tmp_path_factory.mktemp("live")
    torch.manual_seed(0)
    start = folder / "start"
    save_version(build_network(small_card(WIDER).architecture), small_card(WIDER), start)
    pictures, labels = (list(part) for part in zip(*map(moved, range(500, 524)), strict=True))
    run_dir = folder / "run"
    run_dir.mkdir()
    lessons = items(run_dir, "base", Role.TRAIN, pictures, labels)
    write_snapshot(Snapshot(task="lungs", items=tuple(lessons)), run_dir / "snapshot.json")
    write_recipe(small_recipe(base=str(start), n_epochs=12, steps_per_epoch=10), run_dir / "recipe.json")
    assert main([str(run_dir)]) == 0
    return run_dir


def sound(labels: Labels) -> Labels:
    return labels


@pytest.mark.parametrize("trial", range(6))
def test_corrupted_corrections_are_refused(tmp_path: Path, live_version: Path, trial: int) -> None:
    name = list(CORRUPTIONS)[trial % len(CORRUPTIONS)]
    verdict = verdict_on(
        tmp_path / "run",
        live_version,
        20 * trial,
        lambda labels: CORRUPTIONS[name](labels, trial),
        n_epochs=2,
        freeze_batch_norm=True,
        keep="last",
    )
    assert verdict.n_groups == N_HELD_OUT
    assert verdict.decision is not Decision.BETTER, f"{name}: {verdict.text}"


def test_sound_corrections_of_a_new_scanner_go_live(tmp_path: Path, live_version: Path) -> None:
    verdict = verdict_on(tmp_path / "run", live_version, OTHER_SCANNER, sound, n_epochs=10, freeze_batch_norm=True)
    assert verdict.decision is Decision.BETTER, verdict.text
