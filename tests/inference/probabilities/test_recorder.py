import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_medseg.core.image import Image
from napari_medseg.core.model_card import Architecture, Calibration, InstanceSeparation, ModelCard, Preprocessing
from napari_medseg.inference.batch_limits import BatchLimits
from napari_medseg.inference.events import PredictionOptions, PredictionResult
from napari_medseg.inference.predictor import Predictor
from napari_medseg.inference.probabilities.probability_file import ProbabilityWriter
from napari_medseg.inference.probabilities.stored_probabilities import StoredProbabilities, compute_uncertainty_percent

TILED = BatchLimits(batch_px=40_000, max_untiled_px=40_000, tile_px=128, overlap_px=32)
WHOLE = BatchLimits(batch_px=400_000, max_untiled_px=4_000_000, tile_px=256, overlap_px=96)
TEMPERATURE = 2.0
PREPROCESSING = Preprocessing(hu_low=-1000, hu_high=1000, mean=0.5, std=0.5, min_side_px=32, max_side_px=512)


class Doubt(nn.Module):
    """Logits of some classes that change slowly over the plane."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.n_classes = n_classes

    def forward(self, planes: Tensor) -> Tensor:
        grey = planes[:, :1]
        return torch.cat([(4 - number) * grey * (-1) ** number for number in range(self.n_classes)], dim=1)


def make_card(n_classes: int, **others: object) -> ModelCard:
    return ModelCard(
        name="doubt",
        version=1,
        task="lungs",
        architecture=Architecture(name="unet", encoder="mobilenet_v2", in_channels=1, classes=n_classes),
        preprocessing=others.pop("preprocessing", PREPROCESSING),
        precision="fp32",
        calibration=Calibration(temperature=TEMPERATURE),
        **others,
    )


def make_image(*shape: int) -> Image:
    pixels = np.random.default_rng(0).integers(-1000, 1000, shape, np.int16)
    return Image(pixels, "ZYX"[-len(shape) :], units="HU", name="noise")


def predict(predictor: Predictor, image: Image, file: Path) -> PredictionResult:
    *_, result = predictor.predict(image, PredictionOptions(True, file))
    assert isinstance(result, PredictionResult)
    return result


def read_all(file: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    stored = StoredProbabilities(file, shape)
    assert stored.shape[1:] == shape
    return stored.read((slice(None),) * len(shape))


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("limits", [WHOLE, TILED], ids=["whole", "tiled"])
@pytest.mark.parametrize("max_side_px", [512, 96], ids=["as it is", "resampled"])
def test_probabilities_are_those_of_labels_and_uncertainty(
    tmp_path: Path, n_classes: int, limits: BatchLimits, max_side_px: int
) -> None:
    if limits is TILED and max_side_px < 512:
        limits = BatchLimits(batch_px=4_000, max_untiled_px=4_000, tile_px=64, overlap_px=16)
    preprocessing = PREPROCESSING.model_copy(update={"max_side_px": max_side_px})
    predictor = Predictor(Doubt(n_classes), make_card(n_classes, preprocessing=preprocessing), "cpu", limits)
    image = make_image(2, 300, 220)
    result = predict(predictor, image, tmp_path / "file.zip")
    maps = read_all(tmp_path / "file.zip", image.spatial_shape)
    assert maps.shape == (n_classes, 2, 300, 220)
    assert np.abs(maps.sum(axis=0, dtype=int) - 255).max() <= n_classes
    own = np.take_along_axis(maps, result.labels[np.newaxis].astype(int), axis=0)[0]
    assert (own >= maps.max(axis=0) - 1).all()
    assert result.uncertainty_map is not None
    if max_side_px == 512:  # else the map is interpolated, not computed from interpolated logits
        percent = compute_uncertainty_percent(maps, "classes").astype(int)
        assert np.abs(percent - result.uncertainty_map).max() <= 1


def test_a_prediction_is_the_same_without_probabilities(tmp_path: Path) -> None:
    predictor, image = Predictor(Doubt(3), make_card(3), "cpu", WHOLE), make_image(2, 64, 64)
    with_them = predict(predictor, image, tmp_path / "file.zip")
    *_, without = predictor.predict(image, PredictionOptions(True))
    assert isinstance(without, PredictionResult)
    np.testing.assert_array_equal(with_them.labels, without.labels)
    assert list(tmp_path.iterdir()) == [tmp_path / "file.zip"]


def test_objects_have_their_probability_and_their_depth(tmp_path: Path) -> None:
    card = make_card(3, instances=InstanceSeparation(levels=[0.0, 0.5], smoothing_px=0, min_area_px=1))
    image = make_image(90, 70)
    predict(Predictor(Doubt(3), card, "cpu", WHOLE), image, tmp_path / "file.zip")
    stored = StoredProbabilities(tmp_path / "file.zip", image.spatial_shape)
    assert (stored.header.maps, len(stored)) == ("objects", 1)
    logits = Doubt(3)(torch.from_numpy(image.pixels / 1000.0).float()[None, None])
    inside = torch.logsumexp(logits[:, 1:], 1) - logits[:, 0]
    wanted = torch.sigmoid(inside[0] / TEMPERATURE).numpy() * 255
    assert np.abs(stored[0][:, :] - wanted).max() <= 1
    levels = (torch.softmax(logits, 1)[0] * torch.tensor([0.0, 0.5, 1.0])[:, None, None]).sum(0)
    assert np.abs(stored.read((slice(None), slice(None)))[1] / 255 - levels.numpy()).max() <= 0.01


def test_a_plane_that_is_repeated_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = BatchLimits(batch_px=40_000, max_untiled_px=40_000, tile_px=256, overlap_px=32)
    predictor, image = Predictor(Doubt(3), make_card(3), "cpu", limits), make_image(500, 300)
    network, calls = predictor._compiled_network, []

    def compute_logits(tiles: NDArray[np.float32]) -> Tensor:
        calls.append(tiles.shape)
        if len(calls) == 4:  # after a row of tiles
            raise MemoryError
        return network.compute_logits(tiles)

    monkeypatch.setattr(
        predictor,
        "_compiled_network",
        SimpleNamespace(compute_logits=compute_logits, take_features=network.take_features),
    )
    predict(predictor, image, tmp_path / "file.zip")
    predict(Predictor(Doubt(3), make_card(3), "cpu", WHOLE), image, tmp_path / "whole.zip")
    assert len(calls) > 4
    repeated, whole = (read_all(tmp_path / name, image.spatial_shape) for name in ("file.zip", "whole.zip"))
    assert np.abs(repeated.astype(int) - whole).max() <= 1


def test_a_cancelled_prediction_leaves_no_file(tmp_path: Path) -> None:
    events = Predictor(Doubt(3), make_card(3), "cpu", TILED).predict(
        make_image(3, 64, 64), PredictionOptions(False, tmp_path / "cache" / "file.zip")
    )
    next(iter(events))
    assert isinstance(events, Iterator)
    events.close()  # type: ignore[attr-defined]
    assert not list((tmp_path / "cache").iterdir())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("probabilities")]


def test_a_full_disk_costs_the_probabilities_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ProbabilityWriter, "write", fail)
    result = predict(Predictor(Doubt(3), make_card(3), "cpu", WHOLE), make_image(9, 32, 32), tmp_path / "file.zip")
    assert result.labels.shape == (9, 32, 32)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_costs_the_probabilities_only(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in its place")
    predictor = Predictor(Doubt(3), make_card(3), "cpu", WHOLE)
    assert predict(predictor, make_image(32, 32), tmp_path / "cache" / "file.zip").labels.shape == (32, 32)
