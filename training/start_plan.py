"""What a network starts from, decided as data. No torch here: `training.start_builder` makes the version of a plan.

Training never silently starts from random weights. It uses a matching model, else ImageNet encoder weights, else it
asks you to choose:

- The live version of the task, or a version named by the user, continues training. It needs no plan.
- A new network takes the weights of a version with the same network: the version with the most similar images.
- Encoder weights can be named: published weights, a file, the weights of a version, or random weights on request.
- Otherwise published weights are used, normally from ImageNet. If they are not available, the error lists the choices.

Random weights are used if no weights are published for the network, if no version fits the first model of a project's
task, or if a recipe of a base model names no weights. The run's events and the card give the reason.
"""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

from napari_medseg.core.errors import MedSegError, look_up
from napari_medseg.core.json_model import read_json_model
from napari_medseg.core.model_card import (
    CARD_FILE,
    RANDOM_WEIGHTS,
    WEIGHT_SOURCES_TEXT,
    Lineage,
    ModelCard,
    read_card,
)
from napari_medseg.core.model_registry import BUNDLED_MODELS, ModelRegistry
from napari_medseg.core.tasks.bundled_tasks import TASKS, Task
from napari_medseg.core.tasks.custom_task import count_input_channels
from training.from_folders.default_recipe import (
    NO_OVERRIDES,
    RecipeOverrides,
    make_first_card,
)
from training.run_folder import START_PLAN_FILE

Donor = tuple[ModelCard, Path]
"""A version whose weights a new network can take, and its folder."""
RANDOM_START = "random weights"
RANDOM_ON_REQUEST = f"{RANDOM_START}, as asked for"
RANDOM_AS_NO_MODEL_FITS = f"{RANDOM_START}, as no model fitted"
RANDOM_AS_NOTHING_IS_NAMED = f"{RANDOM_START}, as the recipe names neither parent nor encoder_weights"
WEIGHTS_ADVICE = (
    'In the --recipe file write: weights = "file.safetensors", or weights = "none" to begin at random on purpose.'
)


class StartSource(StrEnum):
    """Source of the first weights of a new network."""

    VERSION = "a version"
    NAMED = "encoder weights that are named"
    PUBLISHED = "published encoder weights"
    RANDOM = RANDOM_START


class StartPlan(BaseModel):
    """Plan of the version that a run starts from: its card and the source of its weights.

    `weights_from` is the folder of a version; all matching tensors are copied, in practice all but the last layer. If
    it is empty, the encoder starts from `encoder_weights`, a source for `networks.initialise_encoder` (versions are
    looked up in the folder `registry`). If both are empty, published encoder weights are used, unless the card states
    that the model began with random weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    card: ModelCard
    weights_from: str = ""
    encoder_weights: str = ""
    registry: str = ""

    @property
    def source(self) -> StartSource:
        """Source of the weights."""
        if self.weights_from:
            return StartSource.VERSION
        if self.encoder_weights not in ("", RANDOM_WEIGHTS):
            return StartSource.NAMED
        is_random = self.encoder_weights == RANDOM_WEIGHTS or self.card.lineage.began_with
        return StartSource.RANDOM if is_random else StartSource.PUBLISHED

    def choose_published_weights(self, published: Sequence[str]) -> Self:
        """Return the plan with the first of the published weights; unchanged if it needs no published weights.

        Parameters
        ----------
        published
            Names of the published weights of the encoder, best first. If there are none, the weights are random.
        """
        if self.source is not StartSource.PUBLISHED:
            return self
        if published:
            return self.model_copy(update={"encoder_weights": published[0]})
        network = self.card.architecture
        reason = f"as nobody publishes weights for {network.name} {network.encoder}".rstrip()
        return self.model_copy(update={"card": write_start_to_card(self.card, f"{RANDOM_START}, {reason}")})


def write_start_to_card(card: ModelCard, began_with: str, donor: ModelCard | None = None) -> ModelCard:
    """Return a card that states the source of its first weights.

    Parameters
    ----------
    card
        Card of the new network.
    began_with
        A version, ``imagenet (resnet18)``, a file, or random weights with the reason. Random weights are also added to
        the weaknesses.
    donor
        The version whose weights are copied, if any. Its licence is added if the card has none.
    """
    weakness = f"its training began with {began_with}"
    adds_weakness = began_with.startswith(RANDOM_START) and weakness not in card.weaknesses
    licence = "" if donor is None else f"began with weights of {donor.id}: {donor.licence or 'not stated'}"
    changes = {
        "lineage": card.lineage.model_copy(update={"began_with": began_with}),
        "weaknesses": [*card.weaknesses, weakness] if adds_weakness else card.weaknesses,
        "licence": card.licence or licence,
    }
    return card.model_copy(update=changes)


def format_start(card: ModelCard) -> str:
    """Return the text for a run's events about the first weights; empty if a version continues training."""
    return f"the model begins with {card.lineage.began_with}" if card.lineage.began_with else ""


def list_donors(registry: ModelRegistry) -> list[Donor]:
    """List the versions of a registry whose weights a new network can take."""
    return [(card, registry.get_folder(card.id)) for card in registry.list_versions()]


def plan_first_model(
    task: Task, name: str, donors: Sequence[Donor], overrides: RecipeOverrides = NO_OVERRIDES
) -> StartPlan:
    """Choose the best start for a network that does not continue a version.

    Parameters
    ----------
    task
        The task to learn.
    name
        Name of the model family.
    donors
        Versions with their folders. Of those with the same number of channels and the requested network, the version
        with the images most similar to the task's provides network and weights.
    overrides
        The user's settings of network, preprocessing, postprocessing and weights.

    Raises
    ------
    MedSegError
        If the overrides are invalid, or name a missing file of weights.
    """
    channels = count_input_channels(task)
    fitting = [
        donor
        for donor in donors
        if not overrides.weights
        and donor[0].architecture.in_channels == channels
        and overrides.matches_network(donor[0])
    ]
    best = max(fitting, key=lambda donor: _score_similarity(donor[0], task), default=None)
    if best is None:
        card = make_first_card(task, name, None, overrides)
        return StartPlan(card=card, encoder_weights=_locate_encoder_weights(overrides.weights, Path()))
    donor, folder = best
    card = write_start_to_card(make_first_card(task, name, donor, overrides), donor.id, donor)
    return StartPlan(card=card, weights_from=str(folder.absolute()))


def choose_base_version(registry: ModelRegistry, task: Task, model: str = "") -> ModelCard | None:
    """Return the version that a run of a project starts from: the named version, else the live version, if any.

    Raises
    ------
    MedSegError
        If the task has no version with this name; the text lists the choices.
    """
    if not model:
        return registry.find_live_card(task.name)
    versions = {card.id: card for card in registry.list_versions(task.name)}
    return look_up(versions, model, problem=f"there is no version {model!r} of the task {task.name!r}")


def plan_project_run(
    registry: ModelRegistry, task: Task, base: ModelCard | None, overrides: RecipeOverrides
) -> StartPlan | None:
    """Choose what a run of a project starts from; `None` if the base itself continues training.

    Parameters
    ----------
    registry
        Registry of the versions whose weights can be used.
    task
        The task to learn.
    base
        The result of `choose_base_version`. If the overrides request another network, preprocessing or postprocessing,
        a new version is planned. It takes the weights of the base if the base has the requested network.
    overrides
        As in `plan_first_model`; settings that they do not name stay as in the base.

    Raises
    ------
    MedSegError
        As `plan_first_model`.
    """
    name = task.default_model if base is None else base.name
    donors = list_donors(registry)
    usual = None if base is not None else plan_first_model(task, name, donors)
    if usual is not None and usual.source is not StartSource.VERSION:
        usual = usual.model_copy(update={"card": write_start_to_card(usual.card, RANDOM_AS_NO_MODEL_FITS)})
    before = base if usual is None else usual.card
    if before is None or not overrides.makes_other_version(before):
        return usual
    overrides = overrides.complete(before)
    same = [donor for donor in donors if base and donor[0].id == base.id and overrides.matches_network(base)]
    start = plan_first_model(task, name, same or donors, overrides)
    card = start.card.model_copy(update={"field": before.field})
    return start.model_copy(update={"card": card, "registry": str(registry.user_dir.absolute())})


def plan_base_model(
    card: ModelCard, *, parent: str, weights_from: str, encoder_weights: str, weights_dir: Path
) -> StartPlan:
    """Return the start that the recipe of a base model names; random weights if it names none.

    Parameters
    ----------
    card
        Card in the recipe.
    parent, weights_from, encoder_weights
        As in `ModelRecipe`. `weights_from` takes precedence over `parent`, and `parent` over `encoder_weights`.
    weights_dir
        Folder of encoder weight files and other versions.

    Raises
    ------
    MedSegError
        If neither the program nor `weights_dir` has the version.
    """
    lineage = Lineage(parent=parent or None, began_with=card.lineage.began_with)
    card = card.model_copy(update={"lineage": lineage})
    if weights_from:
        folder = _find_version(weights_from, weights_dir) if "@" in Path(weights_from).name else Path(weights_from)
        began_with = lineage.began_with or read_card(folder / CARD_FILE).id
        card = card.model_copy(update={"lineage": lineage.model_copy(update={"began_with": began_with})})
        return StartPlan(card=card, weights_from=str(folder))
    if parent:
        return StartPlan(card=card, weights_from=str(_find_version(parent, weights_dir)))
    if not encoder_weights and not lineage.began_with:
        card = write_start_to_card(card, RANDOM_AS_NOTHING_IS_NAMED)
    source = _locate_encoder_weights(encoder_weights, weights_dir)
    return StartPlan(card=card, encoder_weights=source, registry=str(weights_dir.absolute()))


def _find_version(wanted: str, weights_dir: Path) -> Path:
    name, version = wanted.split("@")  # one that has left the program is looked for in `weights_dir`
    for folder in (root / name / version for root in (BUNDLED_MODELS, weights_dir)):
        if (folder / CARD_FILE).exists():
            return folder
    raise MedSegError(
        f"the recipe goes on from {wanted}, which this program does not bring. Put its folder at {name}/{version} in "
        f"{weights_dir} (the program's history has it), or start from another version with --start FOLDER."
    )


def write_start_plan(start: StartPlan, run_dir: Path) -> None:
    """Write `start.json` into a run folder."""
    (run_dir / START_PLAN_FILE).write_text(start.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_start_plan(run_dir: Path) -> StartPlan:
    """Read `start.json`; raise `MedSegError` naming every unknown or wrong key."""
    complaint = "is not a valid start plan of a model"
    return read_json_model(run_dir / START_PLAN_FILE, StartPlan, complaint, "Make the run again.")


def _score_similarity(donor: ModelCard, task: Task) -> tuple[int, int, bool, int]:
    """Score how similar a version's images are to those of a task; default families and newer versions rank higher."""
    made_for = donor.own_task or TASKS.get(donor.task)
    if made_for is None:
        return 0, 0, False, donor.version
    shared = len({*made_for.modalities} & {*task.modalities}) + len({*made_for.looks} & {*task.looks})
    order = list(TASKS).index(made_for.name) if made_for.name in TASKS else len(TASKS)
    return shared + int(made_for.instances == task.instances), -order, donor.is_of_default_family, donor.version


def _locate_encoder_weights(source: str, folder: Path) -> str:
    """Return the absolute path of a weight file, because a run works in another folder; other sources unchanged."""
    path = folder / Path(source).expanduser()
    if path.suffix == ".safetensors" and not path.is_file():
        raise MedSegError(f"there is no file of encoder weights {path}. Name {WEIGHT_SOURCES_TEXT}.")
    return str(path.absolute()) if source and path.is_file() else source
