import torch

from napari_medseg.core.model_card import Architecture, ModelCard, Preprocessing
from napari_medseg.networks import build_network
from napari_medseg.networks.class_expansion import expand_classes


def test_a_grown_network_says_the_same_of_the_labels_it_knew() -> None:
    torch.manual_seed(0)
    architecture = Architecture(
        name="unet",
        encoder="mobilenet_v2",
        in_channels=1,
        classes=3,
        options={"encoder_depth": 3, "decoder_channels": [16, 16, 8]},
    )
    card = ModelCard(name="a", version=1, task="covid", architecture=architecture, preprocessing=Preprocessing())
    network = build_network(architecture).eval()
    grown, grown_card = expand_classes(network, card, 4)
    assert grown_card.architecture.classes == 4
    planes = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        before, after = network(planes), grown(planes)
    torch.testing.assert_close(after[:, :3], before)
    torch.testing.assert_close(after[:, 3], before[:, 0] - 4.0)
    assert torch.equal(after.argmax(dim=1), before.argmax(dim=1))
    assert expand_classes(network, card, 3) == (network, card)
