import pytest
import torch

from napari_medseg.core.cards import Architecture
from napari_medseg.core.errors import MedSegError
from napari_medseg.networks import ARCHITECTURES, build


def test_every_smp_architecture_is_listed() -> None:
    assert {"unet", "unetplusplus", "fpn", "pspnet", "deeplabv3plus", "segformer"} <= set(ARCHITECTURES)


def test_a_built_network_maps_channels_to_classes_on_the_same_plane() -> None:
    options = {"decoder_channels": [32, 16, 16, 8, 8]}
    network = build(Architecture(name="unet", encoder="mobilenet_v2", in_channels=1, classes=3, options=options))
    with torch.inference_mode():
        assert network.eval()(torch.zeros(2, 1, 64, 96)).shape == (2, 3, 64, 96)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"name": "no-net"}, "unet"),
        ({"encoder": "mobilenet_v9"}, "mobilenet_v2"),
        ({"options": {"wheels": 4}}, "wheels"),
        ({"options": {"decoder_channels": [8]}}, "decoder_channels"),
    ],
)
def test_an_unknown_word_is_answered_with_the_choices(fields: dict[str, object], named: str) -> None:
    values = {"name": "unet", "encoder": "mobilenet_v2", "in_channels": 1, "classes": 3} | fields
    with pytest.raises(MedSegError, match=named):
        build(Architecture.model_validate(values))
