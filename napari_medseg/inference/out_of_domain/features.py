"""Features of an image: mean and deviation of each channel of the encoder, taken from the pass that predicts.

Only the finer feature maps are used. They show how an image was made: modality, stain, scanner, noise. The deepest maps
have far more channels, and told foreign images apart less well (`benchmarks/unlike.py`).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_medseg.networks.ensemble import Ensemble

MAX_POSITIONS = 4096
"""Means are taken over about this many positions of a feature map at most: more cost time and change little."""
MAX_STRIDE = 8
"""Feature maps that are coarser than this, in pixels of the plane, are left out."""


class FeaturePool:
    """Collects the pooled features of everything that passes through a network.

    It listens to the encoder, so that no second pass is needed. With many encoders the first map is the plane itself.

    Parameters
    ----------
    network
        The network that predicts; of an ensemble the first member is used. See `find_encoder`.

    Raises
    ------
    ValueError
        If the network has no encoder.
    """

    def __init__(self, network: nn.Module) -> None:
        encoder = find_encoder(network)
        if encoder is None:
            raise ValueError(f"{type(network).__name__} has no encoder")
        self._pooled: list[Tensor] = []
        self._handle = encoder.register_forward_hook(self._add)

    def take(self) -> NDArray[np.float32]:
        """Return the features of the planes and tiles since the last call, float32 (n, features)."""
        taken, self._pooled = self._pooled, []
        if not taken:
            return np.zeros((0, 0), np.float32)
        return torch.cat(taken).cpu().numpy()

    def close(self) -> None:
        """Stop listening."""
        self._handle.remove()

    def _add(self, encoder: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        if maps := _list_fine_maps(output, inputs[0].shape[-2]):
            self._pooled.append(pool_feature_maps(maps))


def find_encoder(network: nn.Module) -> nn.Module | None:
    """Return the part of a network whose output is pooled; `None` for networks that do not call their encoder."""
    if isinstance(network, Ensemble):
        return find_encoder(network.members[0])
    encoder = getattr(network, "encoder", None)
    return encoder if isinstance(encoder, nn.Module) else None


def pool_feature_maps(maps: list[Tensor]) -> Tensor:
    """Return the mean and the standard deviation of every channel.

    Parameters
    ----------
    maps
        (n, channels, h, w) each, of any number of channels and any size.

    Returns
    -------
    Tensor
        float32 (n, 2 * all channels): the means of all maps, then the deviations.
    """
    means, deviations = [], []
    for one in maps:
        step = max(1, int((one.shape[-2] * one.shape[-1] / MAX_POSITIONS) ** 0.5))
        thinned = one[..., ::step, ::step].float()
        variance, mean = torch.var_mean(thinned, dim=(-2, -1), correction=0)
        means.append(mean)
        deviations.append(variance.sqrt())
    return torch.cat([*means, *deviations], dim=1)


def _list_fine_maps(output: object, height: int) -> list[Tensor]:
    """Return the maps in the output of an encoder (a list, a dictionary or a tensor) of planes with this height."""
    values = output.values() if isinstance(output, dict) else output if isinstance(output, list | tuple) else [output]
    maps = [value for value in values if isinstance(value, Tensor) and value.ndim == 4 and value.numel()]
    return [value for value in maps if value.shape[-2] * MAX_STRIDE >= height] or maps
