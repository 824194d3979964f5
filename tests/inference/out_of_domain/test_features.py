"""Features of an image: taken from the pass that predicts, for every kind of network."""

import numpy as np
import pytest
import torch

from napari_medseg.core.model_card import Architecture
from napari_medseg.inference.compiled_network import CompiledNetwork
from napari_medseg.inference.out_of_domain.features import FeaturePool, pool_feature_maps
from napari_medseg.networks import build_network
from napari_medseg.networks.ensemble import make_ensemble_architecture

CPU = torch.device("cpu")
UNET = Architecture(name="conv_unet", in_channels=1, classes=2, options={"widths": [8, 8, 8, 8, 8, 8]})


def compute_features(architecture: Architecture, planes: np.ndarray) -> np.ndarray:
    torch.manual_seed(0)
    network = CompiledNetwork(build_network(architecture).eval(), CPU, None, with_features=True)
    network.compute_logits(planes)
    return network.take_features()


def test_features_are_the_mean_and_the_deviation_of_every_channel() -> None:
    maps = [torch.arange(8.0).reshape(1, 2, 2, 2), torch.ones(1, 1, 4, 4)]
    pooled = pool_feature_maps(maps)[0].tolist()
    assert pooled == pytest.approx([1.5, 5.5, 1.0, 1.25**0.5, 1.25**0.5, 0.0])


@pytest.mark.parametrize(
    "architecture",
    [
        UNET,
        make_ensemble_architecture(UNET, 2),
        Architecture(name="unet", encoder="mobilenet_v2", in_channels=1, classes=2),
        Architecture(name="fcn", encoder="resnet50", in_channels=1, classes=2),
        Architecture(name="segnet", encoder="vgg11", in_channels=1, classes=2),
    ],
    ids=["unet", "ensemble", "smp", "torchvision", "segnet"],
)
def test_each_plane_has_the_same_features_alone_and_in_a_batch(architecture: Architecture) -> None:
    planes = np.random.default_rng(0).normal(size=(2, 1, 64, 64)).astype(np.float32)
    together, alone = compute_features(architecture, planes), compute_features(architecture, planes[1:])
    assert together.shape[0] == 2
    assert together.shape[1] > 10
    np.testing.assert_allclose(together[1:], alone, rtol=1e-3, atol=1e-4)


def test_fine_maps_come_first() -> None:
    pool = FeaturePool(network := build_network(UNET).eval())
    with torch.no_grad():
        network(torch.zeros(1, 1, 64, 64))
    assert pool.n_fine == 2 * 4 * 8, "strides 1, 2, 4 and 8"
    assert pool.take().shape == (1, 2 * 6 * 8)
    assert pool.take().shape == (0, 0), "taken once"
