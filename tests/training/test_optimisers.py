import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn
from training_phantoms import small_card, small_recipe

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import Architecture
from napari_medseg.networks import build_network
from training.learner import Learner
from training.optimisers import OPTIMISERS, build_optimiser, freeze_stages

CPU = torch.device("cpu")
GENERATOR = torch.Generator().manual_seed(0)
BATCH = (torch.rand(2, 1, 64, 64, generator=GENERATOR) * 2 - 1, torch.randint(0, 3, (2, 64, 64), generator=GENERATOR))


def frozen_modules(network: nn.Module) -> set[str]:
    return {name for name, parameter in network.encoder.named_parameters() if not parameter.requires_grad}


def test_the_first_stages_of_an_encoder_are_those_that_end_at_its_feature_maps() -> None:
    network = smp.Unet("resnet18", encoder_weights=None, encoder_depth=4, decoder_channels=(16, 16, 8, 8))
    freeze_stages(network, 2)
    tops = {name.split(".")[0] for name in frozen_modules(network)}
    assert tops == {"conv1", "bn1", "layer1"}
    assert all(parameter.requires_grad for parameter in network.decoder.parameters())


@pytest.mark.parametrize("encoder", ["mobilenet_v2", "efficientnet-b0", "densenet121", "tu-resnet18"])
def test_more_frozen_stages_are_more_frozen_weights(encoder: str) -> None:
    counts = []
    for n_stages in (1, 2, 3):
        network = smp.Unet(encoder, encoder_weights=None, encoder_depth=4, decoder_channels=(16, 16, 8, 8))
        freeze_stages(network, n_stages)
        counts.append(len(frozen_modules(network)))
    assert 0 < counts[0] < counts[1] < counts[2]


@pytest.mark.parametrize(
    ("name", "frozen", "learning"),
    [("fcn", {"conv1", "bn1", "layer1"}, {"layer2", "layer3", "layer4"}), ("conv_unet", {"0", "1"}, {"2", "3", "4"})],
)
def test_encoders_that_hand_on_other_features_have_stages_too(name: str, frozen: set[str], learning: set[str]) -> None:
    network = build_network(Architecture(name=name, encoder="", in_channels=1, classes=2))
    freeze_stages(network, 2)
    blocks = {name: name.removeprefix("levels.").split(".")[0] for name, _ in network.encoder.named_parameters()}
    assert {blocks[name] for name in frozen_modules(network)} == frozen
    assert set(blocks.values()) - frozen == learning


def test_an_encoder_that_learns_nothing_measures_nothing_either() -> None:
    recipe = small_recipe(encoder_rate_factor=0.0, freeze_batch_norm=False)
    one = Learner.from_parent(build_network(small_card().architecture), recipe, CPU)
    one.step(BATCH, 0, 1.0)
    old, new = one.parent.state_dict(), one.network.state_dict()
    changed = {name.split(".")[0] for name in old if not torch.equal(old[name], new[name])}
    assert "encoder" not in changed
    assert "decoder" in changed


def test_what_is_frozen_stays_and_keeps_its_normalisation() -> None:
    torch.manual_seed(0)
    one = Learner.from_parent(build_network(small_card().architecture), small_recipe(freeze_encoder_stages=2), CPU)
    one.step(BATCH, 0, 1.0)
    frozen = frozen_modules(one.network)
    assert frozen
    old, new = one.parent.encoder.state_dict(), one.network.encoder.state_dict()
    measured = {name.rsplit(".", 1)[0] + ".running_mean" for name in frozen} & old.keys()
    assert measured
    assert all(torch.equal(old[name], new[name]) for name in frozen | measured)
    assert any(not torch.equal(old[name], new[name]) for name in old.keys() - frozen)


def test_too_many_stages_and_no_encoder_are_refused() -> None:
    with pytest.raises(MedSegError, match="has 4 stages"):
        freeze_stages(build_network(small_card().architecture), 5)
    with pytest.raises(MedSegError, match="no encoder"):
        freeze_stages(nn.Conv2d(1, 1, 1), 1)


@pytest.mark.parametrize("name", sorted(OPTIMISERS))
def test_every_optimiser_learns(name: str) -> None:
    torch.manual_seed(0)
    one = Learner.from_parent(
        build_network(small_card().architecture), small_recipe(optimiser=name, learning_rate=2e-3), CPU
    )
    losses = [one.step(BATCH, step, 1.0) for step in range(12)]
    assert losses[-1] < losses[0]


def test_an_unknown_optimiser_lists_the_choices() -> None:
    with pytest.raises(MedSegError, match="adamw"):
        build_optimiser(nn.Conv2d(1, 1, 1), small_recipe(optimiser="lion"))


def test_encoders_of_an_ensemble_learn_at_their_share_too() -> None:
    network = nn.ModuleDict({"members": nn.ModuleList([build_network(small_card().architecture) for _ in range(2)])})
    optimiser = build_optimiser(network, small_recipe(encoder_rate_factor=0.1, learning_rate=1e-2))
    rates = [(group["full_rate"], len(group["params"])) for group in optimiser.param_groups]
    n_encoder = len(list(network["members"][0].encoder.parameters()))
    assert rates[1] == (pytest.approx(1e-3), 2 * n_encoder)
