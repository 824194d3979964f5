import pytest
import torch
from torchvision.models import segmentation

from napari_medseg.networks import build_network, parse_architecture
from napari_medseg.networks.fcn_deeplab import DeepLabV3, Fcn


@pytest.mark.parametrize(
    ("network", "reference"),
    [
        (Fcn, segmentation.fcn_resnet50),
        (DeepLabV3, segmentation.deeplabv3_resnet50),
    ],
)
def test_it_is_the_function_that_torchvision_has(network: type[Fcn], reference: object) -> None:
    theirs = reference(weights=None, weights_backbone=None, num_classes=4, aux_loss=False).eval()
    names = {"backbone.": "encoder.", "classifier.": "decoder."}
    state = {
        new + name.removeprefix(old): tensor
        for name, tensor in theirs.state_dict().items()
        for old, new in names.items()
        if name.startswith(old)
    }
    ours = network("resnet50", 3, 4).eval()
    ours.load_state_dict(state)
    planes = torch.randn(1, 3, 72, 61)
    with torch.inference_mode():
        torch.testing.assert_close(ours(planes), theirs(planes)["out"])


def test_the_weights_of_smps_encoder_have_the_same_names() -> None:
    ours = build_network(parse_architecture("fcn:resnet50", 3, 2)).get_submodule("encoder")
    theirs = build_network(parse_architecture("unet:resnet50", 3, 2)).get_submodule("encoder")
    assert {name: tensor.shape for name, tensor in ours.state_dict().items()} == {
        name: tensor.shape for name, tensor in theirs.state_dict().items()
    }
