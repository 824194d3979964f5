"""A network made ready to answer: fused, in the memory order and the precision in which the device is fastest."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_medseg.networks.fusion import fused


class Runner:
    """Its own copy of a network on a device.

    Parameters
    ----------
    network
        Maps (n, c, h, w) to logits (n, classes, h, w). It is copied, not changed.
    device
        Where it runs.
    dtype
        Of the computation, by autocast; `None` for fp32.
    """

    def __init__(self, network: nn.Module, device: torch.device, dtype: torch.dtype | None) -> None:
        self._device = device
        self._dtype = dtype
        twin = fused(network).to(device)
        twin.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._network = twin

    def logits(self, planes: NDArray[np.float32]) -> Tensor:
        """Run planes (n, c, h, w) through the network; fp32 logits (n, classes, h, w) stay on the device."""
        batch = torch.empty(planes.shape, memory_format=torch.channels_last)
        batch.numpy()[...] = planes
        with torch.inference_mode(), torch.autocast(self._device.type, self._dtype, enabled=self._dtype is not None):
            answer: Tensor = self._network(batch.to(self._device))
            return answer.float().contiguous()
