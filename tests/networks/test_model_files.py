import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from torch import nn

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import Architecture, ModelCard, Preprocessing, read_card
from napari_medseg.networks import (
    ARCHITECTURES,
    build_network,
    load_encoder_file,
    load_version,
    meta_network,
    save_version,
)
from napari_medseg.networks.meta_network import build_on_meta, limit_growth
from napari_medseg.networks.model_files import load_weights_strictly, read_weights

ENCODER_WEIGHTS = Path(__file__).parents[3] / "shared/weights/mobilenet_v2_imagenet.safetensors"
ARCHITECTURE = Architecture(
    name="unet",
    encoder="mobilenet_v2",
    in_channels=1,
    classes=3,
    options={"decoder_channels": [16, 16, 8, 8, 8]},
)
CARD = ModelCard(name="tiny", version=1, task="lungs", architecture=ARCHITECTURE, preprocessing=Preprocessing())


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return build_network(ARCHITECTURE).eval()


def test_a_saved_version_comes_back_as_the_same_function(network: nn.Module, tmp_path: Path) -> None:
    written = save_version(network.to(memory_format=torch.channels_last), CARD, tmp_path / "1")
    loaded, card = load_version(tmp_path / "1")
    assert card == written == read_card(tmp_path / "1" / "card.json")
    assert sorted(path.name for path in (tmp_path / "1").iterdir()) == ["card.json", "model.safetensors"]
    plane = torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(plane), network(plane), atol=5e-3, rtol=5e-3)
    assert not loaded.training
    assert {tensor.dtype for tensor in loaded.parameters()} == {torch.float32}


def test_saving_what_was_loaded_changes_no_byte(network: nn.Module, tmp_path: Path) -> None:
    first = save_version(network, CARD, tmp_path / "1")
    second = save_version(load_version(tmp_path / "1")[0], CARD, tmp_path / "2")
    assert first.weights_sha256 == second.weights_sha256


def test_kernels_are_halved_and_statistics_are_not(network: nn.Module, tmp_path: Path) -> None:
    tiny_variance = network.get_buffer("encoder.features.0.1.running_var").fill_(1e-9)
    network.get_parameter("segmentation_head.0.weight").data.mul_(1e6)
    save_version(network, CARD, tmp_path)
    loaded, _ = load_version(tmp_path)
    assert torch.equal(loaded.get_buffer("encoder.features.0.1.running_var"), tiny_variance)
    assert torch.isfinite(loaded.get_parameter("segmentation_head.0.weight")).all()
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    assert (tmp_path / "model.safetensors").stat().st_size < 2.3 * n_parameters


def test_damaged_weights_are_refused(network: nn.Module, tmp_path: Path) -> None:
    save_version(network, CARD, tmp_path)
    weights = tmp_path / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(MedSegError, match=r"tiny@1 are damaged.*roll back"):
        load_version(tmp_path)


def test_missing_weights_are_named(network: nn.Module, tmp_path: Path) -> None:
    save_version(network, CARD, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(MedSegError, match=r"model\.safetensors"):
        load_version(tmp_path)


def test_weights_of_another_network_are_refused(network: nn.Module, tmp_path: Path) -> None:
    other = CARD.model_copy(update={"architecture": ARCHITECTURE.model_copy(update={"classes": 5})})
    save_version(network, other, tmp_path)
    with pytest.raises(MedSegError, match="do not fit Unet"):
        load_version(tmp_path)


def test_a_pickle_is_refused_as_encoder_weights(network: nn.Module, tmp_path: Path) -> None:
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    with pytest.raises(MedSegError, match="Only safetensors"):
        load_encoder_file(network, tmp_path / "weights.pt")


@pytest.mark.shared
@pytest.mark.skipif(not ENCODER_WEIGHTS.exists(), reason="needs ../shared/weights")
def test_one_channel_encoder_answers_like_the_rgb_one_to_grey() -> None:
    grey, rgb = (
        build_network(ARCHITECTURE).eval(),
        build_network(ARCHITECTURE.model_copy(update={"in_channels": 3})).eval(),
    )
    for network in (grey, rgb):
        load_encoder_file(network, ENCODER_WEIGHTS)
    plane = torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        from_grey, from_rgb = (
            network.get_submodule("encoder")(pixels)[-1]
            for network, pixels in ((grey, plane), (rgb, plane.expand(-1, 3, -1, -1)))
        )
    torch.testing.assert_close(from_grey, from_rgb, atol=1e-4, rtol=1e-4)


def test_a_loaded_version_is_exactly_a_network_that_was_built_and_filled(network: nn.Module, tmp_path: Path) -> None:
    save_version(network, CARD, tmp_path)
    loaded, _ = load_version(tmp_path)
    filled = build_network(ARCHITECTURE)
    load_weights_strictly(filled, read_weights(tmp_path / "model.safetensors"), "a file")
    assert_equal(loaded, filled.eval(), side_px=64)


class Indexed(nn.Module):
    """Has a buffer that is in no file, as the position indices of a Swin transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(1, 3, 1)
        self.register_buffer("index", torch.arange(3).flip(0), persistent=False)

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        return self.mix(planes)[:, self.get_buffer("index")]


def test_what_is_in_no_file_is_computed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(ARCHITECTURES, "indexed", lambda architecture: Indexed())
    network = Indexed().eval()
    card = CARD.model_copy(update={"architecture": Architecture(name="indexed", in_channels=1, classes=3)})
    for tensor in network.parameters():
        tensor.data = tensor.half().float()
    save_version(network, card, tmp_path)
    assert_equal(load_version(tmp_path)[0], network, side_px=8)


def assert_equal(first: nn.Module, second: nn.Module, side_px: int) -> None:
    for list_tensors in (nn.Module.named_parameters, nn.Module.named_buffers):
        others = dict(list_tensors(second))
        assert all(torch.equal(tensor, others.pop(name)) for name, tensor in list_tensors(first))
        assert not others
    plane = torch.randn(1, 1, side_px, side_px)
    with torch.inference_mode():
        assert torch.equal(first(plane), second(plane))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"classes": 2_000_000_000}, "size mismatch for segmentation_head"),
        ({"options": {"decoder_channels": [600_000, 16, 8, 8, 8]}}, "size mismatch for decoder"),
        ({"encoder": "tu-convnext_xxlarge", "options": {}}, "tiny@1 do not fit"),
        ({"in_channels": 10**9}, "less than or equal to 1024"),
    ],
)
def test_a_card_with_a_huge_network_is_refused_before_it_takes_memory(
    change: dict[str, Any], reason: str, network: nn.Module, tmp_path: Path
) -> None:
    save_version(network, CARD, tmp_path)
    card = json.loads((tmp_path / "card.json").read_text())
    card["architecture"] |= change
    (tmp_path / "card.json").write_text(json.dumps(card))
    with limit_address_space(2**30), pytest.raises(MedSegError, match=reason):
        load_version(tmp_path)


def test_a_network_that_must_be_built_with_memory_is_stopped_before_it_uses_it(network: nn.Module) -> None:
    weights = network.state_dict()
    with limit_growth(weights, "tiny@1"), pytest.raises(MedSegError, match="would be far larger"):
        build_network(ARCHITECTURE.model_copy(update={"options": {"decoder_channels": [60_000, 16, 8, 8, 8]}}))


@pytest.mark.parametrize(
    "huge",
    [
        {"name": "conv_unet", "options": {"widths": [4] * 3000}},
        {"name": "ensemble", "options": {"member": "conv_unet", "n_members": 10**9}},
    ],
)
def test_a_network_of_endless_parts_is_stopped(huge: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meta_network, "_SPARE_TENSORS", 100)
    architecture = Architecture(in_channels=1, classes=3, **huge)
    with limit_growth({}, "tiny@1"), pytest.raises(MedSegError, match="would be far larger"):
        build_on_meta(lambda: build_network(architecture))


@contextlib.contextmanager
def limit_address_space(n_bytes: int) -> Iterator[None]:
    """Let this process map only so much more; nothing on systems that cannot."""
    if not sys.platform.startswith("linux"):
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
