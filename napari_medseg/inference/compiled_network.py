"""A network prepared for inference: fused layers, and the fastest memory order and precision of the device."""

import copy
import itertools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class CompiledNetwork:
    """A copy of a network on a device, for inference.

    Parameters
    ----------
    network
        Maps (n, c, h, w) to logits (n, classes, h, w). It is copied, not changed.
    device
        Device of the computation.
    dtype
        Type of the computation with autocast; `None` for fp32.
    """

    def __init__(self, network: nn.Module, device: torch.device, dtype: torch.dtype | None) -> None:
        self._device = device
        self._dtype = dtype
        twin = fuse_conv_bn(network).to(device)
        twin.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._network = twin

    def compute_logits(self, planes: NDArray[np.float32]) -> Tensor:
        """Run planes through the network.

        Parameters
        ----------
        planes
            float32 (n, c, h, w) in the computer's memory.

        Returns
        -------
        Tensor
            float32 logits (n, classes, h, w) on the network's device.

        Raises
        ------
        torch.OutOfMemoryError
            Where the device has too little memory; `device.is_out_of_memory` knows the other ways to say so.
        """
        batch = torch.empty(planes.shape, memory_format=torch.channels_last)
        batch.numpy()[...] = planes
        with torch.inference_mode(), torch.autocast(self._device.type, self._dtype, enabled=self._dtype is not None):
            answer: Tensor = self._network(batch.to(self._device))
            return answer.float().contiguous()


def fuse_conv_bn(network: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode in which each Conv2d followed by a BatchNorm2d is fused to one layer.

    Only pairs inside an `nn.Sequential` are fused, because there the layers are computed in order. So the copy computes
    the same function (up to fp32 rounding).
    """
    twin = copy.deepcopy(network).eval()
    for module in list(twin.modules()):
        if type(module).forward is nn.Sequential.forward:
            _fuse_pairs(module)
    return twin


def _fuse_pairs(sequence: nn.Module) -> None:
    layers = list(sequence.named_children())
    for (name, layer), (next_name, next_layer) in itertools.pairwise(layers):
        if type(layer) is nn.Conv2d and type(next_layer) is nn.BatchNorm2d and next_layer.track_running_stats:
            setattr(sequence, name, fuse_conv_bn_eval(layer, next_layer))
            setattr(sequence, next_name, nn.Identity())
