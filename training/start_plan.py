"""How the first model of a task begins, as data: which network, with whose weights, learnt how. No torch here."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from napari_medseg.core.custom_task import count_input_channels
from napari_medseg.core.json_model import read_json_model
from napari_medseg.core.model_card import Architecture, InstanceSeparation, Lineage, ModelCard, Preprocessing
from napari_medseg.core.tasks import TASKS, Task
from training.recipe import Recipe, make_fine_tuning_recipe

START_PLAN_FILE = "start.json"
START_FOLDER = "start"
RANDOM_START = "random weights"
WEIGHTS_ADVICE = (
    'In the file of --recipe that is: weights = "file.safetensors", or weights = "none" to begin at random on purpose.'
)
DEFAULT_INSTANCES = InstanceSeparation(levels=[0.0, 0.3, 0.6], marker_depth=0.6, smoothing_px=1.0, min_area_px=30)
_SMALL_UNET = Architecture(
    name="unet",
    encoder="mobilenet_v2",
    in_channels=1,
    classes=2,
    options={"decoder_channels": [128, 64, 48, 32, 16]},
)


class StartPlan(BaseModel):
    """The version that a first model starts from, before there is one: its card, and whose weights it takes.

    `weights_from` is the folder of a version; every tensor of it that fits is taken, in practice all but the last
    layer. Empty: the encoder begins with `encoder_weights`, a source that `networks.initialise_encoder` knows (versions
    are those of the folder `registry`), or with what is published for it; unless the card says that it begins
    otherwise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    card: ModelCard
    weights_from: str = ""
    encoder_weights: str = ""
    registry: str = ""


def make_start_plan(task: Task, name: str, donors: Sequence[tuple[ModelCard, Path]]) -> StartPlan:
    """Choose the best start there is for a task without a model.

    Parameters
    ----------
    task
        What is to be learnt.
    name
        Of the model family.
    donors
        Versions with their folders. The one whose images are most like those of the task lends its network and its
        weights, among those with as many channels; without any, a small U-Net with random weights begins.
    """
    fitting = [donor for donor in donors if donor[0].architecture.in_channels == count_input_channels(task)]
    donor, folder = max(fitting, key=lambda donor: _score_similarity(donor[0], task), default=(None, None))
    network = _SMALL_UNET if donor is None else donor.architecture
    instances = DEFAULT_INSTANCES if task.instances else None
    classes = len(DEFAULT_INSTANCES.levels) + 1 if task.instances else task.n_classes
    card = ModelCard(
        name=name,
        version=1,
        task=task.name,
        own_task=None if task.name in TASKS else task,
        architecture=network.model_copy(update={"in_channels": count_input_channels(task), "classes": classes}),
        preprocessing=Preprocessing() if donor is None else donor.preprocessing,
        instances=instances,
        precision="bf16" if donor is None else donor.precision,
        weaknesses=[] if donor is not None else [f"its training began with {RANDOM_START}, as no model fitted"],
        lineage=Lineage(began_with=f"{RANDOM_START}, as no model fitted" if donor is None else donor.id),
        licence="" if donor is None else f"began with weights of {donor.id}: {donor.licence or 'not stated'}",
    )
    return StartPlan(card=card, weights_from="" if folder is None else str(folder.absolute()))


def make_first_model_recipe(task: Task, name: str, version: int, budget_s: float | None, seed: int = 0) -> Recipe:
    """Return the recipe for a handful of cases: that of retraining, but nothing older to replay or to stay close to."""
    changes = {
        "learning_rate": 2e-3,
        "augmentation": task.augmentation,
        "replay_augmentation": task.replay_augmentation,
        "replay_share": 0.0,
        "distillation": 0.0,
        "average_with_parent": 0.0,
        "freeze_batch_norm": False,  # other images than the donor's: 8 larynx frames, 40 steps, Dice 0.64 against 0.33
    }
    return make_fine_tuning_recipe(START_FOLDER, name, version, budget_s, seed).model_copy(update=changes)


def write_start_plan(start: StartPlan, run_dir: Path) -> None:
    """Write `start.json` into a run folder."""
    (run_dir / START_PLAN_FILE).write_text(start.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_start_plan(run_dir: Path) -> StartPlan:
    """Read `start.json`; raise `MedSegError` naming every unknown or wrong key."""
    complaint = "does not say how a first model begins"
    return read_json_model(run_dir / START_PLAN_FILE, StartPlan, complaint, "Make the run again.")


def _score_similarity(donor: ModelCard, task: Task) -> tuple[int, int, int]:
    """How much a version's images are like those of a task; of one family the newest version comes first."""
    made_for = donor.own_task or TASKS.get(donor.task)
    if made_for is None:
        return 0, 0, donor.version
    shared = len({*made_for.modalities} & {*task.modalities}) + len({*made_for.looks} & {*task.looks})
    order = list(TASKS).index(made_for.name) if made_for.name in TASKS else len(TASKS)
    return shared + int(made_for.instances == task.instances), -order, donor.version
