"""What a model on somebody's own images begins with: no network begins at random unnoticed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.core.tasks import Task
from napari_medseg.networks.pretrained import RANDOM, NoWeightsError, choose_pretrained_weights
from training.from_folders.base_model import make_run
from training.from_folders.base_recipe import ModelRecipe
from training.from_folders.default_recipe import DataStats, Donor, RecipeOverrides, make_default_start_plan
from training.start_plan import RANDOM_START, WEIGHTS_ADVICE


@dataclass(frozen=True)
class InitialWeights:
    """The card to start with, the version whose weights it takes where they fit, or what its encoder begins with."""

    card: ModelCard
    weights_from: str
    encoder_weights: str


def choose_initial_weights(
    task: Task, name: str, donors: Sequence[Donor], sizes: DataStats, changes: RecipeOverrides
) -> InitialWeights:
    """Choose as `make_default_start_plan` does; without a version that fits, the published weights of the network's
    encoder.

    Only where nobody publishes any are the weights random without being asked for, and the card says so.
    """
    start = make_default_start_plan(task, name, donors, sizes, changes)
    if start.weights_from or changes.weights:
        return InitialWeights(start.card, start.weights_from, changes.weights)
    network = start.card.architecture
    weights, card = choose_pretrained_weights(network), start.card
    if weights == RANDOM:
        reason = f"as nobody publishes weights for {network.name} {network.encoder}".rstrip()
        lineage = card.lineage.model_copy(update={"began_with": f"{RANDOM_START}, {reason}"})
        card = card.model_copy(update={"lineage": lineage})
    return InitialWeights(card, "", weights)


def make_folder_run(
    base: ModelRecipe, changes: RecipeOverrides, run_dir: Path, registry: ModelRegistry | None
) -> ModelRecipe:
    """Fill a run folder as `base_model.make_run` does, and return the recipe with the card that the run starts with.

    Raises
    ------
    MedSegError
        As `make_run`; where weights that nobody asked for cannot be had, it says how to begin otherwise.
    """
    here = Path().absolute()
    try:
        card = make_run(base, here, here, run_dir, registry)
    except NoWeightsError as error:
        raise MedSegError(str(error) if changes.weights else f"{error} {WEIGHTS_ADVICE}") from error
    return base.model_copy(update={"card": card})
