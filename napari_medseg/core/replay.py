"""Replay: older training images that later runs train on again, so that the model does not forget them.

Bundled versions replay bundled samples. A version that was trained on a user's folders has a list of images beside its
weights; the images are not copied.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, RootModel

from napari_medseg.core.atomic_io import atomic_write_text
from napari_medseg.core.json_model import read_json_model
from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.snapshot import SNAPSHOT_FILE, Role, SnapshotItem, read_snapshot, round_robin

REPLAY_IMAGES_FILE = "older.json"
MAX_REPLAY_IMAGES = 16


class ReplayImage(BaseModel):
    """One labelled image; both paths are absolute, `labels_sha256` is that of the labels' file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    image: str
    labels: str
    group: str
    labels_sha256: str = ""

    @property
    def is_available(self) -> bool:
        """Whether both files exist."""
        return Path(self.image).exists() and Path(self.labels).exists()


class _ReplayImagesFile(RootModel[tuple[ReplayImage, ...]]):
    """The list."""


def write_replay_images(folder: Path, images: Sequence[ReplayImage]) -> None:
    """Write the list into the folder of a version; write nothing if it is empty."""
    if images:
        text = _ReplayImagesFile(tuple(images)).model_dump_json(indent=2)
        atomic_write_text(folder / REPLAY_IMAGES_FILE, text + "\n")


def read_replay_images(folder: Path) -> tuple[ReplayImage, ...]:
    """Return the list in a version's folder; empty if there is none.

    Raises
    ------
    MedSegError
        If it is damaged.
    """
    path = folder / REPLAY_IMAGES_FILE
    if not path.exists():
        return ()
    advice = "Delete it; then no older image is replayed."
    return read_json_model(path, _ReplayImagesFile, "is not a list of images", advice).root


def write_run_replay_images(run_dir: Path) -> None:
    """Write the list of a run's version: one image of each group, then a second one, up to `MAX_REPLAY_IMAGES`.

    Partly labelled images are excluded, because a replayed image is used as a whole.
    """
    snapshot = read_snapshot(run_dir / SNAPSHOT_FILE)
    whole = [item for item in snapshot.filter_by_role(Role.TRAIN) if not item.is_partial]
    write_replay_images(
        run_dir, [_make_replay_image(item, run_dir.absolute()) for item in round_robin(whole)[:MAX_REPLAY_IMAGES]]
    )


def _make_replay_image(item: SnapshotItem, run_dir: Path) -> ReplayImage:
    return ReplayImage(
        name=item.name,
        image=str((run_dir / item.image).resolve()),
        labels=str((run_dir / item.labels).resolve()),
        group=item.group,
        labels_sha256=item.labels_sha256,
    )


REPLAY_SAMPLES_FILE = "replay.json"


class ReplaySample(BaseModel):
    """One labelled sample; paths are relative to the folder of the samples.

    `source` is a name in the training data of a card. Only versions that were trained on it replay the sample, and the
    group of the sample is never in their hold-out. Without a source this applies to all versions of the task.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str
    labels: str
    group: str
    source: str = ""


class _ReplaySamplesFile(RootModel[dict[str, list[ReplaySample]]]):
    """The samples by task."""


def read_replay_samples(samples: Path, base: ModelCard) -> list[ReplaySample]:
    """Return the samples that a version was trained on; an empty list if the folder has none.

    Raises
    ------
    MedSegError
        If `replay.json` is damaged.
    """
    learnt = {"", *(source.name for source in base.training_data)}
    return [item for item in _read_samples_file(samples).get(base.task, []) if item.source in learnt]


def find_replay_groups(samples: Path, bases: Iterable[ModelCard]) -> set[str]:
    """Return the groups of the samples that these versions were trained on: they can never be held out."""
    return {item.group for base in bases for item in read_replay_samples(samples, base)}


def _read_samples_file(samples: Path) -> dict[str, list[ReplaySample]]:
    path = samples / REPLAY_SAMPLES_FILE
    if not path.exists():
        return {}
    return read_json_model(path, _ReplaySamplesFile, "is not a list of samples", "Install napari-medseg again.").root
