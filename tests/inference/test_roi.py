"""A model that looks into another task's labels: it sees their box, and labels nothing far from them."""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from napari_medseg.core.image import Image
from napari_medseg.core.model_card import Architecture, ModelCard, Preprocessing, RegionOfInterest
from napari_medseg.inference.events import PredictionOptions, PredictionProgress, PredictionResult
from napari_medseg.inference.predictor import Predictor
from napari_medseg.inference.roi import compute_roi_box, drop_outside_roi


class Between(nn.Module):
    """Class 1 where the normalised grey value lies in a range; remembers what each range saw, copies included."""

    seen: ClassVar[list[tuple[float, int, int]]] = []

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(20.0))
        self.low, self.high = low, high

    def forward(self, planes: Tensor) -> Tensor:
        self.seen.append((self.low, planes.shape[-2], planes.shape[-1]))
        inside = ((planes[:, 0] > self.low) & (planes[:, 0] < self.high)).float()
        return self.scale * torch.stack([1 - inside, inside], dim=1)


def card(task: str, field: RegionOfInterest | None = None) -> ModelCard:
    return ModelCard(
        name=f"{task}-tiny",
        version=1,
        task=task,
        architecture=Architecture(name="unet", encoder="mobilenet_v2", in_channels=1, classes=2),
        preprocessing=Preprocessing(min_side_px=32, max_side_px=4096),
        field=field,
        precision="fp32",
    )


def test_the_box_holds_the_field_of_all_planes_with_a_margin() -> None:
    field = np.zeros((3, 100, 200), np.uint8)
    field[0, 20:40, 50:90], field[2, 30:60, 80:120] = 1, 2
    assert compute_roi_box(field, 0.1) == (slice(13, 67), slice(43, 127))
    assert compute_roi_box(field[0], 0.0) == (slice(20, 40), slice(50, 90))
    assert compute_roi_box(np.zeros((5, 6), np.uint8), 0.3) == (slice(0, 5), slice(0, 6))


def test_labels_far_from_the_field_are_dropped_but_not_those_in_its_holes() -> None:
    field = np.zeros((60, 60), np.uint8)
    field[10:50, 10:50] = 1
    field[25:35, 25:35] = 0  # consolidation that the lungs model left out
    labels = np.ones((60, 60), np.uint8)
    drop_outside_roi(labels, field, 3.0, (1.0, 1.0))
    assert labels[30, 30] == 1
    assert labels[30, 52] == 1
    assert labels[30, 54] == 0
    labels = np.ones((60, 60), np.uint8)
    drop_outside_roi(labels, field, 3.0, (0.5, 0.5))
    assert labels[30, 54] == 1


def test_lesions_are_sought_in_the_lungs_alone() -> None:
    hu = np.full((2, 160, 240), 100, np.int16)
    hu[:, 40:120, 60:180] = -850
    hu[:, 60:80, 80:110] = -500  # a lesion
    hu[:, 5:15, 5:25] = -500  # as dense, but outside
    finder = Predictor(Between(-1.0, -0.5), card("lungs"), "cpu")
    field = RegionOfInterest(task="lungs", margin=0.1, keep_within_mm=2)
    predictor = Predictor(Between(-0.4, -0.1), card("covid", field), "cpu", roi_predictor=finder)
    volume = Image(hu, "ZYX", (5.0, 1.0, 1.0), units="HU")
    Between.seen.clear()
    *events, result = predictor.predict(volume, PredictionOptions(with_uncertainty_map=True))
    assert isinstance(result, PredictionResult)
    np.testing.assert_array_equal(result.labels, np.isin(hu, [-500]) & (np.arange(160) > 30)[:, None])
    assert result.roi is not None
    assert result.roi.shape == hu.shape
    assert result.uncertainty_map is not None
    assert result.uncertainty_map.shape == hu.shape
    assert any(isinstance(event, PredictionProgress) and event.text.startswith("lungs: ") for event in events)
    assert (-1.0, 160, 256) in Between.seen
    assert (-0.4, 128, 160) in Between.seen


def test_without_a_finder_the_model_looks_everywhere() -> None:
    predictor = Predictor(Between(-0.4, -0.1), card("covid", RegionOfInterest(task="lungs")), "cpu")
    *_, result = predictor.predict(Image(np.full((64, 64), -500, np.int16), "YX", units="HU"))
    assert isinstance(result, PredictionResult)
    assert result.roi is None
    assert result.labels.all()
