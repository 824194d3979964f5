import pytest
import torch
from torch import nn

from napari_medseg.core.model_card import Architecture
from napari_medseg.inference.compiled_network import fuse_conv_bn
from napari_medseg.networks import build_network


def lived_in(network: nn.Module) -> nn.Module:
    """Give the normalisations statistics that are not those of a fresh network."""
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
            module.weight.data.uniform_(0.5, 1.5)
    return network


@pytest.mark.parametrize("name", ["unet", "fpn", "deeplabv3plus", "pspnet"])
@pytest.mark.parametrize("encoder", ["mobilenet_v2", "resnet18"])
def test_a_fused_network_is_the_same_function_with_fewer_layers(name: str, encoder: str) -> None:
    torch.manual_seed(0)
    network = lived_in(build_network(Architecture(name=name, encoder=encoder, in_channels=1, classes=3))).train()
    twin = fuse_conv_bn(network)
    with torch.inference_mode():
        planes = torch.randn(1, 1, 64, 64)
        wanted = network.eval()(planes)
        torch.testing.assert_close(twin(planes), wanted, atol=1e-3 * float(wanted.abs().max()), rtol=1e-3)
    n_before, n_after = (sum(type(m) is nn.BatchNorm2d for m in net.modules()) for net in (network, twin))
    assert n_after < n_before


def test_the_original_is_left_alone() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    twin = fuse_conv_bn(network)
    assert network.training
    assert not twin.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_layers_that_are_not_a_sequence_are_not_fused() -> None:
    class Crossed(nn.Sequential):
        def forward(self, plane: torch.Tensor) -> torch.Tensor:
            return self[0](self[1](plane))

    network = lived_in(Crossed(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))).eval()
    plane = torch.randn(1, 2, 4, 4)
    assert torch.equal(fuse_conv_bn(network)(plane), network(plane))
