import sys
from pathlib import Path

import pytest
from torch import Tensor, nn

from napari_medseg.networks import build_network, parse_architecture
from napari_medseg.networks.step_profile import StepCost, StepSettings
from napari_medseg.networks.summary import LayerRow, list_layers, summarise_network


def test_one_convolution_is_counted_as_by_hand() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1))
    whole, layer = list_layers(network, 3, 16, 1)
    parameters, multiply_adds = 8 * 3 * 3 * 3 + 8, 16 * 16 * 8 * 3 * 3 * 3
    assert layer == LayerRow("0", "Conv2d", (8, 16, 16), parameters, multiply_adds)
    assert whole == LayerRow("", "Sequential", (8, 16, 16), parameters, multiply_adds)
    assert (whole.depth, layer.depth) == (0, 1)


def test_strides_groups_and_transposed_convolutions_are_counted_as_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False),
        nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False),
        nn.BatchNorm2d(4),
        nn.ConvTranspose2d(4, 2, 2, stride=2, bias=False),
    )
    rows = list_layers(network, 2, 32, 1)[1:]
    assert [row.n_multiply_adds for row in rows] == [
        16 * 16 * 4 * 2 * 9,
        16 * 16 * 4 * 9,
        0,
        16 * 16 * 4 * 2 * 4,
    ]
    assert [row.n_parameters for row in rows] == [72, 36, 8, 32]
    assert rows[-1].output_shape == (2, 32, 32)


def test_parts_that_are_never_called_count_what_they_contain() -> None:
    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.both = nn.ModuleList(nn.Conv2d(1, 1, 3, padding=1, bias=False) for _ in range(2))

        def forward(self, planes: Tensor) -> list[Tensor]:
            return [self.both[0](planes), self.both[1](self.both[0](planes))]

    rows = {row.path: row for row in list_layers(Holder(), 1, 8, 2)}
    assert rows["both"].output_shape is None
    assert rows["both"].n_multiply_adds == rows[""].n_multiply_adds == 3 * 64 * 9, "the first is called twice"
    assert rows["both.0"].n_multiply_adds == 2 * 64 * 9
    assert rows[""].output_shape == (1, 8, 8)


@pytest.mark.parametrize("text", ["segnet:vgg11_bn", "fcn", "inception_unet", "segformer:mit_b0", "unet:mobilenet_v2"])
def test_the_parts_of_a_network_add_up_to_the_whole(text: str) -> None:
    network = build_network(parse_architecture(text, 3, 2)).train()
    whole, *parts = list_layers(network, 3, 64, 1)
    assert {part.depth for part in parts} == {1}
    assert sum(part.n_parameters for part in parts) == whole.n_parameters
    assert sum(part.n_multiply_adds for part in parts) == whole.n_multiply_adds > 0
    assert whole.n_parameters == sum(parameter.numel() for parameter in network.parameters())
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())


def test_a_summary_holds_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cost = StepCost(seconds=0.25, peak_bytes=7_000_000)
    python = tmp_path / "python"  # `test_step_profile` measures a real step
    python.write_text(f"#!/bin/sh\necho '{cost.model_dump_json()}'\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    architecture = parse_architecture("conv_unet", 1, 2).model_copy(update={"options": {"widths": [4, 8]}})
    size = StepSettings(side_px=64)
    found = summarise_network(build_network(architecture), architecture, size, 2)
    assert found.rows[0].kind == "ConvUNet"
    assert {"encoder", "encoder.levels", "decoder", "head"} <= {row.path for row in found.rows}
    assert found.receptive_field.side_px == 5 + 1 + 2 * 4 + 4  # two convolutions, a pooling, two twice as wide, two
    assert found.step == cost
    assert found.step_size == size
