from pathlib import Path

import numpy as np
import pytest
import tifffile
from training_phantoms import phantom, small_card, small_recipe

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.snapshots import Role, read_snapshot
from napari_medseg.inference.postprocess import STEPS
from training.__main__ import main as train
from training.base_model import BaseRecipe, Source, make_run, read_base_recipe, without_outside_air

LUNGS_RECIPE = Path(__file__).parents[2] / "training" / "recipes" / "lungs.json"


def test_air_at_the_border_is_no_lung_but_a_cut_lung_is() -> None:
    labels = np.zeros((40, 40), np.uint8)
    labels[5:30, 0:15] = 1  # a lung that the picture's border cuts
    labels[35:, :6] = 1
    labels[10:12, 18:20] = 1  # inside: left to the postprocessing
    labels[20:30, 25:35] = 2
    cleaned = without_outside_air(labels)
    assert not cleaned[35:, :6].any()
    np.testing.assert_array_equal(cleaned[:32], labels[:32])


def test_patients_are_told_from_file_names() -> None:
    source = Source(name="s", images="i", labels="l", group="^(.*)_", hold_out=("b_1",), validate_on=("c",))
    assert source.group_of("b_1_007") == "b_1"
    assert source.role_of("b_1") is Role.HOLD_OUT
    assert source.role_of("c") is Role.VALIDATE
    assert source.role_of("a") is Role.TRAIN
    assert Source(name="s", images="i", labels="l", hold_out=("*",)).role_of("") is Role.HOLD_OUT


def test_the_recipe_of_the_bundled_model_is_valid_and_holds_out_what_it_says() -> None:
    base = read_base_recipe(LUNGS_RECIPE)
    sources = {source.name: source for source in base.sources}
    assert sources["lidc_one_patient"].role_of("") is Role.HOLD_OUT
    for patient in ("cc003", "cc006", "rp14_14_85914_0"):
        assert sources["covid_slices"].role_of(patient) is Role.HOLD_OUT
    assert "xray_kermany" not in sources
    assert {step.name for step in base.card.postprocessing} <= STEPS.keys()


def test_a_recipe_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    path.write_text(LUNGS_RECIPE.read_text().replace('"sources"', '"folders"'))
    with pytest.raises(MedSegError, match="folders"):
        read_base_recipe(path)


def test_a_base_model_is_trained_by_the_same_loop_and_has_no_parent(tmp_path: Path) -> None:
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    for n in range(6):
        pixels, labels = phantom(n)
        tifffile.imwrite(tmp_path / "images" / f"p{n % 3}_{n}.tif", pixels)
        tifffile.imwrite(tmp_path / "labels" / f"p{n % 3}_{n}.tif", labels)
    source = Source(
        name="phantoms",
        images="images",
        labels="labels",
        group="^(p.)_",
        hold_out=("p2",),
        validate_on=("p1",),
        drop_outside_air=True,
    )
    card = small_card().model_copy(update={"lineage": small_card().lineage.model_copy(update={"created": ""})})
    base = BaseRecipe(card=card, sources=(source,), recipe=small_recipe(n_epochs=1, version=1))
    run_dir = tmp_path / "run"
    make_run(base, tmp_path, tmp_path, run_dir)
    items = read_snapshot(run_dir / "snapshot.json").items
    assert [item.role for item in items].count(Role.HOLD_OUT) == 2
    assert {item.group for item in items if item.role is Role.VALIDATE} == {"phantoms/p1"}
    assert train([str(run_dir)]) == 0
    from napari_medseg.core.cards import read_card

    made = read_card(run_dir / "card.json")
    assert made.lineage.parent is None
    assert made.version == 1
    assert made.hold_out[0].n_images == 2
