"""A few of the images that a version learnt from, beside it: what its descendants replay, so that it forgets less.

The bundled versions replay bundled samples. A version that was trained on somebody's own folders has this list; the
images stay where they are.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, RootModel, ValidationError

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.snapshot import Role, SnapshotItem, in_turn, read_snapshot

OLDER_FILE = "older.json"
MOST_OLDER = 16


class OlderImage(BaseModel):
    """One labelled image; both paths are absolute, `labels_sha256` is that of the labels' file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    image: str
    labels: str
    group: str
    labels_sha256: str = ""

    @property
    def is_there(self) -> bool:
        """Whether neither file was moved or deleted."""
        return Path(self.image).exists() and Path(self.labels).exists()


class _OlderFile(RootModel[tuple[OlderImage, ...]]):
    """The list."""


def write_older(folder: Path, images: Sequence[OlderImage]) -> None:
    """Write the list beside a version; nothing where it is empty."""
    if images:
        text = _OlderFile(tuple(images)).model_dump_json(indent=2)
        (folder / OLDER_FILE).write_text(text + "\n", encoding="utf-8")


def read_older(folder: Path) -> tuple[OlderImage, ...]:
    """Return the list of a version's folder, empty where it has none.

    Raises
    ------
    MedSegError
        If it is damaged.
    """
    path = folder / OLDER_FILE
    if not path.exists():
        return ()
    try:
        return _OlderFile.model_validate_json(path.read_text(encoding="utf-8")).root
    except (OSError, ValidationError) as error:
        raise MedSegError(
            f"{path} is no list of images: {error}. Delete it: then nothing older is replayed."
        ) from error


def leave_older(run_dir: Path) -> None:
    """Write the list beside the run's version: of each group one image, then a second one, until there are enough.

    Partly labelled images are left out: a replayed image counts as a whole.
    """
    snapshot = read_snapshot(run_dir / "snapshot.json")
    whole = [item for item in snapshot.with_role(Role.TRAIN) if not item.is_partial]
    write_older(run_dir, [_image(item, run_dir.absolute()) for item in in_turn(whole)[:MOST_OLDER]])


def _image(item: SnapshotItem, run_dir: Path) -> OlderImage:
    return OlderImage(
        name=item.name,
        image=str(run_dir / item.image),
        labels=str(run_dir / item.labels),
        group=item.group,
        labels_sha256=item.labels_sha256,
    )


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
