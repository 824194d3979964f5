"""Several networks as one: what it says, and that it is a version like any other."""

from pathlib import Path

import pytest
import torch

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import Architecture, ModelCard, Preprocessing
from napari_medseg.inference.compiled_network import fuse_conv_bn
from napari_medseg.inference.predictor import Predictor
from napari_medseg.networks import build_network, load_version, save_version
from napari_medseg.networks.class_expansion import expand_classes
from napari_medseg.networks.ensemble import Ensemble, make_ensemble_architecture, merge_member_weights

MEMBER = Architecture(
    name="unet",
    encoder="mobilenet_v2",
    in_channels=1,
    classes=3,
    options={"encoder_depth": 3, "decoder_channels": [16, 16, 8]},
)
IMAGES = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))


def members() -> list[torch.nn.Module]:
    torch.manual_seed(0)
    return [build_network(MEMBER).eval() for _ in range(3)]


def card(architecture: Architecture) -> ModelCard:
    return ModelCard(
        name="lungs-unet",
        version=1,
        task="lungs",
        architecture=architecture,
        preprocessing=Preprocessing(min_side_px=64, max_side_px=64),
        precision="fp32",
    )


@torch.no_grad()
def test_its_probabilities_are_the_mean_of_the_members() -> None:
    single = members()
    together = torch.softmax(Ensemble(single)(IMAGES), dim=1)
    mean = torch.stack([torch.softmax(member(IMAGES), dim=1) for member in single]).mean(dim=0)
    torch.testing.assert_close(together, mean)
    assert not torch.allclose(together, torch.softmax(single[0](IMAGES), dim=1))


@torch.no_grad()
def test_it_is_saved_opened_fused_and_grown_as_any_version(tmp_path: Path) -> None:
    single = members()
    architecture = make_ensemble_architecture(MEMBER, 3)
    network = build_network(architecture)
    network.load_state_dict(merge_member_weights([member.state_dict() for member in single]))
    save_version(network, card(architecture), tmp_path)
    opened, read = load_version(tmp_path)
    assert read.architecture.options["n_members"] == 3
    torch.testing.assert_close(opened(IMAGES), Ensemble(single)(IMAGES), atol=2e-2, rtol=2e-2)
    torch.testing.assert_close(fuse_conv_bn(opened)(IMAGES), opened(IMAGES), atol=1e-4, rtol=1e-4)
    grown, _ = expand_classes(opened, read, 4)
    old, new = (torch.softmax(each(IMAGES), dim=1) for each in (opened, grown))
    torch.testing.assert_close(new[:, :3], old, atol=0.02, rtol=0)
    assert new.shape[1] == 4
    pixels = (torch.rand(64, 64, generator=torch.Generator().manual_seed(1)) * 255).byte().numpy()
    assert Predictor.load(tmp_path, "cpu").predict_labels(Image(pixels, "YX", units="grey")).shape == (64, 64)


@pytest.mark.parametrize("options", [{}, {"member": "unet"}, {"member": "ensemble", "n_members": 2}])
def test_options_that_say_too_little_are_refused(options: dict[str, str | int]) -> None:
    with pytest.raises(MedSegError, match="n_members"):
        build_network(MEMBER.model_copy(update={"name": "ensemble", "options": options}))


def test_an_unknown_member_and_an_ensemble_of_ensembles_are_refused() -> None:
    with pytest.raises(MedSegError, match="unknown architecture"):
        build_network(MEMBER.model_copy(update={"name": "ensemble", "options": {"member": "nonet", "n_members": 2}}))
    with pytest.raises(MedSegError, match="single network"):
        make_ensemble_architecture(make_ensemble_architecture(MEMBER, 2), 2)
