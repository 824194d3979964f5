"""The same network with fewer layers: a convolution swallows the batch normalisation behind it."""

import copy
import itertools

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fused(network: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode in which every Conv2d with a BatchNorm2d right behind it is one layer.

    Only pairs inside an `nn.Sequential` are fused, where the order of the layers is the order of the computation; so
    the copy is the same function (up to fp32 rounding) whatever the rest of the network does.
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
