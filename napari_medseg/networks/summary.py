"""What a network is made of and what it costs: layers, parameters, multiply-adds, receptive field, one step."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from napari_medseg.core.model_card import Architecture
from napari_medseg.networks.receptive_field import ReceptiveField, receptive_field
from napari_medseg.networks.step_profile import StepCost, StepSize, step_cost

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
class Summary:
    """All that `medseg models summary` tells; the first row is the whole network."""

    architecture: Architecture
    rows: tuple[LayerRow, ...]
    receptive_field: ReceptiveField
    step_size: StepSize
    step: StepCost


def summarise(network: nn.Module, architecture: Architecture, size: StepSize, depth: int) -> Summary:
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
    rows = layer_rows(network, architecture.in_channels, size.side_px, depth)
    reach = receptive_field(network, architecture.in_channels)
    return Summary(architecture, tuple(rows), reach, size, step_cost(architecture, size))


def layer_rows(network: nn.Module, in_channels: int, side_px: int, depth: int) -> list[LayerRow]:
    """List the parts of a network down to a depth, in the order in which they are built; the network comes first."""
    network = copy.deepcopy(network).eval()
    shapes: dict[str, tuple[int, ...]] = {}
    for path, part in network.named_modules():
        part.register_forward_hook(_note_shape(shapes, path))
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
            _flops(part, path, flops) // FLOPS_PER_MULTIPLY_ADD,
        )
        for path, part in _parts(network, "", depth)
    ]


def _parts(part: nn.Module, path: str, depth: int) -> Iterator[tuple[str, nn.Module]]:
    yield path, part
    if depth > 0:
        for name, child in part.named_children():
            if not isinstance(child, nn.Identity):
                yield from _parts(child, f"{path}.{name}".lstrip("."), depth - 1)


def _note_shape(shapes: dict[str, tuple[int, ...]], path: str) -> Any:  # noqa: ANN401 -- a hook, as torch types it
    def note(_part: nn.Module, _inputs: Any, output: Any) -> None:  # noqa: ANN401
        tensors = [tensor for tensor in _flat(output) if tensor.ndim > 1]
        if tensors:
            shapes[path] = tuple(tensors[-1].shape[1:])

    return note


def _flat(output: Any) -> Iterator[Tensor]:  # noqa: ANN401 -- whatever a layer returns
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, dict):
        yield from _flat(list(output.values()))
    elif isinstance(output, list | tuple):
        for item in output:
            yield from _flat(item)


def _flops(part: nn.Module, path: str, flops: dict[str, int]) -> int:
    """Count what is done in a part; one that is only a container counts what it contains."""
    if path in flops:
        return flops[path]
    return sum(_flops(child, f"{path}.{name}".lstrip("."), flops) for name, child in part.named_children())
