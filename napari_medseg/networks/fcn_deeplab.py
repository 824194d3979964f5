"""FCN and DeepLabV3 as in torchvision: a ResNet whose last two stages are dilated instead of strided, and a head."""

from collections.abc import Callable, Sequence

import torchvision
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.segmentation.deeplabv3 import DeepLabHead
from torchvision.models.segmentation.fcn import FCNHead

from napari_medseg.core.errors import MedSegError

ENCODERS: dict[str, Callable[..., nn.Module]] = {
    "resnet50": torchvision.models.resnet50,
    "resnet101": torchvision.models.resnet101,
}
N_FEATURES = 2048


class DilatedResNet(nn.Module):
    """A ResNet with output stride 8 and a head; the logits are upsampled to the size of the plane.

    Long, Shelhamer & Darrell, Fully convolutional networks, CVPR 2015 (`Fcn`); Chen et al., Rethinking atrous
    convolution, 2017 (`DeepLabV3`). Parameters are named as in torchvision, below `encoder` and `decoder`, so that
    encoder weights of torchvision and smp fit.

    Parameters
    ----------
    encoder_name
        A key of `ENCODERS`.
    in_channels
        Channels of the planes (n, in_channels, h, w), which have any size.
    decoder
        Maps features (n, 2048, h / 8, w / 8) to logits of the same size.
    """

    output_stride = 8

    def __init__(self, encoder_name: str, in_channels: int, decoder: nn.Module) -> None:
        super().__init__()
        if encoder_name not in ENCODERS:
            raise MedSegError(f"unknown encoder {encoder_name!r}; {type(self).__name__} needs one of {list(ENCODERS)}")
        resnet = ENCODERS[encoder_name](weights=None, replace_stride_with_dilation=[False, True, True])
        if in_channels != 3:
            resnet.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(resnet.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.encoder = IntermediateLayerGetter(resnet, {"layer4": "out"})
        self.decoder = decoder

    def forward(self, planes: Tensor) -> Tensor:
        """Map planes (n, in_channels, h, w) to logits (n, classes, h, w)."""
        coarse = self.decoder(self.encoder(planes)["out"])
        return functional.interpolate(coarse, planes.shape[-2:], mode="bilinear", align_corners=False)

    def encoder_features(self, planes: Tensor) -> list[Tensor]:
        """Return what smp's encoders return; `encoder` hands on the last of it only.

        Parameters
        ----------
        planes
            (n, in_channels, h, w).

        Returns
        -------
        list of Tensor
            The planes, and what each of the five stages makes of them: (n, channels, h / s, w / s), where s is 2, 4, 8,
            8 and 8, as the last two are dilated, not strided.
        """
        features, feature = [planes], planes
        for name, layer in self.encoder.items():
            feature = layer(feature)
            if name == "relu" or name.startswith("layer"):
                features.append(feature)
        return features


class Fcn(DilatedResNet):
    """A ResNet, one 3x3 convolution and a classifier."""

    def __init__(self, encoder_name: str = "resnet50", in_channels: int = 3, classes: int = 2) -> None:
        super().__init__(encoder_name, in_channels, FCNHead(N_FEATURES, classes))


class DeepLabV3(DilatedResNet):
    """A ResNet and a pyramid of dilated convolutions; `atrous_rates` are their dilations, in coarse pixels."""

    def __init__(
        self,
        encoder_name: str = "resnet50",
        in_channels: int = 3,
        classes: int = 2,
        atrous_rates: Sequence[int] = (12, 24, 36),
    ) -> None:
        super().__init__(encoder_name, in_channels, DeepLabHead(N_FEATURES, classes, tuple(atrous_rates)))
