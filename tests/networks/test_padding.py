import copy
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional

import napari_medseg
from napari_medseg.core.model_card import Architecture, read_card
from napari_medseg.networks import build_network, load_version
from napari_medseg.networks.padding import add_input_padding

VERSIONS = sorted(path.parent for path in (Path(napari_medseg.__file__).parent / "models").glob("*/*/card.json"))


class Halving(nn.Module):
    """Takes multiples of 32 only, and tells what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def forward(self, planes: Tensor) -> Tensor:
        assert all(side % 32 == 0 for side in planes.shape[-2:])
        self.seen.append(tuple(planes.shape))
        return planes


@pytest.mark.parametrize("shape", [(33, 70), (32, 31), (1, 64), (5, 3)])
def test_planes_are_continued_and_the_answer_is_cropped(shape: tuple[int, int]) -> None:
    planes = torch.randn(2, 3, *shape)
    network = add_input_padding(Halving)()
    assert torch.equal(network(planes), planes), "a pixel stays where it is"
    assert network.seen == [(2, 3, *(-(-side // 32) * 32 for side in shape))]


def test_planes_that_fit_pass_as_they_are() -> None:
    planes = torch.randn(1, 1, 64, 96)
    assert add_input_padding(Halving)()(planes) is planes


def test_a_network_with_a_larger_patch_or_a_smallest_side_gets_it() -> None:
    network = add_input_padding(Halving, 128)()
    network(torch.zeros(1, 1, 40, 300))
    network.output_stride = 14
    network(torch.zeros(1, 1, 40, 300))
    assert network.seen == [(1, 1, 128, 320), (1, 1, 224, 448)]


def test_the_plane_is_continued_as_the_predictor_does_it() -> None:
    torch.manual_seed(0)
    network = build_network(Architecture(name="fpn", encoder="resnet18", in_channels=1, classes=2)).eval()
    plane = torch.randn(1, 1, 50, 70)
    with torch.inference_mode():
        by_hand = network(functional.pad(plane, (0, 26, 0, 14), mode="replicate"))[..., :50, :70]
        assert torch.equal(network(plane), by_hand)


def test_names_of_weights_and_class_are_those_of_smp() -> None:
    network = build_network(Architecture(name="unet", encoder="resnet18", in_channels=1, classes=2))
    plain = smp.Unet("resnet18", encoder_weights=None, in_channels=1, classes=2)
    assert list(network.state_dict()) == list(plain.state_dict())
    assert type(network).__name__ == "Unet"
    assert isinstance(network, smp.Unet)
    twin = copy.deepcopy(network).eval()
    assert twin(torch.zeros(1, 1, 40, 40)).shape == (1, 2, 40, 40)


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda path: f"{path.parent.name}@{path.name}")
def test_bundled_versions_load_and_are_the_same_function_as_smp_alone(folder: Path) -> None:
    network, card = load_version(folder)
    made_of = read_card(folder / "card.json").architecture
    plain = smp.Unet(
        made_of.encoder,
        encoder_weights=None,
        in_channels=made_of.in_channels,
        classes=made_of.classes,
        **made_of.options,
    ).eval()
    plain.load_state_dict(network.state_dict())
    plane = torch.randn(1, card.architecture.in_channels, 64, 96)
    with torch.inference_mode():
        assert torch.equal(network(plane), plain(plane))
