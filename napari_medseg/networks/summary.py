"""What a network is made of and what it costs: layers, parameters, multiply-adds, receptive field, one step."""

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
    """One layer, or one part with all layers in it.

    Parameters
    ----------
    path
        As in the names of its weights; empty for the whole network.
    kind
        Name of its class.
    output_shape
        (c, h, w) of what it makes of one plane, the last where it makes several; `None` where it is never called
        by itself.
    n_parameters
        That can be trained.
    n_multiply_adds
        For one plane: convolutions, matrix products and attention; normalisation, activation and pooling are not
        counted, as is usual.
    """

    path: str
    kind: str
    output_shape: tuple[int, ...] | None
    n_parameters: int
    n_multiply_adds: int

    @property
    def depth(self) -> int:
        """How deep it is nested; the network itself is 0."""
        return self.path.count(".") + 1 if self.path else 0


@dataclass(frozen=True)
class NetworkSummary:
    """All that `medseg models summary` tells; the first row is the whole network."""

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
        As built from that architecture.
    size
        Of a training step; multiply-adds are those of one of its planes.
    depth
        How deep layers are told apart.

    Raises
    ------
    MedSegError
        If a step of training is not possible.
    """
    rows = list_layers(network, architecture.in_channels, size.side_px, depth)
    reach = measure_receptive_field(network, architecture.in_channels)
    return NetworkSummary(architecture, tuple(rows), reach, size, measure_step_cost(architecture, size))


def list_layers(network: nn.Module, in_channels: int, side_px: int, depth: int) -> list[LayerRow]:
    """List the parts of a network down to a depth, in the order in which they are built; the network comes first."""
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
