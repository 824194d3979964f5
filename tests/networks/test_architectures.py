import pytest
import torch
from torch import nn

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import Architecture, ModelCard, Preprocessing
from napari_medseg.networks import ARCHITECTURES, build_network, parse_architecture
from napari_medseg.networks.architectures import SHORT_MOBILENET, get_default_encoder
from napari_medseg.networks.class_expansion import expand_classes

REFERENCES = {
    "A": ["pspnet:resnet101"],
    "B": ["deeplabv3plus:resnet50"],
    "C": [
        "unet:resnet34",
        "segnet:vgg16_bn",
        "deeplabv3:mobilenet_v2",
        "deeplabv3:tu-xception65",
        "deeplabv3:tu-xception71",
    ],
    "D": [
        "deeplabv3plus:resnet101",
        "deeplabv3plus:tu-xception65",
        "deeplabv3plus:tu-xception41",
        "deeplabv3plus:tu-xception71",
        "fcn:resnet50",
        "fcn:resnet101",
        "deeplabv3_tv:resnet50",
        "deeplabv3_tv:resnet101",
    ],
    "E": ["conv_unet", "inception_unet"],
}
SMALLEST_ENCODERS = {"segformer": "mit_b0", "dpt": "tu-vit_tiny_patch16_224"}


def step(text: str, in_channels: int, side: int = 64) -> nn.Module:
    """Build a network of two classes, learn from two planes once, and return it."""
    torch.manual_seed(0)
    network = build_network(parse_architecture(text, in_channels, 2)).train()
    logits = network(torch.randn(2, in_channels, side, side))
    assert logits.shape == (2, 2, side, side)
    nn.functional.cross_entropy(logits, torch.randint(2, (2, side, side))).backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)
    return network


def test_the_short_mobilenet_is_the_long_one_without_the_layers_that_nothing_reads() -> None:
    options = {"encoder_depth": 4, "decoder_channels": [16, 16, 8, 8]}
    long, short = (
        build_network(Architecture(name="unet", encoder=name, in_channels=1, classes=2, options=options)).eval()
        for name in ("mobilenet_v2", SHORT_MOBILENET)
    )
    kept = {name: long.state_dict()[name] for name in short.state_dict()}
    short.load_state_dict(kept)
    plane = torch.randn(1, 1, 48, 80)
    assert torch.equal(short(plane), long(plane))
    assert sum(map(torch.numel, kept.values())) < 0.3 * sum(map(torch.numel, long.state_dict().values()))
    short.train()(torch.randn(2, 1, 32, 32)).sum().backward()
    assert all(parameter.grad is not None for parameter in short.parameters()), "each weight is used"
    with pytest.raises(MedSegError, match="mobilenet_v2_short has a depth of at most 4, not 5: set encoder_depth to 4"):
        build_network(parse_architecture(f"unet:{SHORT_MOBILENET}", 1, 2))


def test_every_smp_architecture_is_listed() -> None:
    assert {"unet", "unetplusplus", "fpn", "pspnet", "deeplabv3plus", "segformer"} <= set(ARCHITECTURES)


@pytest.mark.parametrize("text", [text for system in REFERENCES.values() for text in system])
def test_every_network_of_the_reference_systems_learns(text: str) -> None:
    network = step(text, in_channels=1)
    idle = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    if text.startswith("pspnet"):  # smp's looks at the encoder's first three halvings
        assert {name.split(".")[1] for name in idle} == {"layer3", "layer4"}
    else:
        assert not idle


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_every_architecture_takes_planes_of_any_size_and_number_of_channels(name: str) -> None:
    own = {"segnet": "vgg11_bn", "fcn": "resnet50", "deeplabv3_tv": "resnet50", "conv_unet": "", "inception_unet": ""}
    encoder = (own | SMALLEST_ENCODERS).get(name, "resnet18")
    options = {"member": "unet", "n_members": 2} if name == "ensemble" else {}
    network = build_network(Architecture(name=name, encoder=encoder, in_channels=4, classes=3, options=options)).eval()
    with torch.inference_mode():
        for height, width in ((45, 70), (32, 33)):
            assert network(torch.zeros(1, 4, height, width)).shape == (1, 3, height, width)


def test_timm_transformers_are_free_of_the_size_that_they_were_trained_at() -> None:
    network = build_network(parse_architecture("unet:tu-swin_tiny_patch4_window7_224", 1, 2)).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 1, 70, 100)).shape == (1, 2, 70, 100)


def test_a_built_network_maps_channels_to_classes_on_the_same_plane() -> None:
    options = {"decoder_channels": [32, 16, 16, 8, 8]}
    network = build_network(
        Architecture(name="unet", encoder="mobilenet_v2", in_channels=1, classes=3, options=options)
    )
    with torch.inference_mode():
        assert network.eval()(torch.zeros(2, 1, 64, 96)).shape == (2, 3, 64, 96)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"name": "no-net"}, "unet"),
        ({"encoder": "mobilenet_v9"}, "mobilenet_v2"),
        ({"options": {"wheels": 4}}, "wheels"),
        ({"options": {"decoder_channels": [8]}}, "decoder_channels"),
        ({"name": "deeplabv3plus", "encoder": "xception"}, "tu-xception65"),
        ({"name": "segnet", "encoder": "resnet18"}, "vgg16_bn"),
        ({"name": "fcn", "encoder": "resnet18"}, "resnet101"),
        ({"name": "conv_unet", "encoder": "resnet18"}, "no encoder to choose"),
        ({"name": "conv_unet", "encoder": "", "options": {"wheels": 4}}, "widths"),
        ({"name": "conv_unet", "encoder": "", "options": {"widths": [8]}}, "at least two"),
        ({"name": "inception_unet", "encoder": "", "options": {"widths": [8, 10]}}, "multiple of 4"),
        ({"name": "conv_unet", "encoder": "", "options": {"widths": 3.5}}, "cannot build conv_unet with options"),
        ({"name": "conv_unet", "encoder": "", "options": {"widths": "ab"}}, "Correct the architecture"),
        ({"name": "conv_unet", "encoder": "", "options": {"widths": [8, 2**70]}}, "Correct the architecture"),
    ],
)
def test_an_unknown_word_is_answered_with_the_choices(fields: dict[str, object], named: str) -> None:
    values = {"name": "unet", "encoder": "mobilenet_v2", "in_channels": 1, "classes": 3} | fields
    with pytest.raises(MedSegError, match=named):
        build_network(Architecture.model_validate(values))


def test_an_empty_encoder_is_the_networks_own_default() -> None:
    unet = Architecture(name="unet", encoder="", in_channels=1, classes=2)
    named = unet.model_copy(update={"encoder": get_default_encoder("unet")})
    assert build_network(unet).state_dict().keys() == build_network(named).state_dict().keys()


def test_a_network_is_named_by_architecture_and_encoder() -> None:
    assert parse_architecture("unet:tu-convnext_atto", 4, 2).encoder == "tu-convnext_atto"
    assert parse_architecture("segnet", 3, 2).encoder == "vgg16_bn"
    assert parse_architecture("conv_unet", 1, 2) == Architecture(name="conv_unet", in_channels=1, classes=2)
    with pytest.raises(MedSegError, match="inception_unet"):
        parse_architecture("vnet:resnet18", 1, 2)


@pytest.mark.parametrize(("name", "encoder"), [("segnet", "vgg16_bn"), ("fcn", "resnet50")])
def test_own_networks_have_a_default_encoder(name: str, encoder: str) -> None:
    without, named = (
        build_network(Architecture(name=name, encoder=text, in_channels=1, classes=2)).state_dict()
        for text in ("", encoder)
    )
    assert {key: tensor.shape for key, tensor in without.items()} == {key: t.shape for key, t in named.items()}


@pytest.mark.parametrize("text", ["segnet:vgg11_bn", "fcn", "deeplabv3_tv", "conv_unet", "inception_unet"])
def test_own_networks_can_grow_by_a_class(text: str) -> None:
    torch.manual_seed(0)
    architecture = parse_architecture(text, 1, 2)
    card = ModelCard(name="a", version=1, task="covid", architecture=architecture, preprocessing=Preprocessing())
    network = build_network(architecture).eval()
    grown, _ = expand_classes(network, card, 3)
    plane = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(grown(plane)[:, :2], network(plane))
