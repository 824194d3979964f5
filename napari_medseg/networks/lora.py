"""Low-rank fine-tuning (LoRA): each kernel only changes by the product of two thin matrices.

Hu et al., LoRA, ICLR 2022, for convolutions and linear layers. Few parameters are trained, so that a few images cannot
change the whole network. At the end, the change is added to the kernel.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

KERNEL = "weight"
LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


class LoraParametrization(nn.Module):
    """A kernel plus `up @ down`, which is 0 at the start.

    Parameters
    ----------
    kernel
        The first axis gives the rows of the product, all other axes together give its columns.
    rank
        Rank of the product; at most the shorter side of the kernel matrix.
    generator
        Random generator, on the CPU, for the random one of the two matrices.
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
    """Restrict the changes of a network's kernels to a low rank; biases and normalisation are trained fully."""
    generator = torch.Generator().manual_seed(seed)
    for layer in list(network.modules()):
        if isinstance(layer, LAYERS) and layer.weight.requires_grad:
            layer.weight.requires_grad_(False)
            parametrize.register_parametrization(layer, KERNEL, LoraParametrization(layer.weight, rank, generator))


def merge_lora(network: nn.Module) -> dict[str, Tensor]:
    """Return the weights with the low-rank changes added to the kernels, by their names in the original network."""
    kernels = {
        f"{name}.{KERNEL}": layer.weight.detach()
        for name, layer in network.named_modules()
        if parametrize.is_parametrized(layer, KERNEL)
    }
    others = {name: tensor for name, tensor in network.state_dict().items() if ".parametrizations." not in name}
    return others | kernels
