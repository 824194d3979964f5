"""Receptive field of a network: measured by gradients, not computed from its layers, so it works for any network."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from napari_medseg.networks.padding import get_alignment_px

PROBE_LENGTHS_PX = (1024, 4096)
"""Lengths of the test strips; the longer one is used only if the field covers the whole shorter one."""

SMALLEST_STRIP_PX = 32
SAFE_DILATION = 8
"""With a larger dilation, on features of 1/32 of the plane's side, a kernel can skip the end of the first strip."""

N_DRAWS = 2
CORE_SHARE = 0.95


@dataclass(frozen=True)
class ReceptiveField:
    """The receptive field of the centre of the output, along one side of the plane.

    Parameters
    ----------
    side_px
        From the first to the last pixel with a non-zero gradient.
    core_px
        Side of the central part that holds 95 % of the gradient; the effective receptive field is much smaller than the
        theoretical one (Luo et al., Understanding the effective receptive field, NeurIPS 2016).
    probe_px
        Length of the test strip.
    """

    side_px: int
    core_px: int
    probe_px: int

    @property
    def is_unbounded(self) -> bool:
        """Whether the field covers the whole strip, so that its size is unknown.

        Reasons are pooling over the whole plane, attention, or a field that is larger than the strip.
        """
        return self.side_px >= self.probe_px - 1  # with an even side, the centre has one pixel less after it


def measure_receptive_field(network: nn.Module, in_channels: int) -> ReceptiveField:
    """Measure the gradient of the centre of a network's logits with respect to the pixels of a long strip of noise.

    Weights are those that the network has, normalisations in evaluation mode; in fp64, as at the rim the gradient is a
    product of all layers' weights that fp32 would round to 0. A strip, because it is as long as a large plane and as
    quick as a small one. Several draws, because rectifiers and maxima close some paths for some pixels.

    Parameters
    ----------
    network
        Maps (n, in_channels, h, w) to logits (n, classes, h, w). It is copied, not changed.
    in_channels
        Of the planes.
    """
    twin = copy.deepcopy(network).double().eval().requires_grad_(requires_grad=False)
    twin.to(torch.device("cpu"))
    found = ReceptiveField(0, 0, 0)
    for length in PROBE_LENGTHS_PX if _find_max_dilation(twin) < SAFE_DILATION else PROBE_LENGTHS_PX[1:]:
        reach = _compute_gradient_profile(twin, in_channels, length)
        seen = torch.nonzero(reach)
        side = int(seen.max() - seen.min()) + 1 if len(seen) else 0
        found = ReceptiveField(side, _compute_core_px(reach), length)
        if not found.is_unbounded:
            break
    return found


def _compute_gradient_profile(network: nn.Module, in_channels: int, length: int) -> Tensor:
    """Return the sum of the absolute gradient of each column of the strip, float64 (length,)."""
    height = max(SMALLEST_STRIP_PX, get_alignment_px(network))
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(length, dtype=torch.float64)
    for _ in range(N_DRAWS):
        strip = torch.randn(1, in_channels, height, length, dtype=torch.float64, generator=generator).requires_grad_()
        logits = network(strip)
        (gradient,) = torch.autograd.grad(logits[0, :, height // 2, length // 2].sum(), strip)
        total += gradient[0].abs().sum(dim=(0, 1))
    return total


def _find_max_dilation(network: nn.Module) -> int:
    spread = (part.dilation for part in network.modules() if isinstance(part, nn.Conv2d))
    return max((max(dilation) for dilation in spread), default=1)


def _compute_core_px(reach: Tensor) -> int:
    """Return the side of the smallest central part that holds `CORE_SHARE` of the gradient."""
    centre = len(reach) // 2
    distance = (torch.arange(len(reach)) - centre).abs()
    within = torch.zeros(int(distance.max()) + 1, dtype=reach.dtype).index_add_(0, distance, reach).cumsum(0)
    radius = int(torch.searchsorted(within, CORE_SHARE * within[-1]))
    return 2 * radius + 1
