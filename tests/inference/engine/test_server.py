"""The device of the engine, and predictors that left the GPU; its client tests the rest of the server."""

import contextlib
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pretend_gpu import GPU, MEMORY_ERRORS, fail_on_gpu, pretend_gpu
from torch import Tensor, nn

from napari_medseg.core.image import Image
from napari_medseg.core.model_card import Architecture, ModelCard, Preprocessing
from napari_medseg.inference import device as devices
from napari_medseg.inference import predictor as predictor_module
from napari_medseg.inference.device_status import NvidiaGpu
from napari_medseg.inference.engine import server
from napari_medseg.inference.engine.protocol import CancelledReply, PredictRequest, Reply
from napari_medseg.inference.engine.server import PredictorCache, choose_engine_device, handle_request
from napari_medseg.inference.engine.shared_memory import SharedArray, SharedResult
from napari_medseg.inference.tuning.settings import TuningSettings
from napari_medseg.networks import ARCHITECTURES, build_network, save_version

NETWORK = Architecture(name="conv_unet", in_channels=1, classes=3, options={"widths": [8, 8, 8, 8]})


def test_the_engine_uses_the_chosen_device_or_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretend_gpu(monkeypatch):
        assert choose_engine_device("") == (GPU, "")
        assert choose_engine_device("cpu") == (torch.device("cpu"), "")
        device, reason = choose_engine_device("cuda:3")
        assert device == GPU
        assert "no device 'cuda:3' here" in reason
    driver = lambda: [NvidiaGpu("RTX 4070", "560.1")]  # noqa: E731
    monkeypatch.setattr(devices, "TORCH", devices.TorchBackend("2.9.0+cpu", "", query_driver=driver))
    device, reason = choose_engine_device("")
    assert device.type == "cpu"
    assert "RTX 4070: torch 2.9.0+cpu has no CUDA" in reason
    assert choose_engine_device("cpu")[1] == "", "it was chosen"


def test_a_predictor_returns_to_the_gpu_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = ModelCard(
        name="tiny", version=1, task="lungs", architecture=NETWORK, preprocessing=Preprocessing(), precision="fp32"
    )
    save_version(build_network(NETWORK), card, tmp_path)
    build = ARCHITECTURES["conv_unet"]
    full = lambda card: fail_on_gpu(build(card), MEMORY_ERRORS["cuda"], -1)  # noqa: E731
    with pretend_gpu(monkeypatch):
        predictors = PredictorCache(GPU)
        monkeypatch.setitem(ARCHITECTURES, "conv_unet", full)
        assert predictors.get(tmp_path).device.type == "cpu"
        monkeypatch.setitem(ARCHITECTURES, "conv_unet", build)
        assert predictors.get(tmp_path).device.type == "cpu"
        now = time.monotonic() + server.GPU_RETRY_S + 1
        monkeypatch.setattr(time, "monotonic", lambda: now)
        assert predictors.get(tmp_path).device == GPU


def test_a_pause_measures_what_is_due(tmp_path: Path) -> None:
    card = ModelCard(
        name="tiny", version=1, task="lungs", architecture=NETWORK, preprocessing=Preprocessing(), precision="fp32"
    )
    save_version(build_network(NETWORK), card, tmp_path / "version")
    predictors = PredictorCache(torch.device("cpu"), TuningSettings("torch", tmp_path / "cache", work_before_s=0))
    assert not predictors.may_tune
    predictor = predictors.get(tmp_path / "version")
    assert predictors.may_tune
    predictors.tune()
    assert predictors.may_tune, "nothing was predicted"
    predictor.predict_labels(Image(np.zeros((256, 256), np.int16), "YX", units="HU"))
    predictors.tune()
    assert not predictors.may_tune


class Slow(nn.Module):
    def forward(self, planes: Tensor) -> Tensor:
        time.sleep(0.1)
        return planes[:, :1].expand(-1, 3, -1, -1)


def test_a_cancel_ends_a_measurement_at_the_next_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = ModelCard(
        name="tiny", version=1, task="lungs", architecture=NETWORK, preprocessing=Preprocessing(), precision="fp32"
    )
    save_version(build_network(NETWORK), card, tmp_path / "version")
    monkeypatch.setitem(ARCHITECTURES, "conv_unet", lambda card: Slow())
    monkeypatch.setattr(predictor_module, "load_version", lambda folder: (Slow().eval(), card))
    predictors = PredictorCache(torch.device("cpu"), TuningSettings("torch", tmp_path / "cache", work_before_s=0))
    predictor = predictors.get(tmp_path / "version")
    image = Image(np.zeros((256, 256), np.int16), "YX", units="HU")
    predictor.predict_labels(image)  # the next prediction measures
    began, replies = time.monotonic(), list[Reply]()
    requests = SimpleNamespace(is_cancelled=lambda number: time.monotonic() - began > 0.25)
    with contextlib.ExitStack() as stack:
        pixels = stack.enter_context(SharedArray.from_array(image.pixels))
        shared = SharedResult.create(stack, image, card, False, False)
        request = PredictRequest(
            id=1,
            pixels=pixels.ref,
            axes="YX",
            spacing_mm=None,
            units="HU",
            image_name="",
            version_folder=str(tmp_path / "version"),
            labels=shared.labels.ref,
            uncertainty_map=None,
            roi_folder=None,
            roi=None,
        )
        handle_request(request, requests, predictors, replies.append)  # type: ignore[arg-type]
    assert time.monotonic() - began < 0.25 + 0.25, "the engine would be killed"
    assert replies == [CancelledReply(id=1)]
    assert predictors.may_tune, "it is measured another time"


def test_a_request_ends_the_measurement_of_a_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = ModelCard(
        name="tiny", version=1, task="lungs", architecture=NETWORK, preprocessing=Preprocessing(), precision="fp32"
    )
    save_version(build_network(NETWORK), card, tmp_path / "version")
    predictors = PredictorCache(torch.device("cpu"), TuningSettings("torch", tmp_path / "cache", work_before_s=0))
    predictors.get(tmp_path / "version").predict_labels(Image(np.zeros((256, 256), np.int16), "YX", units="HU"))
    waiting = iter([False, False, True, True])
    predictors.tune(lambda: next(waiting))
    assert predictors.may_tune
    predictors.tune()
    assert not predictors.may_tune
