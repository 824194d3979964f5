import torch
from torch import nn

from napari_medseg.core.model_card import Architecture
from napari_medseg.networks import build_network
from napari_medseg.networks.unets import ConvUNet, InceptionBlock, InceptionUNet


def test_five_widths_make_four_levels_with_four_poolings() -> None:
    network = ConvUNet(1, 2, [4, 8, 12, 16, 20]).eval()
    with torch.inference_mode():
        features = network.encoder(torch.zeros(1, 1, 64, 96))
    assert [tuple(level.shape[1:]) for level in features] == [
        (4, 64, 96),
        (8, 32, 48),
        (12, 16, 24),
        (16, 8, 12),
        (20, 4, 6),
    ]


def test_every_convolution_of_a_block_is_followed_by_normalisation_and_a_leaky_relu() -> None:
    kinds = [type(layer) for layer in ConvUNet(1, 2, [4, 8]).encoder.levels[0]]
    assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU] * 2


def test_skips_carry_every_level() -> None:
    torch.manual_seed(0)
    network = ConvUNet(1, 2, [4, 8, 16]).eval()
    features = network.encoder(torch.randn(1, 1, 32, 32))
    answer = network.decoder(list(features))
    for level in range(len(features)):
        without = [torch.zeros_like(plane) if level == index else plane for index, plane in enumerate(features)]
        assert not torch.allclose(network.decoder(without), answer)


def test_an_inception_block_looks_at_four_scales_side_by_side() -> None:
    torch.manual_seed(0)
    block = InceptionBlock(2, 8).eval()
    plane = torch.zeros(1, 2, 9, 9, requires_grad=True)
    reaches = []
    for part in range(4):
        (gradient,) = torch.autograd.grad(
            block(plane + torch.randn(1, 2, 9, 9))[0, 2 * part : 2 * part + 2, 4, 4].sum(), plane
        )
        reaches.append(int((gradient[0].abs().sum(0) > 0).any(0).sum()))
    assert reaches[:3] == [1, 3, 5]
    assert 1 <= reaches[3] <= 3, "the maximum is one pixel of nine in each channel"


def test_the_inception_unet_has_such_a_block_in_the_place_of_every_block() -> None:
    plain, inception = ConvUNet(1, 2, [4, 8, 16]), InceptionUNet(1, 2, [4, 8, 16])
    for half in ("encoder", "decoder"):
        n_blocks = len(plain.get_submodule(half).levels)
        assert [type(level) for level in inception.get_submodule(half).levels] == [InceptionBlock] * n_blocks


def test_widths_come_from_the_card() -> None:
    network = build_network(
        Architecture(name="inception_unet", in_channels=2, classes=3, options={"widths": [4, 8, 12]})
    )
    assert network.get_submodule("head").weight.shape == (3, 4, 1, 1)
