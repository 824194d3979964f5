import pytest
import torch
from torch import Tensor, nn

from napari_medseg.networks import build_network, parse_architecture
from napari_medseg.networks.receptive_field import PROBE_LENGTHS_PX, measure_receptive_field


def conv(kernel: int = 3, dilation: int = 1, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(1, 1, kernel, padding=dilation * (kernel // 2), dilation=dilation, stride=stride)


class WithMeanOfAll(nn.Module):
    def forward(self, planes: Tensor) -> Tensor:
        return planes + planes.mean(dim=(2, 3), keepdim=True)


@pytest.mark.parametrize(
    ("layers", "side_px"),
    [
        ([conv(1)], 1),
        ([conv()], 3),
        ([conv(), conv()], 5),
        ([conv(5), conv()], 7),
        ([conv(dilation=4)], 9),
        ([conv(stride=2), nn.Upsample(scale_factor=2, mode="nearest")], 3),
        ([conv(), nn.AvgPool2d(2), conv(), nn.Upsample(scale_factor=2, mode="nearest")], 8),  # 3, then 4, then + 2 x 2
    ],
)
def test_fields_that_are_known_by_hand(layers: list[nn.Module], side_px: int) -> None:
    torch.manual_seed(0)
    field = measure_receptive_field(nn.Sequential(*layers), 1)
    assert field.side_px == side_px
    assert field.core_px <= side_px + 1
    assert not field.is_unbounded


def test_the_u_net_of_two_convolutions_a_level_sees_188_px() -> None:
    """The figure known of the original, which has as many convolutions and poolings."""
    torch.manual_seed(0)
    field = measure_receptive_field(build_network(parse_architecture("conv_unet", 1, 2)), 1)
    assert field.side_px == 188
    assert field.core_px < 188


def test_what_pools_over_the_plane_sees_everything() -> None:
    field = measure_receptive_field(nn.Sequential(conv(), WithMeanOfAll()), 1)
    assert field.is_unbounded
    assert field.probe_px == PROBE_LENGTHS_PX[-1]
    assert field.side_px == PROBE_LENGTHS_PX[-1]


def test_a_field_larger_than_the_first_strip_is_still_measured() -> None:
    torch.manual_seed(0)
    field = measure_receptive_field(nn.Sequential(conv(dilation=600), conv()), 1)
    assert field.side_px == 1203
    assert not field.is_unbounded


def test_the_network_is_left_as_it_was() -> None:
    network = nn.Sequential(conv(), nn.BatchNorm2d(1)).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    measure_receptive_field(network, 1)
    assert network.training
    assert all(p.requires_grad and p.dtype is torch.float32 for p in network.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
