from pathlib import Path

import pytest

from napari_medseg.core.errors import MedSegError
from napari_medseg.networks import build_network
from training.benchmark.suite import Suite, make_folder_name, merge_settings, parse_setting, read_suite

TEXT = """
title = "Two networks"
about = "On phantoms."
[base]
sources = [{ name = "phantoms", images = "images", labels = "labels" }]
[base.card]
task = "lungs"
preprocessing = { min_side_px = 64 }
[base.card.architecture]
name = "unet"
encoder = "mobilenet_v2"
in_channels = 1
classes = 3
options = { encoder_depth = 3 }
[base.recipe]
base = "start"
n_epochs = 20
[reduced.recipe]
n_epochs = 2
[[rows]]
name = "U-Net"
[[rows]]
name = "DeepLabV3+ ResNet-50"
theirs = "Dice 0.9013"
set = { card.architecture = { name = "deeplabv3plus", encoder = "resnet50" }, recipe.learning_rate = 1e-5 }
"""


def suite_of(text: str, folder: Path) -> Suite:
    (folder / "suite.toml").write_text(text)
    return read_suite(folder / "suite.toml")


def test_a_row_is_the_base_with_its_own_keys_and_nothing_of_another_network(tmp_path: Path) -> None:
    suite = suite_of(TEXT, tmp_path)
    (_, plain), (row, other) = suite.build_recipes()
    assert plain.card.architecture.options == {"encoder_depth": 3}
    assert plain.recipe.schedule.n_epochs == other.recipe.schedule.n_epochs == 20
    assert (plain.card.name, plain.recipe.run.name) == ("u-net", "u-net")
    assert other.card.architecture.name == "deeplabv3plus"
    assert other.card.architecture.options == {}  # another network has other options
    assert other.card.architecture.in_channels == 1
    assert other.recipe.optimiser.learning_rate == 1e-5
    assert row.theirs == "Dice 0.9013"


def test_all_rows_can_be_changed_and_the_last_word_counts(tmp_path: Path) -> None:
    long = '[[rows]]\nname = "long"\nset = { recipe.n_epochs = 9 }\nreduced = { recipe.patch_px = 96 }\n'
    whole = suite_of(TEXT + long, tmp_path)
    suite = whole.make_reduced()
    assert [one.recipe.data.patch_px for _, one in whole.build_recipes()] == [256, 256, 256]
    assert [one.recipe.data.patch_px for _, one in suite.build_recipes()] == [256, 256, 96]
    recipes = [recipe for _, recipe in suite.build_recipes([parse_setting("recipe.batch_size=2")])]
    assert [(one.recipe.schedule.n_epochs, one.recipe.data.batch_size) for one in recipes] == [(2, 2), (2, 2), (9, 2)]
    again = [recipe for _, recipe in suite.build_recipes([parse_setting("recipe.n_epochs = 3")])]
    assert {one.recipe.schedule.n_epochs for one in again} == {3}
    assert "reduced" in suite.title


def test_a_model_without_a_backbone_has_its_own(tmp_path: Path) -> None:
    names = ["conv_unet", "deeplabv3plus", "fcn", "deeplabv3_tv", "segnet", "inception_unet"]
    for _, recipe in suite_of(TEXT, tmp_path).expand_grid(names, []).build_recipes():
        network = build_network(recipe.card.architecture)
        assert sum(parameter.numel() for parameter in network.parameters()) > 1e6


def test_networks_and_encoders_come_from_the_command_line(tmp_path: Path) -> None:
    crossed = suite_of(TEXT, tmp_path).expand_grid(["unet", "fpn"], ["resnet18", "mobilenet_v2"])
    found = [(one.card.architecture.name, one.card.architecture.encoder) for _, one in crossed.build_recipes()]
    assert found == [(m, b) for m in ("unet", "fpn") for b in ("resnet18", "mobilenet_v2")]
    assert crossed.rows[0].name == "unet resnet18"


def test_rows_are_chosen_by_name(tmp_path: Path) -> None:
    suite = suite_of(TEXT, tmp_path)
    assert [row.name for row in suite.select_rows(["U-Net"]).rows] == ["U-Net"]
    assert suite.select_rows([]) == suite
    with pytest.raises(MedSegError, match=r"no rows \['V-Net'\].*U-Net"):
        suite.select_rows(["V-Net"])


def test_what_is_wrong_is_said_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(MedSegError, match="Invalid value"):
        suite_of("title = ", tmp_path)
    with pytest.raises(MedSegError, match="colour"):
        suite_of('colour = "red"\n' + TEXT, tmp_path)
    with pytest.raises(MedSegError, match="several rows"):
        suite_of(TEXT + '[[rows]]\nname = "u net"\n', tmp_path)
    wrong = suite_of(TEXT + '[[rows]]\nname = "odd"\nset = { recipe.speed = 3 }\n', tmp_path)
    with pytest.raises(MedSegError, match=r"'odd'.*recipe\.speed"):
        list(wrong.build_recipes())


def test_settings_are_read_as_toml_and_bare_words_as_text() -> None:
    assert parse_setting("recipe.n_epochs=5") == {"recipe": {"n_epochs": 5}}
    assert parse_setting("recipe.loss = dice") == {"recipe": {"loss": "dice"}}
    with pytest.raises(MedSegError, match="write KEY=VALUE"):
        parse_setting("recipe.n_epochs")


def test_tables_are_merged_and_lists_replaced() -> None:
    assert merge_settings({"a": {"b": 1, "c": [1, 2]}}, {"a": {"c": [3]}, "d": 4}) == {"a": {"b": 1, "c": [3]}, "d": 4}


def test_names_become_folders() -> None:
    assert make_folder_name("DeepLabV3+ ResNet-50") == "deeplabv3-plus-resnet-50"


@pytest.mark.parametrize(
    "damage",
    [b"", b"\xff", b"\0", b"a = " + b"[" * 100_000, b"a = " + b"9" * 5000, b"rows = 3", b"[rows", b"a = 1"],
)
def test_a_damaged_suite_is_a_message(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "suite.toml").write_bytes(damage)
    with pytest.raises(MedSegError, match=r"suite\.toml"):
        read_suite(tmp_path / "suite.toml")
