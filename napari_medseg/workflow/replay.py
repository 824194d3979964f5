"""The bundled sample of what the base models learnt from: replayed in each retrain, so that old skills do not rot."""

from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, RootModel, ValidationError

from napari_medseg.core.cards import ModelCard
from napari_medseg.core.errors import MedSegError

REPLAY_FILE = "replay.json"


class ReplayItem(BaseModel):
    """One labelled sample; paths are relative to the folder of the samples.

    `source` is a name from the training data of a card: only versions that learnt from it replay the sample, and hold
    its group out of the hold-out. Without it, all versions for the task do.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str
    labels: str
    group: str
    source: str = ""


class _ReplayFile(RootModel[dict[str, list[ReplayItem]]]):
    """The samples by task."""


def replay_items(samples: Path, base: ModelCard) -> list[ReplayItem]:
    """Return the samples that a version learnt from; none where the folder has none.

    Raises
    ------
    MedSegError
        If `replay.json` is damaged.
    """
    learnt = {"", *(source.name for source in base.training_data)}
    return [item for item in _read(samples).get(base.task, []) if item.source in learnt]


def replay_groups(samples: Path, bases: Iterable[ModelCard]) -> set[str]:
    """Return the groups of samples that these versions learnt from: they can never be held out."""
    return {item.group for base in bases for item in replay_items(samples, base)}


def _read(samples: Path) -> dict[str, list[ReplayItem]]:
    path = samples / REPLAY_FILE
    if not path.exists():
        return {}
    try:
        return _ReplayFile.model_validate_json(path.read_text(encoding="utf-8")).root
    except (OSError, ValidationError) as error:
        raise MedSegError(f"{path} is no list of samples: {error}. Install napari-medseg again.") from error
