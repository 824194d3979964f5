"""U-Nets without a pretrained encoder, with convolution blocks or Inception blocks."""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from napari_medseg.core.errors import MedSegError

DEFAULT_WIDTHS = (32, 64, 128, 256, 512)
LEAKY_SLOPE = 0.1

BlockBuilder = Callable[[int, int], nn.Module]


def build_conv_block(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return two 3x3 convolutions, each with batch normalisation and a leaky ReLU.

    They map (n, in_channels, h, w) to (n, out_channels, h, w).
    """
    return nn.Sequential(
        *_build_conv_unit(in_channels, out_channels, 3), *_build_conv_unit(out_channels, out_channels, 3)
    )


class InceptionBlock(nn.Module):
    """Four parallel branches with a quarter of the channels each: 1x1, 3x3 and 5x5 convolution, and 3x3 max pooling.

    Szegedy et al., Going deeper with convolutions, CVPR 2015, including the 1x1 reductions before the wide kernels.

    Parameters
    ----------
    in_channels, out_channels
        Channels in and out; `out_channels` divides by 4.

    Raises
    ------
    MedSegError
        If it does not.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        if out_channels % 4:
            raise MedSegError(
                f"an Inception block has four branches, but a width of {out_channels}. Choose a multiple of 4."
            )
        part = out_channels // 4
        self.branches = nn.ModuleList(
            [
                nn.Sequential(*_build_conv_unit(in_channels, part, 1)),
                nn.Sequential(*_build_conv_unit(in_channels, part, 1), *_build_conv_unit(part, part, 3)),
                nn.Sequential(*_build_conv_unit(in_channels, part, 1), *_build_conv_unit(part, part, 5)),
                nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), *_build_conv_unit(in_channels, part, 1)),
            ]
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (n, in_channels, h, w) to (n, out_channels, h, w)."""
        return torch.cat([branch(features) for branch in self.branches], dim=1)


class BaseUNet(nn.Module):
    """A U-Net: an encoder of blocks with max pooling, and a decoder with skip connections.

    Ronneberger, Fischer & Brox, U-Net, MICCAI 2015, with padded convolutions and batch normalisation.

    Parameters
    ----------
    block
        Builds the layers of a level from its input and output channels.
    in_channels, classes
        Channels of the planes (n, in_channels, h, w) and of the logits (n, classes, h, w); h and w are multiples of
        `output_stride`.
    widths
        Channels of each level and, last, below them: five numbers make four levels with four poolings.

    Raises
    ------
    MedSegError
        If `widths` are fewer than two, or not positive.
    """

    def __init__(self, block: BlockBuilder, in_channels: int, classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        if len(widths) < 2 or min(widths) < 1:
            raise MedSegError(
                f"widths {list(widths)} make no U-Net; it needs at least two numbers, as {list(DEFAULT_WIDTHS)}"
            )
        self.output_stride = 2 ** (len(widths) - 1)
        self.encoder = _UNetEncoder(block, [in_channels, *widths])
        self.decoder = _UNetDecoder(block, widths)
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, planes: Tensor) -> Tensor:
        """Map planes (n, in_channels, h, w) to logits (n, classes, h, w)."""
        logits: Tensor = self.head(self.decoder(self.encoder(planes)))
        return logits


class ConvUNet(BaseUNet):
    """A U-Net of convolutions, batch normalisation and leaky ReLU."""

    def __init__(self, in_channels: int = 3, classes: int = 2, widths: Sequence[int] = DEFAULT_WIDTHS) -> None:
        super().__init__(build_conv_block, in_channels, classes, widths)


class InceptionUNet(BaseUNet):
    """A U-Net with an Inception block instead of every convolution block."""

    def __init__(self, in_channels: int = 3, classes: int = 2, widths: Sequence[int] = DEFAULT_WIDTHS) -> None:
        super().__init__(InceptionBlock, in_channels, classes, widths)


class _UNetEncoder(nn.Module):
    def __init__(self, block: BlockBuilder, widths: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(block(before, after) for before, after in itertools.pairwise(widths))
        self.pool = nn.MaxPool2d(2)

    def forward(self, planes: Tensor) -> list[Tensor]:
        features = [self.levels[0](planes)]
        for level in self.levels[1:]:
            features.append(level(self.pool(features[-1])))
        return features


class _UNetDecoder(nn.Module):
    def __init__(self, block: BlockBuilder, widths: Sequence[int]) -> None:
        super().__init__()
        steps = list(itertools.pairwise(reversed(widths)))
        self.rises = nn.ModuleList(nn.ConvTranspose2d(below, above, 2, stride=2) for below, above in steps)
        self.levels = nn.ModuleList(block(2 * above, above) for _, above in steps)

    def forward(self, features: list[Tensor]) -> Tensor:
        *skips, answer = features
        for rise, level in zip(self.rises, self.levels, strict=True):
            answer = level(torch.cat([skips.pop(), rise(answer)], dim=1))
        return answer


def _build_conv_unit(in_channels: int, out_channels: int, kernel: int) -> list[nn.Module]:
    convolution = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, a=LEAKY_SLOPE, nonlinearity="leaky_relu")
    return [convolution, nn.BatchNorm2d(out_channels), nn.LeakyReLU(LEAKY_SLOPE, inplace=True)]
