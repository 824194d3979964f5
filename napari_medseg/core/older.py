"""A few of the images that a version learnt from, beside it: what its descendants replay, so that it forgets less.

The bundled versions replay bundled samples. A version that was trained on somebody's own folders has this list; the
images stay where they are.
"""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, RootModel, ValidationError

from napari_medseg.core.errors import MedSegError

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
