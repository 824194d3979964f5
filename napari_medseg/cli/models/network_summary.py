"""`medseg models summary`: layers and receptive field of a network, and the cost of a training step on this machine."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from napari_medseg.cli.console import echo, echo_json, make_progress_console
from napari_medseg.cli.options import DeviceOption, JsonOption, RegistryOption, open_registry
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_registry import ModelRegistry

if TYPE_CHECKING:
    from torch import nn

    from napari_medseg.core.model_card import Architecture
    from napari_medseg.networks.summary import NetworkSummary

NetworkArgument = Annotated[
    str,
    typer.Argument(help="Architecture, such as segnet or deeplabv3plus:resnet50, or version, such as lungs-unet@4."),
]
ChannelsOption = Annotated[
    int | None, typer.Option(min=1, help="Input channels.", show_default="3, or those of the version")
]
ClassesOption = Annotated[
    int | None,
    typer.Option(min=2, help="Output classes, background included.", show_default="2, or those of the version"),
]
MEGA = 1_000_000


def summary(
    name: NetworkArgument,
    channels: ChannelsOption = None,
    classes: ClassesOption = None,
    depth: Annotated[int, typer.Option(min=0, help="Depth of nested layers to list.")] = 2,
    side: Annotated[int, typer.Option(min=32, help="Side of the input images in pixels.")] = 256,
    batch: Annotated[int, typer.Option(min=2, help="Batch size of the training step.")] = 2,
    precision: Annotated[str, typer.Option(help="bf16 or fp32.")] = "bf16",
    device: DeviceOption = None,
    as_json: JsonOption = False,
    registry: RegistryOption = None,
) -> None:
    """Show the layers and cost of a network.

    Lists parameters, multiply-adds, receptive field, and the time and memory of one training step on this machine.
    """
    from napari_medseg.inference.device import choose_device, describe_device
    from napari_medseg.networks.step_profile import StepSettings
    from napari_medseg.networks.summary import summarise_network

    if precision not in ("bf16", "fp32"):
        raise MedSegError(f"unknown precision {precision!r}; choose bf16 or fp32")
    network, architecture = _load_network(name, (channels, classes), open_registry(registry))
    chosen = choose_device(device)
    size = StepSettings(batch_size=batch, side_px=side, device=str(chosen), precision=precision)
    with make_progress_console(quiet=as_json).status(f"measuring {name}"):
        found = summarise_network(network, architecture, size, depth)
    if as_json:
        echo_json(_describe_summary(found))
        return
    Console().print(_make_table(name, found))
    for line in _format_totals(found, describe_device(chosen)):
        echo(line)


def _load_network(
    name: str, planes: tuple[int | None, int | None], models: ModelRegistry
) -> "tuple[nn.Module, Architecture]":
    from napari_medseg.networks import build_network, load_version, parse_architecture

    if "@" in name:
        if planes != (None, None):
            raise MedSegError(f"{name} already defines its channels and classes. Leave --channels and --classes out.")
        network, card = load_version(models.get_folder(name))
        return network, card.architecture
    architecture = parse_architecture(name, planes[0] or 3, planes[1] or 2)
    return build_network(architecture), architecture


def _make_table(name: str, found: "NetworkSummary") -> Table:
    side, made_of = found.step_size.side_px, found.architecture
    on = f" on {made_of.encoder}" if made_of.encoder else ""
    table = Table(
        Column("layer", no_wrap=True),
        "kind",
        "output",
        Column("parameters", justify="right", no_wrap=True),
        Column("multiply-adds", justify="right", no_wrap=True),
        title=f"{name}: {made_of.name}{on}, {made_of.in_channels} x {side} x {side} to {made_of.classes} classes",
    )
    for row in found.rows[1:]:
        shape = " x ".join(map(str, row.output_shape or ()))
        layer = "  " * (row.depth - 1) + row.path.rpartition(".")[2]
        adds = f"{row.n_multiply_adds / MEGA:,.1f} M" if row.n_multiply_adds else ""
        table.add_row(layer, row.kind.lstrip("_"), shape, f"{row.n_parameters:,}" if row.n_parameters else "", adds)
    return table


def _format_totals(found: "NetworkSummary", device: str) -> list[str]:
    whole, field, size = found.rows[0], found.receptive_field, found.step_size
    reach = f"{field.side_px} px"
    if field.is_unbounded:
        reach = f"at least {field.probe_px} px (global pooling, attention, or a larger field)"
    return [
        f"parameters: {whole.n_parameters:,}",
        f"multiply-adds: {whole.n_multiply_adds / MEGA:,.0f} M for one plane of {size.side_px} x {size.side_px}",
        f"receptive field: {reach}; 95 % of the gradient comes from the middle {field.core_px} px",
        f"one training step: {found.step.seconds:.3f} s and {found.step.peak_bytes / MEGA:,.0f} MB for "
        f"{size.batch_size} planes of {size.side_px} px in {size.precision} on {device}",
    ]


def _describe_summary(found: "NetworkSummary") -> dict[str, object]:
    whole, field = found.rows[0], found.receptive_field
    return {
        "architecture": found.architecture.model_dump(mode="json"),
        "parameters": whole.n_parameters,
        "multiply_adds": whole.n_multiply_adds,
        "receptive_field_px": None if field.is_unbounded else field.side_px,
        "receptive_field_core_px": field.core_px,
        "receptive_field_probe_px": field.probe_px,
        "step": found.step_size.model_dump() | found.step.model_dump(),
        "layers": [
            {
                "path": row.path,
                "kind": row.kind,
                "output": row.output_shape,
                "parameters": row.n_parameters,
                "multiply_adds": row.n_multiply_adds,
            }
            for row in found.rows[1:]
        ],
    }
