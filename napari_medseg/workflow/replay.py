"""The bundled sample of what the base models learnt from: replayed in each retrain, so that old skills do not rot."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, RootModel, ValidationError

from napari_medseg.core.errors import MedSegError

REPLAY_FILE = "replay.json"


class ReplayItem(BaseModel):
    """One labelled sample; paths are relative to the folder of the samples."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str
    labels: str
    group: str


class _ReplayFile(RootModel[dict[str, list[ReplayItem]]]):
    """The samples by task."""


def replay_items(samples: Path, task: str) -> list[ReplayItem]:
    """Return the samples for a task; none where the folder has none.

    Raises
    ------
    MedSegError
        If `replay.json` is damaged.
    """
    return _read(samples).get(task, [])


def replay_groups(samples: Path) -> set[str]:
    """Return the groups that the base models learnt from: they can never be held out."""
    return {item.group for items in _read(samples).values() for item in items}


def _read(samples: Path) -> dict[str, list[ReplayItem]]:
    path = samples / REPLAY_FILE
    if not path.exists():
        return {}
    try:
        return _ReplayFile.model_validate_json(path.read_text(encoding="utf-8")).root
    except (OSError, ValidationError) as error:
        raise MedSegError(f"{path} is no list of samples: {error}. Install napari-medseg again.") from error
