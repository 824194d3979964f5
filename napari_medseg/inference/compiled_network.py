"""A network prepared for inference: fused layers, and the fastest memory order and precision of the device."""

import copy
import itertools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_medseg.core.errors import get_reason, is_out_of_memory
from napari_medseg.inference.device import CPU, can_fall_back, free_cached_memory
from napari_medseg.inference.out_of_domain.features import FeaturePool, find_encoder
from napari_medseg.networks.precision import choose_autocast_dtype, choose_memory_format

FAILURES = (RuntimeError, MemoryError, TypeError, AssertionError)
"""What torch raises where a device fails; see `core.errors.is_gpu_failure`."""


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
    with_features
        Whether `take_features` is used.

    Attributes
    ----------
    pool
        Collects the features; `None` if they are not used, or the network has no encoder.
    dtype
        As given.
    """

    def __init__(
        self, network: nn.Module, device: torch.device, dtype: torch.dtype | None, with_features: bool = False
    ) -> None:
        self._device = device
        self.dtype = dtype
        twin = fuse_conv_bn(network).to(device)
        self._memory_format = choose_memory_format(device)
        twin.to(memory_format=self._memory_format)  # type: ignore[call-overload]
        self._network = twin
        self.pool = FeaturePool(twin) if with_features and find_encoder(twin) is not None else None

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
            Where the device has too little memory; `core.errors.is_out_of_memory` knows the other ways to say so.
        """
        is_cuda = self._device.type == "cuda"  # from pinned memory it copies while it still computes the batch before
        batch = torch.empty(planes.shape, memory_format=self._memory_format, pin_memory=is_cuda)
        batch.numpy()[...] = planes
        with torch.inference_mode(), torch.autocast(self._device.type, self.dtype, enabled=self.dtype is not None):
            answer: Tensor = self._network(batch.to(self._device, non_blocking=is_cuda))
            return answer.float().contiguous()

    def take_features(self) -> NDArray[np.float32]:
        """Return the features (n, features) of the planes and tiles since the last call; see `FeaturePool`."""
        return np.zeros((0, 0), np.float32) if self.pool is None else self.pool.take()


def compile_network(
    network: nn.Module, device: torch.device, precision: str, with_features: bool = False
) -> tuple[CompiledNetwork, str]:
    """Return a copy of a network on a device and an empty text; if a GPU fails, the copy on the CPU and the reason.

    Parameters
    ----------
    network, device
        As in `CompiledNetwork`.
    precision
        That of the model card.
    with_features
        As in `CompiledNetwork`.
    """
    try:
        return CompiledNetwork(network, device, choose_autocast_dtype(device, precision), with_features), ""
    except FAILURES as error:
        if not can_fall_back(error, device):
            raise
        reason = "its memory is too small for the model" if is_out_of_memory(error) else get_reason(error)
    free_cached_memory(device)  # here, because the error references the tensors
    return CompiledNetwork(network, CPU, choose_autocast_dtype(CPU, precision), with_features), reason


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
