"""Sources of old and new images for the benchmarks of retraining.

Each domain has images that the base version was trained on (old) and a source that is new to it:

- lungs: the bundled lungs-ct@1 was trained on CT; new are chest X-rays of children.
- nuclei: a base that is trained here, on the Data Science Bowl's tissue only; new are 500 px crops of MoNuSeg.
- lesions: a base that is trained here, on half of the medseg slices; new is the other half, changed to simulate
  another scanner: patient prone, half the resolution, another grey window, noise. The slices for evaluation are the
  same in both forms, and are in no training set.
- instruments: a base that is trained here, on robotic, microscope and gastrointestinal images; new is laparoscopy. The
  frames for evaluation are of other videos.
"""

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

import napari_medseg
from napari_medseg.core import formats
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import CARD_FILE, read_card
from napari_medseg.core.replay import read_replay_samples
from napari_medseg.core.snapshot import Role, Snapshot, SnapshotItem, read_snapshot, round_robin, write_snapshot
from training.__main__ import main as train_run
from training.data.labelled_cases import pair_by_stem
from training.from_folders.base_model import make_run
from training.from_folders.base_recipe import ModelRecipe, read_model_recipe
from training.recipe import read_recipe, update_recipe, write_recipe
from training.run_folder import EVENTS_FILE, RECIPE_FILE, SNAPSHOT_FILE, START_FOLDER

PACKAGE = Path(napari_medseg.__file__).parent
SAMPLES = PACKAGE / "samples"
RECIPES = Path(__file__).parents[1] / "training" / "recipes"
N_SAMPLE = 16
TILE_PX = 500


@dataclass(frozen=True)
class Domain:
    """Old and new images of one task; all paths absolute. `new` has one image of each group before a second of any."""

    task: str
    parent: Path
    encoder: Path
    old: tuple[SnapshotItem, ...]
    sample: tuple[SnapshotItem, ...]
    old_hold_out: tuple[SnapshotItem, ...]
    new: tuple[SnapshotItem, ...]
    new_hold_out: tuple[SnapshotItem, ...]


@dataclass(frozen=True)
class BenchmarkSetup:
    """Folders of data, weights and work, and the time limit for a base that is trained here."""

    data: Path
    weights: Path
    work: Path
    base_budget_s: float = 300.0
    n_threads: int | None = 1
    recipe: Mapping[str, object] = field(default_factory=dict)


def make_lungs_domain(place: BenchmarkSetup) -> Domain:
    """CT to X-ray, from the bundled version that was trained on CT only."""
    parent = PACKAGE / "models" / "lungs-ct" / "1"
    folder, old = _prepare_base_run(read_model_recipe(RECIPES / "lungs.json"), place, "lungs")
    sample = tuple(
        make_item(Path(one.image).stem, SAMPLES / one.image, SAMPLES / one.labels, one.group, Role.REPLAY)
        for one in read_replay_samples(SAMPLES, read_card(parent / CARD_FILE))
    )
    source = place.data / "lungs" / "xray_kermany"
    with (source / "index.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["name"]: (row["patient"], row["split"]) for row in csv.DictReader(file)}
    pictures = [
        (make_item(case.name, case.image, case.labels, rows[case.name][0], Role.TRAIN), rows[case.name][1])
        for case in pair_by_stem(source / "images", source / "labels")
    ]
    new, judged = (round_robin([item for item, split in pictures if split == name]) for name in ("train", "val"))
    return Domain("lungs", parent, folder / START_FOLDER, *split_old_items(old, sample), tuple(new), tuple(judged))


def make_nuclei_domain(place: BenchmarkSetup) -> Domain:
    """Tissue of the Data Science Bowl to slides of MoNuSeg."""
    base = read_model_recipe(RECIPES / "nuclei.json")
    held_out = {*base.sources[0].hold_out, *base.sources[0].validate_on}
    base = base.model_copy(update={"sources": tuple(one for one in base.sources if one.name == "dsb2018")})
    folder, old = _prepare_base_run(base, place, "nuclei")
    tiles = _cut_tiles(place.data / "nuclei" / "monuseg", place.work / "nuclei" / "tiles")
    new, judged = (
        round_robin([tile for tile in tiles if (tile.group in held_out) is wanted]) for wanted in (False, True)
    )
    parent = _train_base(folder, place)
    return Domain("nuclei", parent, folder / START_FOLDER, *split_old_items(old), tuple(new), tuple(judged))


def make_lesions_domain(place: BenchmarkSetup) -> Domain:
    """Half of the medseg slices to the other half, changed to simulate another scanner."""
    base = read_model_recipe(RECIPES / "covid.json")
    card = base.card.model_copy(update={"field": None})
    sources = tuple(one for one in base.sources if one.name == "medseg")
    whole, items = _prepare_base_run(base.model_copy(update={"card": card, "sources": sources}), place, "lesions-all")
    lessons = [item for item in items if item.role is Role.TRAIN]
    first, second = lessons[: len(lessons) // 2], lessons[len(lessons) // 2 :]
    names = {item.name for item in first}
    half = [item for item in items if item.role is not Role.TRAIN or item.name in names]
    folder = place.work / "lesions"
    if not (folder / RECIPE_FILE).exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_snapshot(Snapshot(task="covid", items=tuple(half)), folder / SNAPSHOT_FILE)
        recipe = read_recipe(whole / RECIPE_FILE)
        start = {"run": {"base": str((whole / START_FOLDER).resolve())}}
        write_recipe(update_recipe(recipe, start), folder / RECIPE_FILE)
    judged = [item for item in items if item.role is Role.HOLD_OUT]
    parent = _train_base(folder, place)
    shifted = [[_simulate_other_scanner(item, folder / "shifted") for item in part] for part in (second, judged)]
    return Domain("covid", parent, whole / START_FOLDER, *split_old_items(half), *(tuple(part) for part in shifted))


def make_instruments_domain(place: BenchmarkSetup) -> Domain:
    """Robotic, microscope and gastrointestinal images to laparoscopy."""
    base = read_model_recipe(RECIPES / "instruments.json")
    parts = [[one for one in base.sources if one.name.startswith("cholecseg8k") is wanted] for wanted in (False, True)]
    (folder, old), (_, frames) = (
        _prepare_base_run(base.model_copy(update={"sources": tuple(part)}), place, name)
        for part, name in zip(parts, ("instruments", "laparoscopy"), strict=True)
    )
    new, judged = (
        round_robin([one for one in frames if (one.role is Role.HOLD_OUT) is wanted]) for wanted in (False, True)
    )
    new = [one.model_copy(update={"role": Role.TRAIN}) for one in new]
    parent = _train_base(folder, place)
    return Domain("instruments", parent, folder / START_FOLDER, *split_old_items(old), tuple(new), tuple(judged))


DOMAINS: dict[str, Callable[[BenchmarkSetup], Domain]] = {
    "lungs": make_lungs_domain,
    "nuclei": make_nuclei_domain,
    "lesions": make_lesions_domain,
    "instruments": make_instruments_domain,
}


def split_old_items(
    items: Sequence[SnapshotItem], sample: Sequence[SnapshotItem] = ()
) -> tuple[tuple[SnapshotItem, ...], tuple[SnapshotItem, ...], tuple[SnapshotItem, ...]]:
    """Split old items into those for training, a sample of them to replay (unless it is given), and the hold-out."""
    learnt = tuple(item for item in items if item.role is Role.TRAIN)
    if not sample:
        chosen = np.random.default_rng(0).permutation(len(learnt))[:N_SAMPLE]
        sample = [learnt[index].model_copy(update={"role": Role.REPLAY}) for index in chosen]
    return learnt, tuple(sample), tuple(round_robin([item for item in items if item.role is Role.HOLD_OUT]))


def _prepare_base_run(base: ModelRecipe, place: BenchmarkSetup, name: str) -> tuple[Path, list[SnapshotItem]]:
    """Return the run folder of a base recipe, made where it is missing, and its items with absolute paths."""
    folder = place.work / name
    if not (folder / RECIPE_FILE).exists():
        make_run(base, place.data, place.weights, folder)
    return folder, [_make_paths_absolute(item, folder) for item in read_snapshot(folder / SNAPSHOT_FILE).items]


def _train_base(folder: Path, place: BenchmarkSetup) -> Path:
    """Train the base in a run folder, unless it is there."""
    version = folder / "trained"
    if (version / CARD_FILE).exists():
        return version
    run_dir = folder / f"run-{os.getpid()}"
    run_dir.mkdir(exist_ok=True)
    items = [_make_paths_absolute(item, folder) for item in read_snapshot(folder / SNAPSHOT_FILE).items]
    lessons = [item for item in items if item.role is not Role.HOLD_OUT]
    task = read_snapshot(folder / SNAPSHOT_FILE).task
    write_snapshot(Snapshot(task=task, items=tuple(lessons)), run_dir / SNAPSHOT_FILE)
    recipe = read_recipe(folder / RECIPE_FILE)
    run = {
        "base": str((folder / recipe.run.base).resolve()),
        "roi_model": "",
        "budget_s": place.base_budget_s,
        "n_threads": place.n_threads,
    }
    schedule = {"n_epochs": 500, "steps_per_epoch": 20, "patience": 500}
    write_recipe(update_recipe(recipe, {"run": run, "schedule": schedule}), run_dir / RECIPE_FILE)
    if train_run([str(run_dir)]) != 0:
        raise RuntimeError(f"the base could not be trained: see {run_dir / EVENTS_FILE}")
    try:
        os.replace(run_dir, version)
    except OSError:  # another process was faster: both use the same one
        if not (version / CARD_FILE).exists():
            raise
    return version


def _make_paths_absolute(item: SnapshotItem, folder: Path) -> SnapshotItem:
    places = {name: str((folder / getattr(item, name)).resolve()) for name in ("image", "labels")}
    return item.model_copy(update={**places, "field_labels": "", "labels_sha256": ""})


def make_item(name: str, image: Path, labels: Path, group: str, role: Role) -> SnapshotItem:
    """Return the item of one image; its paths become absolute."""
    return SnapshotItem(name=name, image=str(image.resolve()), labels=str(labels.resolve()), group=group, role=role)


def _cut_tiles(source: Path, folder: Path) -> list[SnapshotItem]:
    """Cut the slides that have instances into crops; the group of a crop is the patient of its slide."""
    tiles = []
    for case in pair_by_stem(source / "images", source / "instances"):
        image = formats.read(case.image)
        labels = formats.read_labels(case.labels, image)
        for row in range(0, image.pixels.shape[0], TILE_PX):
            for column in range(0, image.pixels.shape[1], TILE_PX):
                box = slice(row, row + TILE_PX), slice(column, column + TILE_PX)
                stem = f"{case.name}_{row}_{column}"
                tiles.append(_write_item(folder, stem, image.pixels[box], labels[box], case.name))
    return tiles


def _simulate_other_scanner(item: SnapshotItem, folder: Path) -> SnapshotItem:
    image = formats.read(Path(item.image))
    labels = formats.read_labels(Path(item.labels), image)
    rng = np.random.default_rng(int.from_bytes(item.name.encode()[-4:], "little"))
    grey = np.clip((image.pixels[::-1].astype(np.float32) / 255 - 0.08) / 0.62, 0, 1) ** 0.7
    coarse = ndimage.zoom(grey, 0.5, order=1)
    coarse += rng.normal(0, 0.03, coarse.shape)
    pixels = (np.clip(coarse, 0, 1) * 255).round().astype(np.uint8)
    rows, columns = (
        np.linspace(0, n - 1, m).round().astype(int) for n, m in zip(labels.shape, coarse.shape, strict=True)
    )
    return _write_item(folder, Path(item.name).name, pixels, labels[::-1][np.ix_(rows, columns)], item.group)


def _write_item(folder: Path, stem: str, pixels: NDArray[Any], labels: NDArray[Any], group: str) -> SnapshotItem:
    image = Image(
        np.ascontiguousarray(pixels), "YXC" if pixels.ndim == 3 else "YX", units="rgb" if pixels.ndim == 3 else "grey"
    )
    picture, answer = folder / "images" / f"{stem}.tif", folder / "labels" / f"{stem}.tif"
    if not answer.exists():
        picture.parent.mkdir(parents=True, exist_ok=True)
        answer.parent.mkdir(parents=True, exist_ok=True)
        formats.write_image(picture, image)
        formats.write_labels(answer, np.ascontiguousarray(labels), image)
    return make_item(f"{group}/{stem}", picture, answer, group, Role.TRAIN)
