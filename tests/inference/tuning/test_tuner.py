"""The choice of runtime, precision and batch. Speeds are given, so that they do not depend on the computer."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pretend_gpu import GPU, pretend_gpu
from torch import Tensor, nn

from napari_medseg.core.image import Image
from napari_medseg.core.model_card import Architecture, Lineage, ModelCard, Preprocessing
from napari_medseg.inference.batch_limits import DEVICE_LIMITS
from napari_medseg.inference.compiled_network import CompiledNetwork
from napari_medseg.inference.device import CPU
from napari_medseg.inference.events import PredictionNotice, PredictionOptions, PredictionProgress, PredictionResult
from napari_medseg.inference.predictor import Predictor
from napari_medseg.inference.runtimes import preparation
from napari_medseg.inference.runtimes.runtime_names import has_openvino
from napari_medseg.inference.tuning import tuner as tuner_module
from napari_medseg.inference.tuning.measurement import Measurement
from napari_medseg.inference.tuning.settings import TuningSettings
from napari_medseg.inference.tuning.tuner import Tuner

needs_openvino = pytest.mark.skipif(not has_openvino(), reason="the extra `openvino` is not installed")

CARD = ModelCard(
    name="tiny",
    version=1,
    task="lungs",
    architecture=Architecture(name="unet", encoder="mobilenet_v2", in_channels=1, classes=3),
    preprocessing=Preprocessing(min_side_px=128, max_side_px=256),
    precision="fp32",
    weights_sha256="a" * 64,
)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1))

    def forward(self, planes: Tensor) -> Tensor:
        return self.layers(planes)


class OtherWhenTraced(Small):
    """A network that OpenVINO computes otherwise."""

    def forward(self, planes: Tensor) -> Tensor:
        return self.layers(planes if not torch.jit.is_tracing() else planes.flip(-1))


class FailsWhenTraced(Small):
    def forward(self, planes: Tensor) -> Tensor:
        if torch.jit.is_tracing():
            raise RuntimeError("it cannot be traced")
        return self.layers(planes)


class TooLarge(Small):
    """A network for which memory suffices in small tiles only."""

    def forward(self, planes: Tensor) -> Tensor:
        if planes.shape[-1] * planes.shape[-2] > 128 * 128:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return self.layers(planes)


@pytest.fixture
def speeds(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Seconds per million pixels of the ways; a test sets them."""
    given = {"torch fp32": 2.0, "openvino fp32": 1.0}

    class Given(Measurement):
        def time_pass(self, way: str, network: object, planes: np.ndarray) -> Tensor | None:
            logits = super().time_pass(way, network, planes)  # type: ignore[arg-type]
            self.trials = [trial for trial in self.trials if trial.way != way]
            pixels = planes.shape[0] * planes.shape[-1] * planes.shape[-2] / 1e6
            self._note(way, given.get(way, given[way.partition(",")[0]]))
            self.spent_s += given[way.partition(",")[0]] * pixels
            return logits

    monkeypatch.setattr(tuner_module, "Measurement", Given)
    return given


def make_predictor(network: nn.Module, settings: TuningSettings, card: ModelCard = CARD) -> Predictor:
    predictor = Predictor(network.eval(), card, "cpu")
    predictor.use_tuning(settings)
    return predictor


def picture(seed: int = 0) -> Image:
    return Image(np.random.default_rng(seed).normal(size=(256, 192)).astype(np.float32), "YX")


def run(predictor: Predictor, image: Image) -> tuple[PredictionResult, list[str]]:
    events = list(predictor.predict(image))
    assert isinstance(events[-1], PredictionResult)
    return events[-1], [event.text for event in events if isinstance(event, PredictionNotice)]


def tune_fully(predictor: Predictor) -> None:
    """Predict until the choice is made: the conversion runs in a thread."""
    for seed in range(200):
        run(predictor, picture(seed))
        if predictor.tuner is not None and predictor.tuner.choice is not None:
            return
        time.sleep(0.02)
    raise AssertionError("nothing was chosen")


@needs_openvino
def test_the_faster_runtime_is_used_from_the_next_image_on_with_the_same_labels(
    tmp_path: Path, speeds: dict[str, float]
) -> None:
    predictor = make_predictor(Small(), TuningSettings(folder=tmp_path, work_before_s=0))
    first, _ = run(predictor, picture())
    assert first.device == "CPU"
    tune_fully(predictor)
    later, notices = run(predictor, picture())
    assert later.device == "CPU (OpenVINO)"
    assert not notices
    assert np.mean(later.labels == first.labels) >= 0.999
    choice = predictor.tuner and predictor.tuner.choice
    assert choice is not None
    assert (choice.runtime, choice.agreement) == ("openvino", pytest.approx(1, abs=1e-3))
    assert choice.reason == "OpenVINO is 2.00 times as fast as torch in fp32"


@needs_openvino
def test_a_choice_is_kept_for_the_next_start_and_not_for_other_weights(
    tmp_path: Path, speeds: dict[str, float]
) -> None:
    settings = TuningSettings(folder=tmp_path, work_before_s=0)
    tune_fully(make_predictor(Small(), settings))
    again = make_predictor(Small(), settings)
    assert again.device_title == "CPU (OpenVINO)"
    assert run(again, picture())[0].device == "CPU (OpenVINO)"
    other = CARD.model_copy(update={"weights_sha256": "b" * 64})
    assert make_predictor(Small(), settings, other).device_title == "CPU"
    assert make_predictor(Small(), replace(settings, wish="torch")).device_title == "CPU"


@needs_openvino
def test_images_that_belong_together_are_predicted_in_one_way(tmp_path: Path, speeds: dict[str, float]) -> None:
    settings = TuningSettings(folder=tmp_path / "one", is_constant=True)
    measured = make_predictor(Small(), settings)
    first = run(measured, picture())[0]
    assert (first.device, first.runtime.partition(" ")[0]) == ("CPU (OpenVINO)", "OpenVINO"), "before the first image"
    card = CARD.model_copy(update={"preprocessing": Preprocessing(min_side_px=64, max_side_px=256)})
    another = make_predictor(Small(), replace(settings, folder=tmp_path / "two", work_before_s=0), card)
    too_small = Image(np.random.default_rng(0).normal(size=(96, 70)).astype(np.float32), "YX")
    run(another, too_small)  # torch computes it, as OpenVINO takes no such planes
    assert another.tuner is not None
    assert another.tuner.choice is not None
    assert run(another, picture())[0].device == "CPU (OpenVINO)", "as other workers, whose first image was larger"


def test_a_sample_that_does_not_fit_into_memory_ends_no_prediction(tmp_path: Path, speeds: dict[str, float]) -> None:
    """Images that belong together are not measured in their midst either."""
    predictor = make_predictor(TooLarge(), TuningSettings(folder=tmp_path, is_constant=True))
    result, (notice,) = run(predictor, picture())
    assert "The memory of this computer ran out" in notice
    assert result.labels.shape == (256, 192)
    run(predictor, Image(picture().pixels[:128, :128], "YX"))
    assert predictor.tuner is not None
    assert (predictor.tuner.choice, predictor.tuner.is_due) == (None, False)


@needs_openvino
def test_a_choice_that_another_process_made_meanwhile_counts(tmp_path: Path, speeds: dict[str, float]) -> None:
    settings = TuningSettings(folder=tmp_path, is_constant=True)
    one, other = make_predictor(Small(), settings), make_predictor(Small(), settings)
    run(one, picture())
    speeds["openvino fp32"] = 3.0
    assert run(other, picture())[0].device == "CPU (OpenVINO)"


@needs_openvino
def test_a_damaged_cache_file_is_measured_again(tmp_path: Path, speeds: dict[str, float]) -> None:
    settings = TuningSettings(folder=tmp_path, work_before_s=0)
    tune_fully(make_predictor(Small(), settings))
    (file,) = (tmp_path / "tuning").glob("*.json")
    for damage in [b'{"key": 3}', b"\xff\xfe\x00"]:
        file.write_bytes(damage)
        again = make_predictor(Small(), settings)
        assert again.device_title == "CPU"
        tune_fully(again)
        assert b'"runtime": "openvino"' in file.read_bytes()


@needs_openvino
def test_a_runtime_that_is_not_faster_is_not_used(tmp_path: Path, speeds: dict[str, float]) -> None:
    speeds["openvino fp32"] = 1.95
    predictor = make_predictor(Small(), TuningSettings(folder=tmp_path, work_before_s=0))
    tune_fully(predictor)
    result, notices = run(predictor, picture())
    assert (result.device, notices) == ("CPU", [])
    forced = make_predictor(Small(), TuningSettings("openvino", tmp_path))
    assert run(forced, picture())[0].device == "CPU (OpenVINO)", "a person asked for it, for the first image too"


@needs_openvino
@pytest.mark.parametrize("wish", ["auto", "openvino"])
def test_a_version_with_other_labels_stays_with_torch_and_says_so(
    tmp_path: Path, speeds: dict[str, float], wish: str
) -> None:
    predictor = make_predictor(OtherWhenTraced(), TuningSettings(wish, tmp_path, work_before_s=0))  # type: ignore[arg-type]
    notices: list[str] = []
    for _ in range(200):
        result, told = run(predictor, picture())
        notices += told
        if notices:
            break
    assert result.device == "CPU"
    (notice,) = notices
    assert notice.startswith("tiny@1 stays with torch: OpenVINO gives ")
    assert notice.endswith("% other labels (at most 0.1%).")


class WithoutLesionsWhenTraced(nn.Module):
    def forward(self, planes: Tensor) -> Tensor:
        lesion = planes * 20 - 10
        return torch.cat([torch.zeros_like(lesion), lesion - 20 if torch.jit.is_tracing() else lesion], dim=1)


class UnsureWhenTraced(nn.Module):
    def forward(self, planes: Tensor) -> Tensor:
        return torch.cat([planes * 0, planes * 0 - (0.5 if torch.jit.is_tracing() else 4)], dim=1)


@needs_openvino
def test_runtimes_are_compared_where_most_foreground_was_predicted(tmp_path: Path, speeds: dict[str, float]) -> None:
    network = WithoutLesionsWhenTraced().eval()
    exact = CompiledNetwork(network, CPU, None)
    tuner = Tuner(network, CARD, CPU, TuningSettings(folder=tmp_path), with_features=False)
    planes = np.zeros((4, 1, 512, 512), np.float32)
    planes[2, 0, 20:40, 450:480] = 1  # not in the middle of the plane
    tuner.observe(planes, exact.compute_logits(planes), 1.0)
    tuner.observe(planes[:1], exact.compute_logits(planes[:1]), 1.0)
    assert "other labels" in tuner.decide(exact, 600_000)
    assert tuner.choice is not None
    assert tuner.choice.runtime == "torch"


@needs_openvino
def test_equal_labels_with_other_probabilities_are_not_enough(tmp_path: Path, speeds: dict[str, float]) -> None:
    network = UnsureWhenTraced().eval()
    tuner = Tuner(network, CARD, CPU, TuningSettings(folder=tmp_path), with_features=False)
    told = tuner.decide(CompiledNetwork(network, CPU, None), 600_000, np.zeros((1, 1, 128, 128), np.float32))
    assert told == "tiny@1 stays with torch: OpenVINO gives probabilities that differ by 0.36 (at most 0.02)."
    assert tuner.choice is not None
    assert (tuner.choice.runtime, tuner.choice.agreement) == ("torch", 1)


@needs_openvino
def test_an_image_that_openvino_does_not_take_compares_nothing(tmp_path: Path, speeds: dict[str, float]) -> None:
    strip = Image(np.random.default_rng(0).normal(size=(256, 40)).astype(np.float32), "YX")
    predictor = make_predictor(OtherWhenTraced(), TuningSettings("openvino", tmp_path))
    assert run(predictor, strip)[0].device == "CPU"
    assert predictor.tuner is not None
    assert predictor.tuner.choice is None, "torch would be compared with itself"
    _, (notice,) = run(predictor, picture())
    assert "OpenVINO gives " in notice


@needs_openvino
def test_a_network_that_cannot_be_converted_stays_with_torch(tmp_path: Path, speeds: dict[str, float]) -> None:
    predictor = make_predictor(FailsWhenTraced(), TuningSettings(folder=tmp_path, work_before_s=0))
    tune_fully(predictor)
    result, notices = run(predictor, picture())
    assert (result.device, notices) == ("CPU", []), "auto: nobody asked for it"
    forced = make_predictor(FailsWhenTraced(), TuningSettings("openvino", tmp_path))
    result, (notice,) = run(forced, picture())
    assert result.device == "CPU"
    assert "it cannot be traced" in notice


@needs_openvino
def test_torch_goes_on_if_openvino_fails_in_the_middle(tmp_path: Path, speeds: dict[str, float]) -> None:
    predictor = make_predictor(Small(), TuningSettings("openvino", tmp_path))
    expected, _ = run(predictor, picture())

    def fail(planes: np.ndarray) -> Tensor:
        raise RuntimeError("the plugin failed")

    predictor._compiled_network.compute_logits = fail  # type: ignore[method-assign]
    result, (notice,) = run(predictor, picture())
    assert notice == "OpenVINO cannot predict (the plugin failed); torch goes on."
    assert result.device == "CPU", "it computed no plane"
    assert np.mean(result.labels == expected.labels) >= 0.999
    assert run(predictor, picture(1))[0].device == "CPU"


@needs_openvino
def test_a_series_that_two_runtimes_computed_names_both(tmp_path: Path, speeds: dict[str, float]) -> None:
    predictor = make_predictor(Small(), TuningSettings("openvino", tmp_path, budget_s=0))
    run(predictor, picture())
    works, n_passes = predictor._compiled_network.compute_logits, 0

    def fail_later(planes: np.ndarray) -> Tensor:
        nonlocal n_passes
        n_passes += 1
        if n_passes > 1:
            raise RuntimeError("the plugin failed")
        return works(planes)

    predictor._compiled_network.compute_logits = fail_later  # type: ignore[method-assign]
    predictor.limits = replace(predictor.limits, batch_px=2 * 256 * 192)
    stack = Image(np.random.default_rng(0).normal(size=(6, 256, 192)).astype(np.float32), "ZYX")
    result, _ = run(predictor, stack)
    assert result.device == "CPU (OpenVINO), then CPU"
    assert result.runtime.startswith("OpenVINO")
    assert result.runtime.endswith(f", then torch {torch.__version__}, fp32")


def test_little_work_is_not_measured_and_no_settings_tune_nothing(tmp_path: Path) -> None:
    predictor = make_predictor(Small(), TuningSettings(folder=tmp_path))
    for seed in range(3):
        run(predictor, picture(seed))
    assert predictor.tuner is not None
    assert predictor.tuner.choice is None
    assert not list(tmp_path.iterdir())
    usual = Predictor(Small().eval(), CARD, "cpu")
    usual.tune(at_once=True)
    assert usual.tuner is None


def test_the_fastest_batch_is_used_and_labels_do_not_depend_on_it(tmp_path: Path, speeds: dict[str, float]) -> None:
    settings = TuningSettings("torch", tmp_path, work_before_s=0, budget_s=100)
    speeds |= {"torch fp32": 0.2, "torch fp32, 12 x 256 x 192 px": 0.2, "torch fp32, 6 x 256 x 192 px": 0.1}
    predictor = make_predictor(Small(), settings)
    stack = Image(np.random.default_rng(0).normal(size=(15, 256, 192)).astype(np.float32), "ZYX")
    before, _ = run(predictor, stack)
    after, _ = run(predictor, stack)
    assert predictor.tuner is not None
    assert predictor.tuner.choice is not None
    assert predictor.tuner.choice.batch_px == 6 * 256 * 192 == predictor.limits.batch_px
    np.testing.assert_array_equal(before.labels, after.labels)
    assert predictor.limits.tile_px == DEVICE_LIMITS["cpu"].tile_px, "tiles change labels"


def test_fp32_is_used_where_it_is_faster_than_bf16(tmp_path: Path, speeds: dict[str, float]) -> None:
    speeds |= {"torch bf16": 3.0}
    network = Small().eval()
    speeds["openvino fp32"] = 10.0
    emulated = CompiledNetwork(network, CPU, torch.bfloat16)
    tuner = Tuner(network, CARD, CPU, TuningSettings("auto", tmp_path), with_features=False)
    sample = np.random.default_rng(0).normal(size=(1, 1, 128, 128)).astype(np.float32)
    tuner.decide(emulated, 10_000, sample)
    assert tuner.choice is not None
    assert tuner.choice.precision == "fp32"
    exact = CompiledNetwork(network, CPU, None)
    assert torch.equal(tuner.make_network(emulated).compute_logits(sample), exact.compute_logits(sample))
    speeds["torch bf16"] = 1.0
    tuner.decide(emulated, 10_000, sample)
    assert tuner.choice.precision == "bf16"
    assert tuner.make_network(emulated) is emulated
    asked = Tuner(network, CARD, CPU, TuningSettings("torch", tmp_path), with_features=False)
    speeds["torch bf16"] = 3.0
    asked.decide(emulated, 10_000, sample)
    assert asked.make_network(emulated) is emulated, "with torch asked for, labels do not depend on a measurement"


def test_a_device_that_fails_while_it_is_measured_changes_nothing(tmp_path: Path, speeds: dict[str, float]) -> None:
    predictor = make_predictor(Small(), TuningSettings("torch", tmp_path, work_before_s=0))
    run(predictor, picture())
    fine = predictor._torch_network.compute_logits

    def fail(planes: np.ndarray) -> Tensor:
        raise RuntimeError("CUDA error: unspecified launch failure")

    predictor._torch_network.compute_logits = fail  # type: ignore[method-assign]
    predictor.tune(at_once=True)
    predictor._torch_network.compute_logits = fine  # type: ignore[method-assign]
    assert run(predictor, picture())[0].device == "CPU"
    assert not (tmp_path / "tuning").exists(), "the next start measures"


def test_torch_as_usual_keeps_the_precision_of_the_card(tmp_path: Path) -> None:
    network = Small().eval()
    usual = CompiledNetwork(network, CPU, torch.bfloat16)
    tuner = Tuner(network, CARD, CPU, TuningSettings("torch", tmp_path), with_features=False)
    tuner.give_up("the measurement failed")
    assert tuner.make_network(usual) is usual


@pytest.fixture
def freed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A pretended GPU; a word is added whenever its cached memory is given back."""
    words: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device=None: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: words.append("freed"))
    with pretend_gpu(monkeypatch):
        yield words


def test_a_measurement_gives_the_memory_of_the_gpu_back(tmp_path: Path, freed: list[str]) -> None:
    network, sample = Small().eval(), np.zeros((1, 1, 128, 128), np.float32)
    tuner = Tuner(network, CARD, GPU, TuningSettings("auto", tmp_path), with_features=False)
    tuner.observe(sample, torch.zeros(1, 3, 128, 128), 4.0)
    tuner.decide(CompiledNetwork(network, CPU, None), 20_000, is_stopped=lambda: True)
    assert freed == ["freed"], "a measurement that was stopped, too"
    tuner.decide(CompiledNetwork(network, CPU, None), 20_000)
    assert tuner.choice is not None
    assert freed == ["freed"] * 2


def test_a_gpu_keeps_the_precision_of_the_card(tmp_path: Path, speeds: dict[str, float], freed: list[str]) -> None:
    speeds |= {"torch bf16": 3.0}
    network = Small().eval()
    usual = CompiledNetwork(network, CPU, torch.bfloat16)
    tuner = Tuner(network, CARD, GPU, TuningSettings("auto", tmp_path), with_features=False)
    tuner.decide(usual, 20_000, np.zeros((1, 1, 128, 128), np.float32))
    assert tuner.choice is not None
    assert tuner.choice.precision == "bf16"
    assert tuner.make_network(usual) is usual


@needs_openvino
def test_a_converted_model_is_of_the_same_architecture(tmp_path: Path, speeds: dict[str, float]) -> None:
    settings, sample = TuningSettings("openvino", tmp_path), np.ones((1, 1, 128, 128), np.float32)
    other = CARD.model_copy(update={"architecture": CARD.architecture.model_copy(update={"encoder": "resnet18"})})
    for network, card in ((Small().eval(), CARD), (OtherWhenTraced().eval(), other)):
        exact = CompiledNetwork(network, CPU, None)
        tuner = Tuner(network, card, CPU, settings, with_features=False)
        tuner.decide(exact, 20_000, sample)
    assert len(list((tmp_path / "openvino").glob("*.xml"))) == 2


def test_an_adapted_state_is_not_tuned(tmp_path: Path) -> None:
    card = CARD.model_copy(update={"lineage": Lineage(parent=CARD.id, n_corrections=3)})
    predictor = make_predictor(Small(), TuningSettings(folder=tmp_path), card)
    predictor.tune(at_once=True)
    assert predictor.tuner is None


def test_a_measurement_ends_when_its_budget_is_used_up(tmp_path: Path, speeds: dict[str, float]) -> None:
    speeds["torch fp32"] = 30.0
    calls: list[int] = []

    class Counting(Small):
        def forward(self, planes: Tensor) -> Tensor:
            calls.append(len(planes))
            return super().forward(planes)

    network = Counting().eval()
    tuner = Tuner(network, CARD, CPU, TuningSettings("torch", tmp_path), with_features=False)
    tuner.decide(CompiledNetwork(network, CPU, None), 600_000, np.zeros((1, 1, 256, 256), np.float32))
    assert len(calls) == 2, "the two turns of the usual way"
    assert tuner.choice is not None
    assert tuner.choice.batch_px == 0


def test_a_measurement_that_is_stopped_begins_again_another_time(tmp_path: Path) -> None:
    network = Small().eval()
    tuner = Tuner(network, CARD, CPU, TuningSettings("torch", tmp_path), with_features=False)
    exact, sample = CompiledNetwork(network, CPU, None), np.zeros((1, 1, 256, 256), np.float32)
    passes = iter([False, False, True])
    assert tuner.decide(exact, 600_000, sample, lambda: next(passes)) == ""
    assert tuner.choice is None
    assert not (tmp_path / "tuning").exists()
    assert next(passes, None) is None, "nothing is asked after the stop"
    tuner.decide(exact, 600_000, sample)
    assert tuner.choice is not None


@needs_openvino
def test_a_stop_does_not_wait_for_the_conversion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    convert = preparation.convert_network

    def convert_slowly(*arguments: object) -> object:
        ended.wait(20)
        return convert(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(preparation, "convert_network", convert_slowly)
    predictor = make_predictor(Small(), TuningSettings("openvino", tmp_path))
    began = time.monotonic()
    events = predictor.predict(picture(), PredictionOptions(is_cancelled=lambda: time.monotonic() - began > 0.1))
    assert isinstance(next(events), PredictionProgress), "where the engine closes a prediction that was cancelled"
    assert time.monotonic() - began < 0.5
    ended.set()
    assert run(predictor, picture())[0].device == "CPU (OpenVINO)"


def test_passes_that_are_too_long_for_cancel_are_not_measured(tmp_path: Path, speeds: dict[str, float]) -> None:
    speeds["torch fp32"] = 5.0  # a plane of 256 x 256 takes 0.33 s
    sizes: list[int] = []

    class Counting(Small):
        def forward(self, planes: Tensor) -> Tensor:
            sizes.append(len(planes))
            return super().forward(planes)

    network = Counting().eval()
    tuner = Tuner(network, CARD, CPU, TuningSettings("torch", tmp_path, budget_s=100), with_features=False)
    tuner.decide(CompiledNetwork(network, CPU, None), 150_000, np.zeros((1, 1, 256, 256), np.float32))
    assert max(sizes) == 1
    assert tuner.choice is not None
    assert tuner.choice.batch_px == 256 * 256, "one plane at once"
