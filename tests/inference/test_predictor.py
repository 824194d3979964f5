import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from pretend_gpu import (
    COMPUTER_MEMORY_ERRORS,
    FAULTS_OF_OURS,
    GPU,
    GPU_ERRORS,
    GPU_MEMORY_ERRORS,
    MEMORY_ERRORS,
    fail_on_gpu,
    pretend_gpu,
)
from torch import Tensor, nn

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import (
    Architecture,
    ModelCard,
    PostprocessingStep,
    Preprocessing,
    RegionOfInterest,
)
from napari_medseg.inference.batch_limits import BatchLimits
from napari_medseg.inference.events import (
    PredictionNotice,
    PredictionOptions,
    PredictionPart,
    PredictionProgress,
    PredictionResult,
)
from napari_medseg.inference.predictor import Predictor
from napari_medseg.networks import build_network, save_version

SMALL = BatchLimits(batch_px=40_000, max_untiled_px=300_000, tile_px=256, overlap_px=96)


class ByBrightness(nn.Module):
    """Label 1 where a pixel is dark, 2 where it is bright, 0 between: exact at every pixel."""

    def forward(self, planes: Tensor) -> Tensor:
        grey = planes[:, :1]
        return 20 * torch.cat([0.5 - grey.abs(), -grey, grey], dim=1)


class Neighbourhood(nn.Module):
    """Random convolutions with a known reach: 10 px to every side, 4 px of grid, like a small U-Net."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.fine = nn.Conv2d(1, 6, 3, padding=1)
        self.coarse = nn.Sequential(
            nn.AvgPool2d(4), nn.Conv2d(6, 6, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=4)
        )
        self.head = nn.Conv2d(12, 3, 3, padding=1)

    def forward(self, planes: Tensor) -> Tensor:
        fine = torch.relu(self.fine(planes))
        return self.head(torch.cat([fine, self.coarse(fine)], dim=1))


class Greedy(nn.Module):
    """Runs out of memory above a number of pixels, as a device does."""

    def __init__(self, most_px: int, error: Callable[[], Exception]) -> None:
        super().__init__()
        self.most_px, self.error, self.inner = most_px, error, ByBrightness()

    def forward(self, planes: Tensor) -> Tensor:
        if planes[:, 0].numel() > self.most_px:
            raise self.error()
        return self.inner(planes)


def make_card(steps: list[PostprocessingStep] | None = None, **numbers: float) -> ModelCard:
    return ModelCard(
        name="tiny",
        version=1,
        task="lungs",
        architecture=Architecture(name="unet", encoder="mobilenet_v2", in_channels=1, classes=3),
        preprocessing=Preprocessing.model_validate({"min_side_px": 32, "max_side_px": 4096} | numbers),
        postprocessing=steps or [],
        precision="fp32",
    )


def picture(*shape: int) -> np.ndarray:
    """Smooth random grey, with values on both sides of the middle."""
    torch.manual_seed(5)
    coarse = torch.rand(1, 1, *(max(2, side // 24) for side in shape[-2:]))
    plane = nn.functional.interpolate(coarse, size=shape[-2:], mode="bilinear")[0, 0].numpy() * 255
    return np.broadcast_to(plane, shape).astype(np.uint8)


def run(
    predictor: Predictor, image: Image, options: PredictionOptions | None = None
) -> tuple[list[object], PredictionResult]:
    *events, result = predictor.predict(image, options)
    assert isinstance(result, PredictionResult)
    return events, result


@pytest.fixture
def predictor() -> Predictor:
    return Predictor(ByBrightness(), make_card(), "cpu", SMALL)


def test_a_slice_is_labelled_where_it_lies(predictor: Predictor) -> None:
    hu = np.full((200, 300), -300, np.int16)
    hu[20:90, 30:120], hu[110:190, 180:290] = -1000, 400
    events, result = run(predictor, Image(hu, "YX", units="HU"))
    wanted = np.select([hu == -1000, hu == 400], [1, 2], 0)
    np.testing.assert_array_equal(result.labels, wanted)
    assert result.labels.dtype == np.uint8
    assert result.uncertainty_map is None
    assert [type(event) for event in events] == [PredictionProgress]
    assert 0 < result.seconds < 60


def test_a_stack_reports_each_batch_and_equals_its_slices(predictor: Predictor) -> None:
    stack = np.stack([np.roll(picture(160, 96), 7 * shift, axis=0) for shift in range(5)])
    events, result = run(predictor, Image(stack, "ZYX"))
    assert [event.text for event in events if isinstance(event, PredictionProgress)] == [
        "slice 2 of 5",
        "slice 4 of 5",
        "slice 5 of 5",
    ]
    assert result.labels.shape == stack.shape
    for plane, labels in zip(stack, result.labels, strict=True):
        np.testing.assert_array_equal(predictor.predict_labels(Image(plane, "YX")), labels)


def test_the_first_slices_of_a_series_come_as_soon_as_they_are_labelled(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_medseg.inference.accumulator.SECONDS_BETWEEN_PARTS", 0.0)
    stack = Image(np.stack([np.roll(picture(160, 96), 7 * shift, axis=0) for shift in range(5)]), "ZYX")
    options = PredictionOptions(with_parts=True)
    events, result = run(predictor, stack, options)
    parts = [event for event in events if isinstance(event, PredictionPart)]
    assert [(part.first, len(part.labels)) for part in parts] == [(0, 2), (2, 2)], "the last come with the result"
    for part in parts:
        np.testing.assert_array_equal(part.labels, result.labels[part.first : part.first + len(part.labels)])
    texts = [getattr(event, "text", "part") for event in events]
    assert texts.index("part") < texts.index("slice 4 of 5")
    assert not any(isinstance(event, PredictionPart) for event in run(predictor, stack)[0])
    one = Image(stack.pixels[:1], "ZYX")
    assert not any(isinstance(event, PredictionPart) for event in run(predictor, one, options)[0])


def test_parts_inside_a_region_of_interest_are_whole_slices_and_none_of_the_region(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_medseg.inference.accumulator.SECONDS_BETWEEN_PARTS", 0.0)
    hu = np.full((5, 200, 300), 0, np.int16)
    hu[:, 60:90, 70:120] = 400
    card = make_card().model_copy(update={"field": RegionOfInterest(task="lungs", margin=0.1)})
    inside = Predictor(ByBrightness(), card, "cpu", SMALL, roi_predictor=predictor)
    events, result = run(inside, Image(hu, "ZYX", units="HU"), PredictionOptions(with_parts=True))
    parts = [event for event in events if isinstance(event, PredictionPart)]
    assert parts
    assert all(part.labels.shape[1:] == hu.shape[1:] for part in parts)
    for part in parts:
        np.testing.assert_array_equal(part.labels, result.labels[part.first : part.first + len(part.labels)])


@pytest.mark.parametrize("shape", [(700, 1030), (1600, 300), (513, 999)])
def test_tiles_give_what_the_whole_plane_gives(shape: tuple[int, int]) -> None:
    image = Image(picture(*shape), "YX")
    network = Neighbourhood()
    tiled_limits = BatchLimits(batch_px=100_000, max_untiled_px=1000, tile_px=256, overlap_px=96)
    options = PredictionOptions(with_uncertainty_map=True)
    events, tiled = run(Predictor(network, make_card(), "cpu", tiled_limits), image, options)
    _, whole = run(Predictor(network, make_card(), "cpu", BatchLimits(10**9, 10**9, 256, 96)), image, options)
    assert len(events) > 4
    assert np.bincount(whole.labels.ravel(), minlength=3).min() > 1000
    assert np.mean(tiled.labels != whole.labels) < 1e-4
    assert tiled.uncertainty_map is not None
    assert whole.uncertainty_map is not None
    assert np.abs(tiled.uncertainty_map.astype(int) - whole.uncertainty_map).max() <= 1
    assert tiled.uncertainty == pytest.approx(whole.uncertainty, rel=1e-3)


def test_no_seam_shows_where_tiles_disagree_about_brightness() -> None:
    """A network that looks at its whole tile: the labels must change over the width of the overlap, not at a line."""

    class ByTile(nn.Module):
        def forward(self, planes: Tensor) -> Tensor:
            level = planes.mean(dim=(2, 3), keepdim=True).expand_as(planes)
            return torch.cat([torch.zeros_like(level), level, -level], dim=1)

    ramp = np.linspace(0, 255, 2048, dtype=np.float32) * np.ones((512, 1), np.float32)
    predictor = Predictor(ByTile(), make_card(), "cpu", BatchLimits(100_000, 1000, 256, 96))
    _, result = run(predictor, Image(ramp, "YX"), PredictionOptions(with_uncertainty_map=True))
    assert result.uncertainty_map is not None
    assert np.abs(np.diff(result.uncertainty_map[100].astype(int))).max() <= 3


def test_a_resampled_picture_is_labelled_on_its_own_grid() -> None:
    image = Image(picture(1500, 2200), "YX")
    reduced = make_card(max_side_px=512)
    options = PredictionOptions(with_uncertainty_map=True)
    _, whole = run(Predictor(ByBrightness(), reduced, "cpu", SMALL), image, options)
    tiles = BatchLimits(batch_px=100_000, max_untiled_px=1000, tile_px=128, overlap_px=64)
    _, tiled = run(Predictor(ByBrightness(), reduced, "cpu", tiles), image, options)
    exact = Predictor(ByBrightness(), make_card(), "cpu", SMALL).predict_labels(image)
    for result in (whole, tiled):
        assert result.labels.shape == (1500, 2200)
        assert np.mean(result.labels != exact) < 0.015
        assert result.uncertainty_map is not None
        assert result.uncertainty_map.shape == (1500, 2200)


@pytest.mark.parametrize(
    "error",
    [
        MEMORY_ERRORS["cuda"],
        MEMORY_ERRORS["cudnn"],
        MEMORY_ERRORS["allocator"],
        MEMORY_ERRORS["mps buffer"],
    ],
)
def test_out_of_memory_is_answered_by_smaller_pieces_and_a_notice(error: Callable[[], Exception]) -> None:
    stack = np.stack([picture(512, 480)] * 3)
    predictor = Predictor(Greedy(150 * 150, error), make_card(), "cpu", BatchLimits(600_000, 600_000, 512, 96))
    events, result = run(predictor, Image(stack, "ZYX"))
    notices = [event.text for event in events if isinstance(event, PredictionNotice)]
    assert [notice.split("with ")[1] for notice in notices] == [
        "1 slices at once.",
        "tiles of 256 px.",
        "tiles of 128 px.",
    ]
    np.testing.assert_array_equal(
        result.labels, Predictor(ByBrightness(), make_card(), "cpu").predict_labels(Image(stack, "ZYX"))
    )
    events, _ = run(predictor, Image(stack, "ZYX"))
    assert not any(isinstance(event, PredictionNotice) for event in events), "what was learnt is forgotten"


def test_out_of_memory_at_the_smallest_tile_says_what_to_do() -> None:
    predictor = Predictor(Greedy(10, lambda: torch.OutOfMemoryError("out of memory")), make_card(), "cpu")
    with pytest.raises(MedSegError, match=r"too little memory for tiny@1.*smaller model"):
        predictor.predict_labels(Image(picture(512, 512), "YX"))


@pytest.mark.parametrize(
    "error", [*GPU_MEMORY_ERRORS.values(), *GPU_ERRORS.values()], ids=[*GPU_MEMORY_ERRORS, *GPU_ERRORS]
)
@pytest.mark.parametrize("most_px", [-1, 0], ids=["the model does not fit", "no tile fits"])
def test_a_gpu_that_fails_hands_over_to_the_cpu_with_a_notice(
    error: Callable[[], Exception], most_px: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = Image(picture(256, 256), "YX")
    with pretend_gpu(monkeypatch):
        predictor = Predictor(fail_on_gpu(ByBrightness(), error, most_px), make_card(), GPU)
        events, result = run(predictor, image)
    notices = [event.text for event in events if isinstance(event, PredictionNotice)]
    assert "Pretence 4090 cannot predict" in notices[-1]
    assert "the CPU goes on" in notices[-1]
    assert (result.device, predictor.device.type) == ("CPU", "cpu")
    assert predictor.fell_back_at is not None
    np.testing.assert_array_equal(result.labels, Predictor(ByBrightness(), make_card(), "cpu").predict_labels(image))


@pytest.mark.parametrize("error", COMPUTER_MEMORY_ERRORS.values(), ids=COMPUTER_MEMORY_ERRORS)
def test_full_memory_of_the_computer_is_no_reason_to_leave_the_gpu(
    error: Callable[[], Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    image, told = Image(picture(256, 256), "YX"), []
    with pretend_gpu(monkeypatch):
        predictor = Predictor(fail_on_gpu(ByBrightness(), error, 128 * 128), make_card(), GPU)
        predictor.predict_labels(image, told.append)
        assert predictor.device == GPU
        assert all("The memory of this computer ran out; going on with" in text for text in told)
        with pytest.raises(MedSegError, match="this computer has too little memory"):
            Predictor(fail_on_gpu(ByBrightness(), error), make_card(), GPU).predict_labels(image)
    assert told


def test_a_fault_of_ours_on_a_gpu_stays_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, error in FAULTS_OF_OURS.items():
        with pretend_gpu(monkeypatch), pytest.raises(type(error()), match=re.escape(str(error()))):
            Predictor(fail_on_gpu(ByBrightness(), error), make_card(), GPU).predict_labels(Image(picture(64, 64), "YX"))
        assert name


def test_another_error_of_the_network_is_not_swallowed() -> None:
    predictor = Predictor(Greedy(10, lambda: RuntimeError("shapes do not match")), make_card(), "cpu")
    with pytest.raises(RuntimeError, match="shapes do not match"):
        predictor.predict_labels(Image(picture(64, 64), "YX"))


def test_postprocessing_of_the_card_is_applied_in_millimetres() -> None:
    hu = np.full((100, 100), -300, np.int16)
    hu[10:60, 10:60], hu[90:94, 90:94] = -1000, -1000
    steps = [PostprocessingStep(name="drop_small", options={"min_area_mm2": 20.0})]
    predictor = Predictor(ByBrightness(), make_card(steps), "cpu")
    events, result = run(predictor, Image(hu, "YX", spacing_mm=(1.0, 1.0), units="HU"))
    assert result.labels.sum() == 2500
    assert isinstance(events[-1], PredictionProgress)
    assert events[-1].text == "drop small"
    assert predictor.predict_labels(Image(hu, "YX", spacing_mm=(2.0, 2.0), units="HU")).sum() == 2516


def test_an_unsure_case_has_the_larger_figure(predictor: Predictor) -> None:
    sure, unsure = np.full((2, 64, 64), -300, np.int16)
    sure[10:50, 10:50], unsure[10:50, 10:50] = 400, -120
    _, sure_result = run(predictor, Image(sure, "YX", units="HU"))
    _, unsure_result = run(predictor, Image(unsure, "YX", units="HU"), PredictionOptions(with_uncertainty_map=True))
    assert 0 < sure_result.uncertainty < unsure_result.uncertainty <= 1
    assert unsure_result.uncertainty_map is not None
    assert unsure_result.uncertainty_map[30, 30] == 43


def test_work_stops_when_the_generator_is_closed(predictor: Predictor) -> None:
    calls = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, _in, _out: calls.append(type(module)))
    try:
        events: Iterator[object] = predictor.predict(Image(np.stack([picture(160, 96)] * 40), "ZYX"))
        next(events)
        events.close()  # type: ignore[attr-defined]
    finally:
        handle.remove()
    assert calls == [ByBrightness]


def test_the_network_given_is_not_changed_and_training_may_go_on() -> None:
    network = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3)).train()
    predictor = Predictor(network, make_card(), "cpu")
    before = predictor.predict_labels(Image(picture(64, 64), "YX"))
    network(torch.randn(2, 1, 32, 32)).sum().backward()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(-1)
    np.testing.assert_array_equal(predictor.predict_labels(Image(picture(64, 64), "YX")), before)
    assert network.training


def test_a_version_folder_is_loaded_and_bf16_agrees_with_fp32(tmp_path: Path) -> None:
    torch.manual_seed(0)
    card = make_card().model_copy(update={"precision": "bf16"})
    network = build_network(card.architecture)
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(4, 1, 64, 64))
    save_version(network, card, tmp_path)
    fast, exact = Predictor.load(tmp_path, "cpu"), Predictor(network, make_card(), "cpu")
    assert fast.card.id == "tiny@1"
    assert fast.device_title == "CPU"
    image = Image(picture(256, 256), "YX")
    assert np.mean(fast.predict_labels(image) == exact.predict_labels(image)) > 0.98


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(MedSegError, match="choose one of"):
        Predictor(ByBrightness(), make_card(), "tpu")
