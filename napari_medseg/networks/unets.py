"""U-Nets without a borrowed encoder, of plain or of Inception blocks."""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from napari_medseg.core.errors import MedSegError

WIDTHS = (32, 64, 128, 256, 512)
LEAK = 0.1

Block = Callable[[int, int], nn.Module]


def conv_block(before: int, after: int) -> nn.Sequential:
    """Two 3x3 convolutions, each with batch normalisation and a leaky ReLU."""
    return nn.Sequential(*_unit(before, after, 3), *_unit(after, after, 3))


class InceptionBlock(nn.Module):
    """Four views of the same pixels side by side: 1x1, 3x3, 5x5 and the 3x3 maximum, a quarter of the channels each.

    Szegedy et al., Going deeper with convolutions, CVPR 2015; the wide kernels look at a 1x1 reduction there as here.

    Parameters
    ----------
    before, after
        Channels in and out; `after` divides by 4.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        if after % 4:
            raise MedSegError(f"an Inception block has four branches, but a width of {after}. Take a multiple of 4.")
        part = after // 4
        self.branches = nn.ModuleList(
            [
                nn.Sequential(*_unit(before, part, 1)),
                nn.Sequential(*_unit(before, part, 1), *_unit(part, part, 3)),
                nn.Sequential(*_unit(before, part, 1), *_unit(part, part, 5)),
                nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), *_unit(before, part, 1)),
            ]
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (n, before, h, w) to (n, after, h, w)."""
        return torch.cat([branch(features) for branch in self.branches], dim=1)


class LevelledUNet(nn.Module):
    """Levels of blocks with max pooling between them, and the way back up with skip connections.

    Ronneberger, Fischer & Brox, U-Net, MICCAI 2015, with padded convolutions and batch normalisation.

    Parameters
    ----------
    block
        Makes the layers of a level from its channels in and out.
    in_channels, classes
        Of planes (n, in_channels, h, w) and logits (n, classes, h, w); h and w divide by `output_stride`.
    widths
        Channels of each level and, last, below them: five numbers make four levels with four poolings.
    """

    def __init__(self, block: Block, in_channels: int, classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        if len(widths) < 2 or min(widths) < 1:
            raise MedSegError(f"widths {list(widths)} make no U-Net; it needs at least two, as in {list(WIDTHS)}")
        self.output_stride = 2 ** (len(widths) - 1)
        self.encoder = _Descent(block, [in_channels, *widths])
        self.decoder = _Ascent(block, widths)
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, planes: Tensor) -> Tensor:
        """Map planes (n, in_channels, h, w) to logits (n, classes, h, w)."""
        logits: Tensor = self.head(self.decoder(self.encoder(planes)))
        return logits


class ConvUNet(LevelledUNet):
    """The U-Net of convolution, batch normalisation and leaky ReLU."""

    def __init__(self, in_channels: int = 3, classes: int = 2, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__(conv_block, in_channels, classes, widths)


class InceptionUNet(LevelledUNet):
    """The same with an Inception block in the place of every block of convolutions."""

    def __init__(self, in_channels: int = 3, classes: int = 2, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__(InceptionBlock, in_channels, classes, widths)


class _Descent(nn.Module):
    def __init__(self, block: Block, widths: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(block(before, after) for before, after in itertools.pairwise(widths))
        self.pool = nn.MaxPool2d(2)

    def forward(self, planes: Tensor) -> list[Tensor]:
        features = [self.levels[0](planes)]
        for level in self.levels[1:]:
            features.append(level(self.pool(features[-1])))
        return features


class _Ascent(nn.Module):
    def __init__(self, block: Block, widths: Sequence[int]) -> None:
        super().__init__()
        steps = list(itertools.pairwise(reversed(widths)))
        self.rises = nn.ModuleList(nn.ConvTranspose2d(below, above, 2, stride=2) for below, above in steps)
        self.levels = nn.ModuleList(block(2 * above, above) for _, above in steps)

    def forward(self, features: list[Tensor]) -> Tensor:
        *skips, answer = features
        for rise, level in zip(self.rises, self.levels, strict=True):
            answer = level(torch.cat([skips.pop(), rise(answer)], dim=1))
        return answer


def _unit(before: int, after: int, kernel: int) -> list[nn.Module]:
    convolution = nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, a=LEAK, nonlinearity="leaky_relu")
    return [convolution, nn.BatchNorm2d(after), nn.LeakyReLU(LEAK, inplace=True)]
