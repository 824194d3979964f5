"""Input padding: networks halve planes several times; padding lets them accept planes of any size."""

import math
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

ALIGNMENT_PX = 32
"""The predictor pads to the same multiple: most networks halve a plane five times."""


def add_input_padding(network: type[nn.Module], min_side_px: int = 1) -> type[nn.Module]:
    """Return a class of the same name, arguments and weights that takes planes (n, c, h, w) of any h and w.

    A plane is continued to the right and below by its last pixels, as `inference.preprocess.prepare` does, and the
    answer is cropped again; planes that fit already pass untouched. A class, not a module around the network, so that
    the names of the weights in saved versions stay what they are.

    Parameters
    ----------
    network
        Class of the network.
    min_side_px
        Shortest side that the network accepts.
    """
    base: Any = network

    class PaddedNetwork(base):  # type: ignore[misc]
        def forward(self, planes: Tensor) -> Tensor:
            height, width = planes.shape[-2:]
            alignment = get_alignment_px(self)
            down, right = (-(-max(side, min_side_px) // alignment) * alignment - side for side in (height, width))
            if down == right == 0:
                answer: Tensor = super().forward(planes)
                return answer
            answer = super().forward(functional.pad(planes, (0, right, 0, down), mode="replicate"))
            return answer[..., :height, :width]

    PaddedNetwork.__name__ = PaddedNetwork.__qualname__ = network.__name__
    return PaddedNetwork


def get_alignment_px(network: nn.Module) -> int:
    """Return the number of which plane sides must be multiples to need no padding: 32, or more with large patches."""
    strides = [getattr(part, "output_stride", 1) for part in (network, getattr(network, "encoder", None))]
    return math.lcm(ALIGNMENT_PX, *(int(stride) for stride in strides))
