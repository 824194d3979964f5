"""Low-rank fine-tuning: each kernel changes by a product of two thin matrices only.

Hu et al., LoRA, ICLR 2022, for convolutions and linear layers alike. Few numbers learn, so that a handful of images
cannot change everything; in the end the change is added to the kernel, and the network is an ordinary one.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

KERNEL = "weight"
LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


class LoraParametrization(nn.Module):
    """A kernel plus `up @ down`, which begins as nothing.

    Parameters
    ----------
    kernel
        Its first axis is one side of the product, all others together are the other.
    rank
        Of the product; at most the shorter side.
    generator
        Of the random half, on the CPU.
    """

    def __init__(self, kernel: Tensor, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        rows = kernel.shape[0]
        columns = kernel.numel() // rows
        rank = min(rank, rows, columns)
        self.down = nn.Parameter(torch.randn(rank, columns, generator=generator).to(kernel) * columns**-0.5)
        self.up = nn.Parameter(torch.zeros(rows, rank).to(kernel))

    def forward(self, kernel: Tensor) -> Tensor:
        """Return the changed kernel."""
        return kernel + (self.up @ self.down).view_as(kernel)


def apply_lora(network: nn.Module, rank: int, seed: int) -> None:
    """Let kernels of a network change by a low rank only; biases and normalisation, which are few, learn as ever."""
    generator = torch.Generator().manual_seed(seed)
    for layer in list(network.modules()):
        if isinstance(layer, LAYERS) and layer.weight.requires_grad:
            layer.weight.requires_grad_(False)
            parametrize.register_parametrization(layer, KERNEL, LoraParametrization(layer.weight, rank, generator))


def merge_lora(network: nn.Module) -> dict[str, Tensor]:
    """Return the weights with all changes added to their kernels, by the names that an ordinary network has."""
    kernels = {
        f"{name}.{KERNEL}": layer.weight.detach()
        for name, layer in network.named_modules()
        if parametrize.is_parametrized(layer, KERNEL)
    }
    others = {name: tensor for name, tensor in network.state_dict().items() if ".parametrizations." not in name}
    return others | kernels
