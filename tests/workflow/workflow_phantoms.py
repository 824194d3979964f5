"""Phantoms and shortcuts that the tests of the workflow share."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_medseg.core import formats
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import Architecture, Lineage, ModelCard, Preprocessing, write_card
from napari_medseg.core.records import Case, Prediction, now
from napari_medseg.inference.events import PredictionResult
from napari_medseg.workflow.case_notes import notes
from napari_medseg.workflow.cases import add_cases, get_case_row
from napari_medseg.workflow.review import accept, open_review, record_prediction, reject
from napari_medseg.workflow.workspace import Workspace
from training.from_folders.default_recipe import RecipeOverrides

SHAPE = (48, 64)
QUICK = RecipeOverrides(recipe={"steps_per_epoch": 2, "batch_size": 2, "patch_px": 64})
"""A retrain with epochs of two small steps: for tests of what happens around the training."""
ONE_EPOCH = QUICK.model_copy(update={"recipe": {**QUICK.recipe, "n_epochs": 1}})


def write_version(folder: Path, version: int = 1, weights: bytes = b"weights", parent: str | None = None) -> Path:
    """A version whose weights are never loaded."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(weights)
    card = ModelCard(
        name="lungs-unet",
        version=version,
        task="lungs",
        architecture=Architecture(name="Unet", in_channels=1, classes=3),
        preprocessing=Preprocessing(),
        weights_sha256=hashlib.sha256(weights).hexdigest(),
    )
    card = card.model_copy(update={"lineage": card.lineage.model_copy(update={"parent": parent})})
    write_card(card, folder / "card.json")
    return folder


def phantom_labels() -> np.ndarray:
    """Right lung on the picture's left, left lung on its right."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[10:38, 6:26] = 1
    labels[10:38, 38:58] = 2
    return labels


def phantom(number: int, group: str = "") -> Image:
    """A grey picture with two dark lungs; each number another content."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(150, 200, SHAPE)
    pixels[phantom_labels() > 0] = rng.integers(10, 60, int((phantom_labels() > 0).sum()))
    return Image(
        pixels=pixels.astype(np.uint8),
        axes="YX",
        spacing_mm=(0.7, 0.7),
        name=f"slice {number}",
        group=group or f"patient {number}",
    )


def predicted(ws: Workspace, image: Image, uncertainty: float = 0.1) -> tuple[Case, Prediction]:
    """Add a case and remember the phantom's labels as its prediction."""
    case = add_cases(ws, [image], "lungs")[0]
    result = PredictionResult(phantom_labels(), uncertainty, None, 1.5, "CPU")
    return case, record_prediction(ws, case, result, ws.registry.get_live_card("lungs").id)


def accepted(ws: Workspace, number: int, group: str = "") -> Case:
    image = phantom(number, group)
    case, prediction = predicted(ws, image)
    draft = open_review(ws, case, prediction)
    draft.record([number], 0, 1)
    accept(ws, draft, draft.labels, image)
    return case


READER, SECOND_READER = "Vera Stein", "Paul Kern"
FILE_NAME, GROUP, SERIES = "Blank_Ute_1970", "Blank^Ute", "1.2.777.88"
TYPED_REASON, NOTE = "Ute moved on the table", "ask the sister of Ute"
CLEAR_NAMES = (READER, SECOND_READER, FILE_NAME, GROUP, SERIES, TYPED_REASON, NOTE)
"""What stands in the table `identities` after `work_with_names`."""


def work_with_names(ws: Workspace, folder: Path) -> None:
    """Two readers correct a case, the second one blind; others are rejected: for a typed reason, a preset, and none."""
    images = []
    for number in range(20, 24):
        path = folder / f"{FILE_NAME}_{number}.tif"
        formats.write_image(path, phantom(number))
        images.append(replace(formats.read(path), group=GROUP, series=f"{SERIES}.{number}"))
    ws.reader.set_name(READER)
    twice, *rejected = [predicted(ws, image) for image in images]
    accept(ws, open_review(ws, *twice), phantom_labels(), images[0])
    for (case, prediction), reason in zip(rejected, (TYPED_REASON, "not usable: quality", ""), strict=True):
        reject(ws, open_review(ws, case, prediction))
        notes.set_reason(ws, case, reason)
    ws.second_readings.choose(twice[0], is_chosen=True)
    ws.reader.set_name(SECOND_READER)
    notes.set_flag(ws, rejected[0][0], True)
    notes.set_note(ws, twice[0], NOTE)
    labels = phantom_labels()
    labels[10:20] = 0
    accept(ws, open_review(ws, twice[0], get_case_row(ws, twice[0]).prediction), labels, images[0])


def read_tree(folder: Path) -> dict[str, bytes]:
    """The bytes of every file of a folder by its name in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def real_version(folder: Path, version: int = 1) -> None:
    """A small network with random weights that can be trained for real."""
    import torch

    from napari_medseg.networks import build_network, save_version

    torch.manual_seed(0)
    architecture = Architecture(name="conv_unet", in_channels=1, classes=3, options={"widths": [8, 16, 16]})
    card = ModelCard(
        name="lungs-unet",
        version=version,
        task="lungs",
        architecture=architecture,
        preprocessing=Preprocessing(min_side_px=64, max_side_px=128),
        precision="fp32",
        lineage=Lineage(created=now()),
    )
    save_version(build_network(architecture), card, folder)
