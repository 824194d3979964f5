"""The model of the demo: whole, small, and able to do what its card says."""

import json
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import napari_medseg
from napari_medseg.core import formats
from napari_medseg.core.model_card import read_card
from napari_medseg.core.quality.label_checks import has_swapped_sides
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.inference.predictor import Predictor
from training.data.labelled_cases import LabelledCase
from training.evaluation.evaluate import evaluate_case
from training.from_folders.base_recipe import read_model_recipe

PACKAGE = Path(napari_medseg.__file__).parent
VERSION = PACKAGE / "models" / "lungs-ct" / "1"
RECIPE = Path(__file__).parents[2] / "training" / "recipes" / "lungs-ct.json"
LUNGS = TASKS["lungs"]


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.load(VERSION, "cpu")


def test_it_is_small_and_made_by_the_recipe_beside_it() -> None:
    assert (VERSION / "model.safetensors").stat().st_size < 2e6
    card, wanted = read_card(VERSION / "card.json"), read_model_recipe(RECIPE).card
    for part in ("architecture", "preprocessing", "postprocessing", "training_data", "weaknesses"):
        assert getattr(card, part) == getattr(wanted, part)
    assert (card.lineage.parent, card.lineage.began_with) == (None, "lungs-unet@1")


def test_its_card_says_how_good_it_is_on_what_it_never_saw() -> None:
    scores = {score.dataset: score for score in read_card(VERSION / "card.json").hold_out if score.metric == "Dice"}
    assert {"covid_slices", "lidc_one_patient", "all"} == scores.keys()
    assert scores["all"].n_images == 105
    assert scores["all"].mean >= 0.97
    assert min(scores["all"].per_label.values()) >= 0.96
    assert scores["all"].swapped_sides == 0


def test_it_finds_the_lungs_of_the_bundled_ct_and_knows_right_from_left(predictor: Predictor) -> None:
    samples = PACKAGE / "samples"
    listed = [entry for entry in json.loads((samples / "replay.json").read_text())["lungs"] if "ct_" in entry["image"]][
        2::4
    ]
    dice = []
    for entry in listed:
        case = LabelledCase(Path(entry["image"]).stem, samples / entry["image"], samples / entry["labels"])
        judged = evaluate_case(predictor, case, LUNGS)
        assert not judged.score.swapped
        assert not has_swapped_sides(judged.predicted, LUNGS)
        dice.append(judged.score.mean_dice)
    assert statistics.fmean(dice) > 0.95


def test_a_mirrored_patient_still_has_the_right_lung_on_the_left(predictor: Predictor) -> None:
    samples = PACKAGE / "samples"
    entry = json.loads((samples / "replay.json").read_text())["lungs"][8]
    image = formats.read(samples / entry["image"])
    mirrored = image.replace_pixels(np.ascontiguousarray(image.pixels[..., ::-1]))
    assert not has_swapped_sides(predictor.predict_labels(mirrored), LUNGS)


def test_a_picture_without_hu_gets_nearly_the_same_labels(predictor: Predictor, tmp_path: Path) -> None:
    samples = PACKAGE / "samples"
    entry = json.loads((samples / "replay.json").read_text())["lungs"][8]
    image = formats.read(samples / entry["image"])
    grey = (np.clip((image.pixels.astype(np.float32) + 1350) / 1500, 0, 1) * 255).astype(np.uint8)
    formats.write_image(tmp_path / "slice.png", replace(image, pixels=grey, units="grey", modality=""))
    from_picture = predictor.predict_labels(formats.read(tmp_path / "slice.png"))
    assert (from_picture == predictor.predict_labels(image)).mean() > 0.99
