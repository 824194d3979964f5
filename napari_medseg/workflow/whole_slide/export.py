"""What is written of a whole slide for other programs: GeoJSON, OME-Zarr labels, and the density map.

Corrected fields win: they are written into a copy of the labels, and everything is made of that copy. `slide.json`
names the slide and the task of the files beside it, so that those of another slide are not replaced.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from napari_medseg.core.atomic_io import TEMPORARY_PREFIX, atomic_write_text, refuse_unwritable_folder, replace_file
from napari_medseg.core.errors import MedSegError, look_up, translate_errors
from napari_medseg.core.json_model import read_json_model
from napari_medseg.workflow.whole_slide.chunk_table import ChunkTable
from napari_medseg.workflow.whole_slide.corrections import CorrectedField, apply_corrections
from napari_medseg.workflow.whole_slide.density import compute_density, write_density
from napari_medseg.workflow.whole_slide.geojson import MADE_BY, write_slide_geojson
from napari_medseg.workflow.whole_slide.label_pyramid import open_pyramid, read_pyramid_name
from napari_medseg.workflow.whole_slide.manifest import LABELS_FOLDER, MANIFEST_FILE, TABLE_FILE, read_manifest
from napari_medseg.workflow.whole_slide.prediction import WholeSlide

GEOJSON_FILE = "labels.geojson"
ORIGIN_FILE = "slide.json"
GEOJSON_HEAD_BYTES = 4096
IsCancelled = Callable[[], bool]


def _export_geojson(whole: WholeSlide, folder: Path, is_cancelled: IsCancelled) -> list[Path]:
    write_slide_geojson(folder / GEOJSON_FILE, whole, is_cancelled)
    return [folder / GEOJSON_FILE]


def _export_density(whole: WholeSlide, folder: Path, is_cancelled: IsCancelled) -> list[Path]:
    return write_density(compute_density(whole, is_cancelled=is_cancelled), folder)


def _export_zarr(whole: WholeSlide, folder: Path, is_cancelled: IsCancelled) -> list[Path]:
    return [] if is_cancelled() else [_copy_tree(whole.labels.path, folder / LABELS_FOLDER)]


SLIDE_FORMATS: dict[str, Callable[[WholeSlide, Path, IsCancelled], list[Path]]] = {
    "geojson": _export_geojson,
    "ome-zarr": _export_zarr,
    "density": _export_density,
}


def export_slide(
    prediction: Path,
    folder: Path,
    formats: Sequence[str],
    fields: Sequence[CorrectedField] = (),
    is_cancelled: IsCancelled = lambda: False,
) -> list[Path]:
    """Write the labels of a slide, finished or not; return the files.

    Parameters
    ----------
    prediction
        Folder of the prediction.
    folder
        Created if it does not exist; files of an earlier export are replaced.
    formats
        Keys of `SLIDE_FORMATS`.
    fields
        Corrected fields, which win over the prediction.
    is_cancelled
        Asked often; then what is left is not written.

    Raises
    ------
    MedSegError
        If the prediction is missing or damaged, a format is unknown, or the folder cannot be written to or holds what
        an export must not replace.
    """
    writers = [look_up(SLIDE_FORMATS, name, "format of a slide") for name in formats]
    refuse_unwritable_folder(folder)
    _refuse_to_replace(folder, formats, prediction)
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write_text(folder / ORIGIN_FILE, _read_origin(prediction).model_dump_json(indent=2) + "\n")
    with translate_errors(), open_to_read(prediction) as whole, _correct(whole, fields, folder) as corrected:
        return [path for write in writers for path in write(corrected, folder, is_cancelled)]


@contextlib.contextmanager
def open_to_read(folder: Path) -> Iterator[WholeSlide]:
    """Open a prediction to read it, also while it is going on.

    Raises
    ------
    MedSegError
        If there is none, or it is damaged.
    """
    manifest = read_manifest(folder)
    if not (folder / TABLE_FILE).is_file():
        raise MedSegError(f"nothing is predicted in {folder} yet. Predict the slide first.")
    labels = open_pyramid(folder / LABELS_FOLDER)
    with WholeSlide(folder, manifest, ChunkTable(folder / TABLE_FILE), labels) as whole:
        yield whole


@contextlib.contextmanager
def _correct(whole: WholeSlide, fields: Sequence[CorrectedField], folder: Path) -> Iterator[WholeSlide]:
    """Give a copy of a prediction with its corrected fields, which is removed at the end; itself if there are none."""
    if not fields:
        yield whole
        return
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=folder) as name:
        copy = Path(name)
        _copy_tree(whole.labels.path, copy / LABELS_FOLDER)
        whole.table.copy_to(copy / TABLE_FILE)
        labels = open_pyramid(copy / LABELS_FOLDER, writable=True)
        with WholeSlide(copy, whole.manifest, ChunkTable(copy / TABLE_FILE), labels) as corrected:
            apply_corrections(corrected, fields)
            yield corrected


class Origin(BaseModel):
    """What the files of an export are of: key of the slide, which names no one, and task."""

    model_config = ConfigDict(extra="ignore")
    slide: str
    task: str


def _read_origin(prediction: Path) -> Origin:
    manifest = read_manifest(prediction)
    return Origin(slide=manifest.slide.key, task=manifest.task)


def _refuse_to_replace(folder: Path, formats: Sequence[str], prediction: Path) -> None:
    """Refuse a folder whose labels are no earlier export of this slide: no prediction is lost, and no other labels."""
    origin = folder / ORIGIN_FILE
    hint = "is not that of an export and is not replaced", "Choose another folder."
    if origin.exists() and read_json_model(origin, Origin, *hint) != _read_origin(prediction):
        raise MedSegError(f"{folder} holds the labels of another slide or task. Choose another folder.")
    if "geojson" in formats and not origin.exists() and _is_foreign(folder / GEOJSON_FILE):
        raise MedSegError(f"{folder / GEOJSON_FILE} was not made by an export and is not replaced. {hint[1]}")
    if any((folder / name).exists() for name in (MANIFEST_FILE, TABLE_FILE)):
        raise MedSegError(f"{folder} holds a prediction, which an export would replace. Choose another folder.")
    labels = folder / LABELS_FOLDER
    if "ome-zarr" not in formats or not labels.exists():
        return
    name = read_pyramid_name(labels)
    if name is None:
        raise MedSegError(f"{labels} was not made by an export and is not replaced. Choose another folder.")
    if name != read_pyramid_name(prediction / LABELS_FOLDER):
        raise MedSegError(f"{folder} holds the labels of another slide or task. Choose another folder.")


def _is_foreign(geojson: Path) -> bool:
    """Whether a file is there that `write_slide_geojson` did not write."""
    if not geojson.exists():
        return False
    with geojson.open("rb") as file:
        return MADE_BY.encode() not in file.read(GEOJSON_HEAD_BYTES)


def _copy_tree(source: Path, target: Path) -> Path:
    """Copy a folder, in place of one of that name; what is there while it is copied is not damaged."""
    beside = target.with_name(f"{TEMPORARY_PREFIX}{target.name}")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(source, beside, ignore=shutil.ignore_patterns("*.partial"))
    if target.exists():
        shutil.rmtree(target)
    replace_file(beside, target)
    return target
