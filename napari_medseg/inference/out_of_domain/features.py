"""Features of an image: mean and deviation of each channel of the encoder, taken from the pass that predicts.

Features are in two groups. Those of the fine maps show how an image was made: stain, scanner, noise. Those of the
coarse maps show what is on it. Each group alone misses foreign images that the other one finds
(`benchmarks/unlike.py`).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_medseg.networks.ensemble import Ensemble

MAX_POSITIONS = 4096
"""Means are taken over about this many positions of a feature map at most: more cost time and change little."""
FINE_STRIDE = 8
"""Largest distance of the positions of a fine feature map, in pixels of the plane."""


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
        self.n_fine = 0
        """Number of features of the fine maps, which come first; 0 before the first plane."""
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

    def add_maps(self, maps: list[Tensor], height: int) -> None:
        """Add the features of planes with this height whose maps another runtime computed; see `list_feature_maps`."""
        groups = [pool_feature_maps(group) for group in _group_maps(maps, height) if group]
        if groups:
            self.n_fine = groups[0].shape[1]
            self._pooled.append(torch.cat(groups, dim=1))

    def _add(self, encoder: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        self.add_maps(list_feature_maps(output), inputs[0].shape[-2])


def find_encoder(network: nn.Module) -> nn.Module | None:
    """Return the part of a network whose output is pooled; `None` for a network without an encoder."""
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
        mean = thinned.mean(dim=(-2, -1))
        means.append(mean)
        deviations.append((thinned - mean[..., None, None]).square_().mean(dim=(-2, -1)).sqrt())  # a third of var_mean
    return torch.cat([*means, *deviations], dim=1)


def list_feature_maps(output: object) -> list[Tensor]:
    """Return the maps (n, channels, h, w) in the output of an encoder: a list, a dictionary or one tensor."""
    values = output.values() if isinstance(output, dict) else output if isinstance(output, list | tuple) else [output]
    return [value for value in values if isinstance(value, Tensor) and value.ndim == 4 and value.numel()]


def _group_maps(maps: list[Tensor], height: int) -> tuple[list[Tensor], list[Tensor]]:
    """Return the fine and the coarse maps of planes with this height."""
    fine = [value for value in maps if value.shape[-2] * FINE_STRIDE >= height]
    return fine, [value for value in maps if value.shape[-2] * FINE_STRIDE < height]
