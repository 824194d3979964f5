"""The device of the engine, and predictors that left the GPU; its client tests the rest of the server."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from pretend_gpu import GPU, MEMORY_ERRORS, fail_on_gpu, pretend_gpu

from napari_medseg.core.image import Image
from napari_medseg.core.model_card import Architecture, ModelCard, Preprocessing
from napari_medseg.inference import device as devices
from napari_medseg.inference.device_status import NvidiaGpu
from napari_medseg.inference.engine import server
from napari_medseg.inference.engine.server import PredictorCache, choose_engine_device
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
