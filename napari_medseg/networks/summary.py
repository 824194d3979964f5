"""Summary of a network: layers, parameters, multiply-adds, receptive field, and the cost of one training step."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from napari_medseg.core.model_card import Architecture
from napari_medseg.networks.receptive_field import ReceptiveField, measure_receptive_field
from napari_medseg.networks.step_profile import StepCost, StepSettings, measure_step_cost

FLOPS_PER_MULTIPLY_ADD = 2


@dataclass(frozen=True)
class LayerRow:
    """One layer, or one module with all layers in it.

    Parameters
    ----------
    path
        Path as in the names of the weights; empty for the whole network.
    kind
        Class name.
    output_shape
        (c, h, w) of its output for one plane (the last one of several outputs); `None` if it is never called directly.
    n_parameters
        Number of trainable parameters.
    n_multiply_adds
        Multiply-adds for one plane: convolutions, matrix products and attention; as usual, normalisation, activation
        and pooling are not counted.
    """

    path: str
    kind: str
    output_shape: tuple[int, ...] | None
    n_parameters: int
    n_multiply_adds: int

    @property
    def depth(self) -> int:
        """Nesting depth; 0 for the network itself."""
        return self.path.count(".") + 1 if self.path else 0


@dataclass(frozen=True)
class NetworkSummary:
    """The output of `medseg models summary`; the first row is the whole network."""

    architecture: Architecture
    rows: tuple[LayerRow, ...]
    receptive_field: ReceptiveField
    step_size: StepSettings
    step: StepCost


def summarise_network(network: nn.Module, architecture: Architecture, size: StepSettings, depth: int) -> NetworkSummary:
    """Measure a network.

    Parameters
    ----------
    network, architecture
        The network, and the architecture that it was built from.
    size
        Size of a training step; multiply-adds are for one of its planes.
    depth
        Maximum nesting depth of the listed layers.

    Raises
    ------
    MedSegError
        If a training step fails.
    """
    rows = list_layers(network, architecture.in_channels, size.side_px, depth)
    reach = measure_receptive_field(network, architecture.in_channels)
    return NetworkSummary(architecture, tuple(rows), reach, size, measure_step_cost(architecture, size))


def list_layers(network: nn.Module, in_channels: int, side_px: int, depth: int) -> list[LayerRow]:
    """List the modules of a network down to a depth, in definition order; the network comes first."""
    network = copy.deepcopy(network).eval()
    shapes: dict[str, tuple[int, ...]] = {}
    for path, part in network.named_modules():
        part.register_forward_hook(_make_shape_hook(shapes, path))
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(torch.zeros(1, in_channels, side_px, side_px, device=next(network.parameters()).device))
    root = type(network).__name__
    flops = {
        name.removeprefix(root).removeprefix("."): sum(counts.values())
        for name, counts in counter.get_flop_counts().items()
        if name == root or name.startswith(f"{root}.")
    }
    return [
        LayerRow(
            path,
            type(part).__name__,
            shapes.get(path),
            sum(parameter.numel() for parameter in part.parameters() if parameter.requires_grad),
            _count_flops(part, path, flops) // FLOPS_PER_MULTIPLY_ADD,
        )
        for path, part in _iterate_parts(network, "", depth)
    ]


def _iterate_parts(part: nn.Module, path: str, depth: int) -> Iterator[tuple[str, nn.Module]]:
    yield path, part
    if depth > 0:
        for name, child in part.named_children():
            if not isinstance(child, nn.Identity):
                yield from _iterate_parts(child, f"{path}.{name}".lstrip("."), depth - 1)


def _make_shape_hook(shapes: dict[str, tuple[int, ...]], path: str) -> Any:  # noqa: ANN401 -- a hook, as torch types it
    def note(_part: nn.Module, _inputs: Any, output: Any) -> None:  # noqa: ANN401
        tensors = [tensor for tensor in _flatten_tensors(output) if tensor.ndim > 1]
        if tensors:
            shapes[path] = tuple(tensors[-1].shape[1:])

    return note


def _flatten_tensors(output: Any) -> Iterator[Tensor]:  # noqa: ANN401 -- whatever a layer returns
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, dict):
        yield from _flatten_tensors(list(output.values()))
    elif isinstance(output, list | tuple):
        for item in output:
            yield from _flatten_tensors(item)


def _count_flops(part: nn.Module, path: str, flops: dict[str, int]) -> int:
    """Count what is done in a part; one that is only a container counts what it contains."""
    if path in flops:
        return flops[path]
    return sum(_count_flops(child, f"{path}.{name}".lstrip("."), flops) for name, child in part.named_children())
