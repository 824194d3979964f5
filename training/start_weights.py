"""Make the version that a first model starts from, in the training process: the window has no torch to do so."""

import logging
from pathlib import Path

import torch
from torch import nn

import napari_medseg
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import CARD_FILE, Lineage, ModelCard, read_card
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.networks import build_network, initialise_encoder, load_version, save_version
from napari_medseg.networks.pretrained import (
    RANDOM,
    NoWeightsError,
    choose_pretrained_weights,
    describe_encoder_weights,
)
from training.start_plan import RANDOM_START, START_FOLDER, START_PLAN_FILE, WEIGHTS_ADVICE, StartPlan, read_start_plan

BUNDLED_MODELS = Path(napari_medseg.__file__).parent / "models"

logger = logging.getLogger(__name__)


def ensure_start_version(run_dir: Path, seed: int) -> str:
    """Write `start/` into a run folder that says by `start.json` how its first model begins, unless it is there.

    Returns
    -------
    str
        What it begins with, for people; empty where the run starts from a version that was trained before.

    Raises
    ------
    MedSegError
        If the network cannot be built, or nothing of the weights that it should begin with fits.
    """
    card_path = run_dir / START_FOLDER / CARD_FILE
    if (run_dir / START_PLAN_FILE).exists() and not card_path.exists():
        save_start_version(read_start_plan(run_dir), run_dir / START_FOLDER, seed)
    lineage = read_card(card_path).lineage if card_path.exists() else Lineage()
    return f"the model begins with {lineage.began_with}" if lineage.began_with else ""


def save_start_version(start: StartPlan, folder: Path, seed: int) -> None:
    """Build the network of a start, give it the weights that it begins with, and write it as a version."""
    torch.manual_seed(seed)
    network = build_network(start.card.architecture)
    if start.weights_from:
        donor, card = load_version(Path(start.weights_from))
        n_taken, n_all = copy_matching_tensors(network, donor)
        logger.info("%d of %d tensors are those of %s", n_taken, n_all, card.id)
        if not n_taken:
            raise MedSegError(f"nothing of {card.id} fits {start.card.architecture.name}. Choose another start.")
    elif start.encoder_weights or not start.card.lineage.began_with:
        start = start.model_copy(update={"card": _initialise_encoder(network, start, folder.parent)})
    save_version(network, start.card, folder)


def _initialise_encoder(network: nn.Module, start: StartPlan, run_dir: Path) -> ModelCard:
    """Let the encoder begin as the start says, else with what is published for it; return the card that says so."""
    card, registry = start.card, ModelRegistry(Path(start.registry or BUNDLED_MODELS), BUNDLED_MODELS)
    source = start.encoder_weights or choose_pretrained_weights(card.architecture)
    try:
        initialise_encoder(network, card.architecture, source, run_dir, registry)
    except NoWeightsError as error:
        raise MedSegError(str(error) if start.encoder_weights else f"{error} {WEIGHTS_ADVICE}") from error
    if source != RANDOM:
        began_with = describe_encoder_weights(card.architecture, source, run_dir)
    else:
        reason = "as asked for" if start.encoder_weights else "as nobody publishes any for this network"
        began_with = f"{RANDOM_START}, {reason}"
    random = [f"its training began with {began_with}"] if source == RANDOM else []
    lineage = card.lineage.model_copy(update={"began_with": began_with})
    return card.model_copy(update={"lineage": lineage, "weaknesses": [*card.weaknesses, *random]})


def copy_matching_tensors(network: nn.Module, donor: nn.Module) -> tuple[int, int]:
    """Copy each tensor of the same name and shape; return how many were, and how many there are."""
    given, wanted = donor.state_dict(), network.state_dict()
    fitting = {name: given[name] for name in wanted if name in given and given[name].shape == wanted[name].shape}
    network.load_state_dict({**wanted, **fitting})
    return len(fitting), len(wanted)
