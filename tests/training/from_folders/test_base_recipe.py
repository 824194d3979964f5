"""The split of the recipes of this repository: no patient, and no neighbouring slice, on two sides."""

import re
from pathlib import Path

import pytest

import training
from napari_medseg.core.snapshot import Role
from training.benchmark.suite import read_suite
from training.from_folders.base_recipe import ModelRecipe, read_model_recipe

HERE = Path(training.__file__).parent
RECIPES = {path.stem: read_model_recipe(path) for path in sorted((HERE / "recipes").glob("*.json"))}
RECIPES |= {
    f"suite {path.stem}": next(read_suite(path).build_recipes())[1] for path in sorted((HERE / "suites").glob("*.toml"))
}
SAME_PATIENT = ({"004", "005", "017", "046"}, {"010", "043"})
"""Slices of medicalsegmentation.com that are neighbours, as seen by eye and by their correlation (0.80 to 0.96)."""
MEDSEG_FOLDERS = ("covid/medseg/images", "lungs/medseg_slices/images")


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_neighbouring_slices_are_on_one_side(recipe: ModelRecipe) -> None:
    for source in recipe.sources:
        stems = [f"{number:03}" for number in range(100) if re.search(source.only, f"{number:03}")]
        if source.images in MEDSEG_FOLDERS:
            roles = {stem: role for stem, (_, role) in source.assign_roles(stems, Path()).items()}
            for slices in SAME_PATIENT:
                sides = {roles[stem] is Role.HOLD_OUT for stem in slices & roles.keys()}
                assert len(sides) < 2, f"{source.name} trains on some of {sorted(slices)} and holds out others"


def test_the_lesion_model_is_judged_by_eight_slices() -> None:
    for recipe in (RECIPES["covid"], RECIPES["suite d_lesions"]):
        held_out = set(recipe.sources[0].hold_out)
        assert held_out == {"014", "015", "016", "019", "044", "045", "047", "049"}
        assert not held_out & set(recipe.sources[0].validate_on)
        assert all(re.search(recipe.sources[0].only, stem) for stem in held_out)


@pytest.mark.shared
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_no_patient_and_no_file_is_on_two_sides(recipe: ModelRecipe, shared_data: Path) -> None:
    """Sources of one recipe can share a folder of images, or patients; each source only knows its own."""
    sides: dict[str, set[bool]] = {}
    for source in recipe.sources:
        paths = [path for path in (shared_data / source.images).iterdir() if re.search(source.only, path.stem)]
        labels = {path.stem for path in (shared_data / source.labels).iterdir()} if source.labels else None
        stems = [path.stem for path in paths if labels is None or path.stem in labels]
        for stem, (group, role) in source.assign_roles(stems, shared_data).items():
            for name in (f"{source.images}/{stem}", f"{source.images}/patient {find_patient(stem, group)}"):
                sides.setdefault(name, set()).add(role is Role.HOLD_OUT)
    assert [name for name, held in sides.items() if len(held) > 1] == []


def find_patient(stem: str, group: str) -> str:
    """The patient of TCGA's file names is in their first three fields; elsewhere it is the group."""
    return "-".join(stem.split("-")[:3]) if stem.startswith("TCGA-") else group
