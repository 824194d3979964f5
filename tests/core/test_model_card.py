"""Model cards: complete, and with no unknown word."""

import json
from pathlib import Path

import pytest

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import (
    Architecture,
    Calibration,
    CardReader,
    Lineage,
    ModelCard,
    PostprocessingStep,
    Preprocessing,
    Score,
    read_card,
    write_card,
)
from napari_medseg.core.project import file_state

CARD = ModelCard(
    name="lungs-unet",
    version=3,
    task="lungs",
    architecture=Architecture(name="unet", encoder="mobilenet_v2", in_channels=1, classes=3, options={"depth": [1, 2]}),
    preprocessing=Preprocessing(hu_low=-1200.0),
    postprocessing=[PostprocessingStep(name="fill_holes", options={"max_area_mm2": 30.5})],
    hold_out=[
        Score(
            dataset="lidc_one_patient",
            n_images=69,
            n_groups=1,
            mean=0.97,
            worst=0.9,
            ci_low=0.96,
            ci_high=0.98,
            per_label={"right lung": 0.97},
            labels_by="automatic, checked by eye",
        )
    ],
    lineage=Lineage(parent="lungs-unet@2", n_corrections=8, seed=1),
)


def test_a_card_comes_back_from_its_file(tmp_path: Path) -> None:
    write_card(CARD, tmp_path / "card.json")
    assert read_card(tmp_path / "card.json") == CARD
    assert CARD.id == "lungs-unet@3"


def test_a_card_is_read_once_until_its_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_state, "SETTLING_NS", -(10**9))  # a new file counts as settled
    path, reader = tmp_path / "card.json", CardReader()
    write_card(CARD, path)
    assert reader.read(path) is reader.read(path)
    write_card(CARD.model_copy(update={"version": 12}), path)
    assert reader.read(path).version == 12
    path.unlink()
    with pytest.raises(MedSegError):
        reader.read(path)


def test_the_temperature_of_an_older_card_is_not_applied(tmp_path: Path) -> None:
    """It was fitted on pixels that the reference chose; such a card does not say which pixels were used."""
    fields = json.loads(CARD.model_dump_json())
    fields["calibration"] = {"temperature": 3.03, "ece": 0.075, "ece_uncorrected": 0.178, "n_images": 21}
    del fields["amendments"]
    (tmp_path / "card.json").write_text(json.dumps(fields), encoding="utf-8")
    old = read_card(tmp_path / "card.json")
    assert (old.calibration.temperature, old.calibration.pixels) == (3.03, "labelled")
    assert old.calibration.applied_temperature == 1.0
    write_card(old, tmp_path / "card.json")
    assert read_card(tmp_path / "card.json") == old


@pytest.mark.parametrize(
    "calibration", [Calibration(temperature=1.4, ece=0.02), Calibration(temperature=0.8), Calibration()]
)
def test_the_temperature_of_a_new_card_is_applied(tmp_path: Path, calibration: Calibration) -> None:
    write_card(CARD.model_copy(update={"calibration": calibration}), tmp_path / "card.json")
    assert read_card(tmp_path / "card.json").calibration == calibration
    assert calibration.applied_temperature == calibration.temperature


def test_an_older_card_that_was_never_calibrated_says_nothing_about_pixels(tmp_path: Path) -> None:
    fields = json.loads(CARD.model_dump_json())
    fields["calibration"] = {"temperature": 1.0, "ece": None, "ece_uncorrected": None, "n_images": 0}
    (tmp_path / "card.json").write_text(json.dumps(fields), encoding="utf-8")
    assert read_card(tmp_path / "card.json").calibration == Calibration()


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"colour": "red"}, "colour"),
        ({"version": 0}, "version"),
        ({"name": "Lungs UNet"}, "name"),
        ({"task": None}, "task"),
        ({"preprocessing": {"std": 0}}, r"preprocessing\.std"),
        ({"architecture": {"name": "unet", "in_channels": 1, "classes": 1}}, r"architecture\.classes"),
        ({"precision": "int8"}, "precision"),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path: Path, change: dict[str, object], place: str) -> None:
    content = json.loads(CARD.model_dump_json()) | change
    (tmp_path / "card.json").write_text(json.dumps(content))
    with pytest.raises(MedSegError, match=rf"card\.json is not a valid model card: .*{place}"):
        read_card(tmp_path / "card.json")


def test_missing_and_broken_cards(tmp_path: Path) -> None:
    with pytest.raises(MedSegError, match=r"cannot read the model card card\.json"):
        read_card(tmp_path / "card.json")
    (tmp_path / "card.json").write_text("{")
    with pytest.raises(MedSegError, match="not a valid model card"):
        read_card(tmp_path / "card.json")
