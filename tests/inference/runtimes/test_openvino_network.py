import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import Architecture
from napari_medseg.inference.compiled_network import CompiledNetwork
from napari_medseg.inference.device import CPU
from napari_medseg.networks.padding import add_input_padding

pytest.importorskip("openvino", reason="the extra `openvino` is not installed")

from napari_medseg.inference.runtimes import openvino_model
from napari_medseg.inference.runtimes.openvino_model import ModelFolder, convert_network
from napari_medseg.inference.runtimes.openvino_network import OpenVinoNetwork, compute_label_agreement


class WithEncoder(nn.Module):
    """A small U-Net: an encoder with fine and coarse maps, and a decoder."""

    def __init__(self, n_classes: int = 3) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.encoder = _Encoder()
        self.head = nn.Conv2d(4 + 6, n_classes, 3, padding=1)

    def forward(self, planes: Tensor) -> Tensor:
        fine, coarse = self.encoder(planes)
        raised = nn.functional.interpolate(coarse, size=fine.shape[-2:], mode="bilinear")
        return self.head(torch.cat([fine, raised], dim=1))


class _Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.second = nn.Sequential(nn.AvgPool2d(32), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU())

    def forward(self, planes: Tensor) -> list[Tensor]:
        fine = self.first(planes)
        return [fine, self.second(fine)]


class WithSizeInside(nn.Module):
    """Holds the size of the example that it was traced with."""

    def forward(self, planes: Tensor) -> Tensor:
        middle = torch.arange(int(planes.shape[-1])) > int(planes.shape[-1]) // 2
        return torch.cat([planes[:, :1], planes[:, :1] * 0 + middle.float()], dim=1)


def planes(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def open_both(network: nn.Module, with_features: bool = False) -> tuple[OpenVinoNetwork, CompiledNetwork]:
    exact = CompiledNetwork(network.eval(), CPU, None, with_features)
    return OpenVinoNetwork(convert_network(network.eval(), 1, with_features), exact), exact


@pytest.fixture(scope="module")
def both() -> tuple[OpenVinoNetwork, CompiledNetwork]:
    return open_both(WithEncoder(), with_features=True)


def test_one_converted_network_takes_planes_of_any_number_and_size(
    both: tuple[OpenVinoNetwork, CompiledNetwork],
) -> None:
    fast, exact = both
    for shape in [(1, 1, 128, 160), (3, 1, 192, 128), (2, 1, 320, 512)]:
        batch = planes(*shape)
        answer, expected = fast.compute_logits(batch), exact.compute_logits(batch)
        torch.testing.assert_close(answer, expected, atol=1e-4, rtol=1e-4)
        assert compute_label_agreement(answer, expected) >= 0.999


def test_a_later_pass_does_not_change_the_logits_of_an_earlier_one(
    both: tuple[OpenVinoNetwork, CompiledNetwork],
) -> None:
    fast, _ = both
    first = fast.compute_logits(planes(1, 1, 128, 128))
    before = first.clone()
    fast.compute_logits(planes(1, 1, 128, 128) + 3)
    assert torch.equal(first, before)


def test_small_and_odd_planes_are_computed_by_torch() -> None:
    network = add_input_padding(WithEncoder, 128)().eval()
    fast, exact = open_both(network)
    for shape in [(1, 1, 64, 256), (1, 1, 130, 160)]:
        assert torch.equal(fast.compute_logits(planes(*shape)), exact.compute_logits(planes(*shape)))


def test_features_are_those_of_torch(both: tuple[OpenVinoNetwork, CompiledNetwork]) -> None:
    fast, exact = both
    batch = planes(2, 1, 160, 192)
    fast.take_features()
    fast.compute_logits(batch)
    found = fast.take_features()
    exact.compute_logits(batch)
    np.testing.assert_allclose(found, exact.take_features(), atol=1e-4)
    assert found.shape == (2, 2 * (4 + 6))
    assert len(fast.take_features()) == 0


def test_a_network_that_cannot_be_converted_says_why() -> None:
    class Listing(nn.Module):
        def forward(self, planes: Tensor) -> Tensor:
            raise RuntimeError("no trace of it")

    with pytest.raises(MedSegError, match="OpenVINO cannot compute Listing: no trace of it"):
        convert_network(Listing(), 1, with_features=False)


def test_agreement_is_the_share_of_equal_labels_and_0_if_a_logit_is_not_finite() -> None:
    one = torch.zeros(1, 2, 1, 4)
    one[:, 1] = torch.tensor([1.0, 1.0, -1.0, -1.0])
    other = one.clone()
    other[0, 1, 0, 0] = -1
    assert compute_label_agreement(one, other) == 0.75
    other[0, 1, 0, 0] = float("nan")
    assert compute_label_agreement(one, other) == 0


def test_a_converted_model_is_kept_and_a_damaged_one_is_not_read(tmp_path: Path) -> None:
    folder = ModelFolder(tmp_path / "cache")
    assert folder.read("abc", False) is None
    converted = convert_network(WithEncoder().eval(), 1, False)
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    ModelFolder(tmp_path / "file").write(converted, "abc", False)  # costs only the next conversion
    folder.write(converted, "abc", False)
    exact = CompiledNetwork(WithEncoder().eval(), CPU, None)
    model = folder.read("abc", False)
    assert model is not None
    batch = planes(1, 1, 160, 128)
    torch.testing.assert_close(
        OpenVinoNetwork(model, exact).compute_logits(batch), exact.compute_logits(batch), atol=1e-4, rtol=1e-4
    )
    assert folder.read("abc", True) is None
    del model
    (weights,) = (tmp_path / "cache").glob("*.bin")
    damaged = bytearray(weights.read_bytes())
    damaged[100] ^= 1
    weights.write_bytes(damaged)
    assert folder.read("abc", False) is None


def test_processes_that_keep_one_model_at_once_do_not_share_unfinished_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import openvino

    unfinished: list[str] = []
    save = openvino.save_model

    def note(model: object, path: Path, **options: object) -> None:
        unfinished.append(path.name)
        save(model, path, **options)

    monkeypatch.setattr(openvino, "save_model", note)
    converted = convert_network(WithEncoder().eval(), 1, False)
    for _ in range(2):
        ModelFolder(tmp_path).write(converted, "abc", False)
    assert len(set(unfinished)) == 2
    assert ModelFolder(tmp_path).read("abc", False) is not None
    assert len(list(tmp_path.iterdir())) == 3


def test_the_model_that_was_not_used_for_longest_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_model, "MAX_KEPT_MODELS", 2)
    folder, converted = ModelFolder(tmp_path), convert_network(WithEncoder().eval(), 1, False)
    for name in ("used", "unused"):
        folder.write(converted, name, False)
    for xml in tmp_path.glob("*.xml"):
        os.utime(xml, (0, 0))
    assert folder.read("used", False) is not None
    folder.write(converted, "new", False)
    assert folder.read("used", False) is not None
    assert folder.read("unused", False) is None


def test_an_ensemble_is_computed() -> None:
    from napari_medseg.networks.ensemble import Ensemble

    fast, exact = open_both(Ensemble([WithEncoder(), WithEncoder()]).eval(), with_features=True)
    batch = planes(1, 1, 128, 192)
    torch.testing.assert_close(fast.compute_logits(batch), exact.compute_logits(batch), atol=1e-4, rtol=1e-4)


def test_bundled_architecture_is_converted_with_its_features() -> None:
    from napari_medseg.networks import build_network

    architecture = Architecture(
        name="unet",
        encoder="mobilenet_v2_short",
        in_channels=1,
        classes=3,
        options={"encoder_depth": 4, "decoder_channels": [32, 16, 8, 8]},
    )
    fast, exact = open_both(build_network(architecture).eval(), with_features=True)
    batch = planes(1, 1, 192, 160)
    assert compute_label_agreement(fast.compute_logits(batch), exact.compute_logits(batch)) >= 0.999
