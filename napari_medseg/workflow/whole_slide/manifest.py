"""The manifest of a whole-slide prediction: of which slide it is, by which model, and how the slide was divided.

It is written once, before the first chunk, and names no one: the slide is known by its size and the hash of its ends,
so it may be moved or renamed. The states of the chunks are in `chunk_table`.
"""

import hashlib
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

from napari_medseg.core.atomic_io import atomic_write_text
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.json_model import read_json_model
from napari_medseg.core.slides.slide import DamagedPartError, Slide
from napari_medseg.core.tasks.bundled_tasks import Task, get_task
from napari_medseg.core.tasks.custom_task import CustomTask
from napari_medseg.workflow.whole_slide.chunks import ChunkGrid
from napari_medseg.workflow.whole_slide.grid import ModelGrid

MANIFEST_FILE = "manifest.json"
TABLE_FILE = "chunks.sqlite"
LABELS_FOLDER = "labels.zarr"
SLIDES_FOLDER = "slides"
"""In a project: a folder for each slide, with one for each model version."""
FORMAT = 1
END_BYTES = 1 << 20
MIDDLE_PX = 1024


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SlideIdentity(_Frozen):
    """What a slide is known by, wherever it lies.

    `n_bytes` is the size of its file, `sha256_of_ends` the hash of its first and last mebibyte; of a folder or an
    address (OME-Zarr) that of its levels and of pixels of the coarsest one, because a program writes the same metadata
    for all slides of a size. `height` and `width` are those of level 0.
    """

    height: int
    width: int
    n_bytes: int
    sha256_of_ends: str

    @property
    def key(self) -> str:
        """A name for files that belong to the slide; it names no one."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    @classmethod
    def of(cls, slide: Slide) -> Self:
        """Return the identity of an open slide."""
        height, width = slide.levels[0].height, slide.levels[0].width
        digest = hashlib.sha256()
        if not slide.path.is_file():
            digest.update(f"{slide.levels} {slide.spacing_mm}".encode() + _read_middle(slide))
            return cls(height=height, width=width, n_bytes=0, sha256_of_ends=digest.hexdigest())
        n_bytes = slide.path.stat().st_size
        with slide.path.open("rb") as file:
            digest.update(file.read(END_BYTES))
            file.seek(max(END_BYTES, n_bytes - END_BYTES))
            digest.update(file.read(END_BYTES))
        return cls(height=height, width=width, n_bytes=n_bytes, sha256_of_ends=digest.hexdigest())


def _read_middle(slide: Slide) -> bytes:
    """Return pixels of the middle of the coarsest level; of a damaged one, nothing."""
    number = len(slide.levels) - 1
    height, width = (min(side, MIDDLE_PX) for side in (slide.levels[number].height, slide.levels[number].width))
    top, left = (slide.levels[number].height - height) // 2, (slide.levels[number].width - width) // 2
    try:
        return slide.read(number, top, left, height, width).tobytes()
    except DamagedPartError:
        return b""


class Manifest(_Frozen):
    """What does not change while a slide is predicted; see the module.

    `chunk_numbers` are those that are predicted, `intensity_range` is as in `Image`.
    """

    format: int = FORMAT
    slide: SlideIdentity
    model: str
    weights_sha256: str
    task: str
    own_task: CustomTask | None = None
    grid: ModelGrid
    core_px: int
    halo_px: int
    intensity_range: tuple[float, float] | None
    chunk_numbers: list[int]
    created: str
    code_version: str

    @property
    def chunks(self) -> ChunkGrid:
        """The division of the slide."""
        return ChunkGrid(self.grid.height, self.grid.width, self.core_px, self.halo_px)

    @property
    def definition(self) -> Task:
        """The task, with its labels."""
        return self.own_task or get_task(self.task)

    def find_difference(self, slide: SlideIdentity, model: str, weights_sha256: str) -> str:
        """Return why this prediction cannot be continued with a slide and a model; empty if it can."""
        if slide != self.slide:
            return "it is of another slide, or the slide was changed"
        if model != self.model:
            return f"it was begun with {self.model}, not with {model}"
        if weights_sha256 != self.weights_sha256:
            return f"it was begun with other weights of {model}"
        return ""


def get_prediction_folder(project_folder: Path, slide: SlideIdentity, model: str) -> Path:
    """Return the folder of a slide's prediction by a version in a project."""
    return project_folder / SLIDES_FOLDER / slide.key / model


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a prediction's folder.

    Raises
    ------
    MedSegError
        If there is none, it is damaged, or a later version of this program wrote it.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise MedSegError(f"{folder} holds no prediction of a slide. Choose the folder that it was written to.")
    manifest = read_json_model(path, Manifest, "is not a manifest of this program", "Predict the slide again.")
    if manifest.format > FORMAT:
        raise MedSegError(f"{path} was written by a later version of napari-medseg. Install that version.")
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, whole or not at all."""
    atomic_write_text(folder / MANIFEST_FILE, manifest.model_dump_json(indent=2) + "\n")
