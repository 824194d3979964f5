"""SegNet: a decoder that unpools with the indices of the encoder's max pooling."""

import itertools

import torch
from segmentation_models_pytorch.encoders import get_encoder
from torch import Tensor, nn
from torch.nn import functional

from napari_medseg.core.errors import MedSegError

ENCODERS = tuple(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn"))

POOL = (2, 2)


class SegNet(nn.Module):
    """A VGG encoder and a mirrored decoder, connected only by the indices of max pooling.

    Badrinarayanan, Kendall & Cipolla, SegNet: a deep convolutional encoder-decoder architecture for image
    segmentation, IEEE TPAMI 2017; theirs is on `vgg16_bn`.

    Parameters
    ----------
    encoder_name
        One of `ENCODERS`.
    in_channels, classes
        Channels of the planes (n, in_channels, h, w) and of the logits (n, classes, h, w); h, w are multiples of 32.

    Raises
    ------
    MedSegError
        If the encoder is not a VGG: it would have no pooling indices.
    """

    output_stride = 32

    def __init__(self, encoder_name: str = "vgg16_bn", in_channels: int = 3, classes: int = 2) -> None:
        super().__init__()
        if encoder_name not in ENCODERS:
            raise MedSegError(f"unknown encoder {encoder_name!r}; SegNet needs one of {ENCODERS}")
        device = torch.get_default_device()
        with torch.device("meta"):  # without weights: smp draws 120 million more for a classifier, and drops them
            self.encoder = get_encoder(encoder_name, in_channels=in_channels, weights=None)
        self.encoder.to_empty(device=device)
        _initialise(self.encoder.features, in_channels)
        stages = _get_stage_widths(self.encoder.features)
        outputs = [stage[0] for stage in stages]  # a decoder stage ends with the width that the next stage needs
        above = [outputs[0], *(stage[-1] for stage in stages[:-1])]
        self.decoder = nn.ModuleList(
            _build_stage([*reversed(widths), out]) for widths, out in reversed(list(zip(stages, above, strict=True)))
        )
        self.head = nn.Conv2d(outputs[0], classes, 3, padding=1)

    def forward(self, planes: Tensor) -> Tensor:
        """Map planes (n, in_channels, h, w) to logits (n, classes, h, w)."""
        *stages, features = self.encoder(planes)  # called as a whole, so that `FeaturePool` hears it
        indices = [functional.max_pool2d_with_indices(stage, POOL, POOL)[1] for stage in stages]
        del stages  # the finest map is the largest tensor of the network
        for stage in self.decoder:
            features = stage(functional.max_unpool2d(features, indices.pop(), POOL))
        logits: Tensor = self.head(features)
        return logits


def _initialise(layers: nn.Sequential, in_channels: int) -> None:
    """Draw the weights of an encoder as torchvision does, and of a first layer that smp replaced as smp does."""
    for number, layer in enumerate(layers):
        if isinstance(layer, nn.Conv2d | nn.BatchNorm2d):
            layer.reset_parameters()
        if isinstance(layer, nn.Conv2d) and (number > 0 or in_channels == 3):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.get_parameter("bias"))


def _get_stage_widths(layers: nn.Sequential) -> list[list[int]]:
    """Return the output channels of the convolutions of each stage; a stage ends with pooling."""
    stages: list[list[int]] = [[]]
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            stages[-1].append(layer.out_channels)
        elif isinstance(layer, nn.MaxPool2d):
            stages.append([])
    return stages[:-1]


def _build_stage(widths: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        layers += [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
