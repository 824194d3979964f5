"""Make the version that a `StartPlan` describes, in the training process, because the window has no torch."""

import logging
import re
from pathlib import Path

import torch
from torch import Tensor, nn

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import CARD_FILE, RANDOM_WEIGHTS, ModelCard, read_card
from napari_medseg.core.model_registry import BUNDLED_MODELS, ModelRegistry
from napari_medseg.networks import build_network, initialise_encoder, load_version, save_version
from napari_medseg.networks.pretrained import NoWeightsError, describe_encoder_weights, list_published_weights
from training.run_folder import START_FOLDER, START_PLAN_FILE
from training.start_plan import (
    RANDOM_ON_REQUEST,
    WEIGHTS_ADVICE,
    StartPlan,
    StartSource,
    format_start,
    read_start_plan,
    write_start_to_card,
)

logger = logging.getLogger(__name__)

_DECODER_BLOCK = re.compile(r"(?<=^decoder\.blocks\.)[0-9]+")


def ensure_start_version(run_dir: Path, seed: int) -> str:
    """Make `start/` in a run folder that has a `start.json`, unless it already exists.

    Returns
    -------
    str
        Text about the first weights of the model; empty if the run starts from a trained version.

    Raises
    ------
    MedSegError
        As `build_start_version`, and if `start.json` cannot be read.
    """
    card_path = run_dir / START_FOLDER / CARD_FILE
    if (run_dir / START_PLAN_FILE).exists() and not card_path.exists():
        build_start_version(read_start_plan(run_dir), run_dir / START_FOLDER, seed)
    return format_start(read_card(card_path)) if card_path.exists() else ""


def build_start_version(start: StartPlan, folder: Path, seed: int) -> ModelCard:
    """Build the network of a plan, give it the weights that it starts from, and write it as a version.

    Parameters
    ----------
    start
        The plan.
    folder
        Folder of the new version; file paths in the plan are relative to its parent folder.
    seed
        Seed for all weights that the plan does not provide.

    Returns
    -------
    ModelCard
        The card of the plan, with the source of the first weights.

    Raises
    ------
    MedSegError
        If the network cannot be built, no weights of the version fit, or the encoder weights are not available.
    """
    torch.manual_seed(seed)
    network = build_network(start.card.architecture)
    if start.source is StartSource.VERSION:
        _copy_version(network, start)
        card = start.card
    else:
        card = _initialise_encoder(network, start, folder.parent)
    save_version(network, card, folder)
    return card


def copy_matching_tensors(network: nn.Module, donor: nn.Module) -> tuple[int, int]:
    """Copy each tensor of the same name and shape; return the number of copied tensors and of all tensors.

    Blocks of a decoder are counted from its end, so that a network with a shorter encoder takes those of its
    resolutions.
    """
    wanted = network.state_dict()
    given = _renumber_decoder_blocks(donor.state_dict(), wanted)
    fitting = {name: given[name] for name in wanted if name in given and given[name].shape == wanted[name].shape}
    network.load_state_dict({**wanted, **fitting})
    return len(fitting), len(wanted)


def _renumber_decoder_blocks(given: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    n_more = _count_decoder_blocks(given) - _count_decoder_blocks(wanted)
    return {_DECODER_BLOCK.sub(lambda number: str(int(number[0]) - n_more), name): given[name] for name in given}


def _count_decoder_blocks(tensors: dict[str, Tensor]) -> int:
    return len({number[0] for name in tensors if (number := _DECODER_BLOCK.search(name))})


def _copy_version(network: nn.Module, start: StartPlan) -> None:
    donor, card = load_version(Path(start.weights_from))
    n_taken, n_all = copy_matching_tensors(network, donor)
    logger.info("%d of %d tensors are those of %s", n_taken, n_all, card.id)
    if not n_taken:
        raise MedSegError(f"no weights of {card.id} fit {start.card.architecture.name}. Choose another version.")


def _initialise_encoder(network: nn.Module, start: StartPlan, run_dir: Path) -> ModelCard:
    """Load the encoder weights; return the card that states their source. The rest of the network stays random."""
    named = start.choose_published_weights(list_published_weights(start.card.architecture))
    card, source = named.card, named.encoder_weights or RANDOM_WEIGHTS
    registry = ModelRegistry(Path(start.registry or BUNDLED_MODELS), BUNDLED_MODELS)
    try:
        initialise_encoder(network, card.architecture, source, run_dir, registry)
    except NoWeightsError as error:
        raise MedSegError(str(error) if start.encoder_weights else f"{error} {WEIGHTS_ADVICE}") from error
    if source == RANDOM_WEIGHTS:
        began_with = card.lineage.began_with or RANDOM_ON_REQUEST
        if began_with != RANDOM_ON_REQUEST:
            logger.warning("the whole network begins at random: %s", began_with)
        return write_start_to_card(card, began_with)
    began_with = describe_encoder_weights(card.architecture, source, run_dir)
    donor = registry.get_card(source) if began_with == source else None  # a version is described by its name
    return write_start_to_card(card, began_with, donor)
