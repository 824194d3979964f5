import hashlib
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import napari_medseg
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import Architecture
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.networks import build_network, initialise_encoder, load_version, parse_architecture
from napari_medseg.networks.pretrained import (
    adapt_input_channels,
    describe_encoder_weights,
    list_published_weights,
    load_encoder_state,
)

BUNDLED = Path(napari_medseg.__file__).parent / "models"
SHARED_WEIGHTS = Path(__file__).parents[3] / "shared/weights"

Start = Callable[[str, str, int], nn.Module]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Build a network from its name, start its encoder from a source, and return it."""

    def started(text: str, source: str, in_channels: int) -> nn.Module:
        torch.manual_seed(0)
        architecture = parse_architecture(text, in_channels, 2)
        network = build_network(architecture)
        initialise_encoder(network, architecture, source, tmp_path, ModelRegistry(tmp_path / "registry", BUNDLED))
        return network.eval()

    return started


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache of a machine that has no network: an empty folder."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put_in_cache(cache: Path, repository: str, revision: str, weights: dict[str, Tensor]) -> None:
    folder = cache / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(revision)
    (folder / "snapshots" / revision).mkdir(parents=True)
    save_file(weights, folder / "snapshots" / revision / "model.safetensors")


def encoder_state(network: nn.Module) -> dict[str, Tensor]:
    return network.get_submodule("encoder").state_dict()


@pytest.mark.parametrize("given", [1, 3])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 7])
def test_a_grey_plane_in_all_channels_gets_the_same_answer(given: int, channels: int) -> None:
    torch.manual_seed(0)
    kernels, plane = torch.randn(8, given, 3, 3), torch.randn(1, 1, 9, 9)
    fitted = adapt_input_channels(kernels, channels)
    assert fitted.shape == (8, channels, 3, 3)
    answers = [nn.functional.conv2d(plane.expand(-1, k.shape[1], -1, -1), k) for k in (kernels, fitted)]
    torch.testing.assert_close(answers[0], answers[1], atol=1e-5, rtol=1e-5)


def test_more_channels_take_the_colours_in_turn() -> None:
    kernels = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
    assert adapt_input_channels(kernels, 1).flatten().tolist() == [6.0]
    assert adapt_input_channels(kernels, 2).flatten().tolist() == [3.0, 3.0]
    assert adapt_input_channels(kernels, 3).flatten().tolist() == [1.0, 2.0, 3.0]
    assert adapt_input_channels(kernels, 5).flatten().tolist() == [0.5, 1.0, 3.0, 0.5, 1.0]


@pytest.mark.parametrize(
    "text",
    [
        "unet:resnet18",
        "unet:densenet121",
        "unet:mit_b0",
        "unet:mobileone_s0",
        "unet:xception",
        "segnet:vgg11",
        "unet:tu-convnext_atto",
    ],
)
@pytest.mark.parametrize("channels", [1, 4])
def test_encoders_of_all_kinds_are_fitted_in_their_first_layer(text: str, channels: int) -> None:
    torch.manual_seed(0)
    rgb, other = (build_network(parse_architecture(text, given, 2)).eval() for given in (3, channels))
    load_encoder_state(other, encoder_state(rgb), parse_architecture(text, 3, 2).encoder)
    plane = torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        answers = [
            network.get_submodule("encoder")(plane.expand(-1, n, -1, -1))[-1]
            for network, n in ((rgb, 3), (other, channels))
        ]
    torch.testing.assert_close(answers[0], answers[1], atol=1e-4 * float(answers[0].abs().max()), rtol=1e-3)


def test_imagenet_weights_come_from_the_hubs_cache(start: Start, hub_cache: Path) -> None:
    settings = smp.encoders.encoders["resnet18"]["pretrained_settings"]["imagenet"]
    classifier = {"fc.weight": torch.zeros(10, 512), "fc.bias": torch.zeros(10)}
    taught = smp.encoders.get_encoder("resnet18", weights=None).state_dict()
    put_in_cache(hub_cache, settings["repo_id"], settings["revision"], taught | classifier)
    for text in ("unet:resnet18", "pspnet:resnet18", "deeplabv3plus:resnet18"):
        found = encoder_state(start(text, "imagenet", 1))
        assert torch.equal(found["layer2.1.conv2.weight"], taught["layer2.1.conv2.weight"])
        torch.testing.assert_close(found["conv1.weight"], taught["conv1.weight"].sum(1, keepdim=True))


@pytest.mark.parametrize(("text", "encoder"), [("segnet:vgg11_bn", "vgg11_bn"), ("fcn:resnet50", "resnet50")])
def test_own_networks_take_the_weights_of_smps_encoders(text: str, encoder: str, start: Start, hub_cache: Path) -> None:
    settings = smp.encoders.encoders[encoder]["pretrained_settings"]["imagenet"]
    taught = smp.encoders.get_encoder(encoder, weights=None).state_dict()
    put_in_cache(hub_cache, settings["repo_id"], settings["revision"], taught)
    found = encoder_state(start(text, "imagenet", 3))
    assert found.keys() == taught.keys()
    assert all(torch.equal(tensor, taught[name]) for name, tensor in found.items())


@pytest.mark.parametrize("text", ["unet:tu-xception41", "deeplabv3plus:tu-xception41", "dpt:tu-vit_tiny_patch16_224"])
def test_timms_weights_come_as_safetensors_too(text: str, start: Start, hub_cache: Path) -> None:
    name = text.partition(":tu-")[2]
    taught = timm.create_model(name, pretrained=False)
    nn.init.constant_(taught.get_parameter(f"{taught.pretrained_cfg['first_conv']}.weight"), 0.25)
    repository = timm.models.get_pretrained_cfg(name).hf_hub_id
    put_in_cache(hub_cache, repository, "0" * 40, taught.state_dict())
    kernels = next(tensor for tensor in encoder_state(start(text, "imagenet", 1)).values() if tensor.ndim == 4)
    assert kernels.shape[1] == 1
    torch.testing.assert_close(kernels, torch.full_like(kernels, 0.75))


@pytest.mark.parametrize("encoder", ["resnet18", "tu-xception41"])
def test_weights_that_cannot_be_had_are_an_error_that_says_what_to_do(
    encoder: str, start: Start, hub_cache: Path
) -> None:
    with pytest.raises(MedSegError) as caught:
        start(f"unet:{encoder}", "imagenet", 1)
    for part in (encoder, "Hugging Face", "model.safetensors", "safetensors file", "lungs-unet@4", '"none"'):
        assert part in str(caught.value)
    assert not any(path.is_file() for path in hub_cache.rglob("*"))


def test_only_the_pickle_of_a_repository_is_not_enough(start: Start, hub_cache: Path) -> None:
    repository = timm.models.get_pretrained_cfg("xception41").hf_hub_id
    put_in_cache(hub_cache, repository, "0" * 40, {"a": torch.zeros(1)})
    snapshot = hub_cache / f"models--{repository.replace('/', '--')}" / "snapshots" / ("0" * 40)
    (snapshot / "model.safetensors").unlink()
    torch.save(timm.create_model("xception41", pretrained=False).state_dict(), snapshot / "pytorch_model.bin")
    with pytest.raises(MedSegError, match="cannot get the weights of tu-xception41"):
        start("unet:tu-xception41", "imagenet", 3)


def test_the_encoder_of_a_version_can_be_the_start(start: Start) -> None:
    taught = encoder_state(load_version(BUNDLED / "lungs-unet" / "4")[0])
    grey, rgb = (encoder_state(start("fpn:mobilenet_v2", "lungs-unet@4", n)) for n in (1, 3))
    assert all(torch.equal(tensor, taught[name]) for name, tensor in grey.items())
    torch.testing.assert_close(rgb["features.0.0.weight"].sum(1, keepdim=True), taught["features.0.0.weight"])


@pytest.mark.parametrize(
    ("text", "source", "named"),
    [
        ("unet:resnet18", "lungs-unet@4", "is mobilenet_v2, that of this network is resnet18"),
        ("unet:resnet18", "lungs-unet@99", "lungs-unet@4"),
        ("fcn", "lungs-unet@4", "that of this network is resnet50"),
        ("conv_unet", "imagenet", 'conv_unet has no weights "imagenet"'),
        ("unet:dpn68b", "imagenet", r"imagenet\+5k"),
        ("unet:resnet18", "gone.safetensors", "there is no file"),
        ("unet:resnet18", "", "no start weights are given for unet"),
    ],
)
def test_a_start_that_cannot_be_is_named(text: str, source: str, named: str, start: Start) -> None:
    with pytest.raises(MedSegError, match=named):
        start(text, source, 1)


def test_random_numbers_stay_where_they_are_asked_for(start: Start) -> None:
    torch.manual_seed(0)
    fresh = build_network(Architecture(name="unet", encoder="resnet18", in_channels=1, classes=2))
    found = start("unet:resnet18", "none", 1)
    assert all(torch.equal(tensor, fresh.state_dict()[name]) for name, tensor in found.state_dict().items())


def test_a_file_is_found_in_the_folder_of_weights_and_anywhere(start: Start, tmp_path: Path) -> None:
    taught = smp.encoders.get_encoder("resnet18", weights=None).state_dict()
    (tmp_path / "elsewhere").mkdir()
    save_file(taught, tmp_path / "elsewhere" / "mine.safetensors")
    for source in ("elsewhere/mine.safetensors", str(tmp_path / "elsewhere" / "mine.safetensors")):
        assert torch.equal(encoder_state(start("unet:resnet18", source, 3))["conv1.weight"], taught["conv1.weight"])


def test_a_file_of_another_encoder_is_refused(start: Start, tmp_path: Path) -> None:
    save_file(smp.encoders.get_encoder("resnet34", weights=None).state_dict(), tmp_path / "resnet34.safetensors")
    with pytest.raises(MedSegError, match=r"resnet34\.safetensors do not fit ResNetEncoder"):
        start("unet:resnet18", "resnet34.safetensors", 1)


@pytest.mark.shared
@pytest.mark.skipif(not SHARED_WEIGHTS.exists(), reason="needs ../shared/weights")
@pytest.mark.parametrize("text", ["unet:mobilenet_v2", "deeplabv3:mobilenet_v2", "deeplabv3plus:mobilenet_v2"])
def test_real_imagenet_weights_from_a_file(text: str, start: Start) -> None:
    source = str(SHARED_WEIGHTS / "mobilenet_v2_imagenet.safetensors")
    taught, random = (start(text, name, 4).get_submodule("encoder") for name in (source, "none"))
    rgb = build_network(parse_architecture("unet:mobilenet_v2", 3, 2)).eval()
    load_encoder_state(rgb, encoder_state(start("unet:mobilenet_v2", source, 3)), "rgb")
    plane = torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        shallow = [net(plane.expand(-1, n, -1, -1))[2] for net, n in ((taught, 4), (rgb.get_submodule("encoder"), 3))]
        torch.testing.assert_close(shallow[0], shallow[1], atol=1e-3, rtol=1e-3)
        assert not torch.allclose(random(plane.expand(-1, 4, -1, -1))[2], shallow[0], atol=1e-3)


@pytest.mark.parametrize(
    ("text", "best"),
    [
        ("unet:resnet18", ["imagenet"]),
        ("segnet", ["imagenet"]),
        ("unet:dpn92", ["imagenet+5k"]),
        ("unet:resnext101_32x48d", ["instagram"]),
        ("deeplabv3plus:tu-xception65", ["imagenet"]),
        ("conv_unet", []),
    ],
)
def test_the_best_published_weights_are_known_without_a_network(text: str, best: list[str]) -> None:
    assert list_published_weights(parse_architecture(text, 1, 2))[:1] == best
    assert list_published_weights(Architecture(name="ensemble", encoder="", in_channels=1, classes=2)) == []


def test_a_start_is_described_for_cards(tmp_path: Path) -> None:
    architecture = Architecture(name="segnet", encoder="", in_channels=1, classes=2)
    (tmp_path / "mine.safetensors").write_bytes(b"weights")
    assert describe_encoder_weights(architecture, "imagenet", tmp_path) == "imagenet (vgg16_bn)"
    assert describe_encoder_weights(architecture, "lungs-unet@4", tmp_path) == "lungs-unet@4"
    said = describe_encoder_weights(architecture, "mine.safetensors", tmp_path)
    assert said == f"file mine.safetensors (sha256 {hashlib.sha256(b'weights').hexdigest()})"
