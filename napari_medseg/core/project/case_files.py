"""Files of the project: copies of images and label files, named by their content, so that one is never written twice.

All of it lies in the canonical order of `Image`, and none of it touches the database: worker threads may call it. The
readers and writers of images are imported when they are needed, so that a project opens without them.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from napari_medseg.core.atomic_io import atomic_write_text, compute_file_sha256, sync_folder
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image, StorageLayout
from napari_medseg.core.json_model import read_json_model
from napari_medseg.core.records import Case, Correction, Prediction


class _Origin(BaseModel):
    """What a TIFF cannot say of where an image came from; `affine` and `nifti_header` as hexadecimal, bit for bit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    modality: str
    units: str
    series: str
    notes: tuple[str, ...] = ()
    permutation: tuple[int, ...] | None = None
    flips: tuple[bool, ...] = ()
    affine: str = ""
    nifti_header: str = ""


@dataclass(frozen=True)
class StoredLabels:
    """A label file, relative to the project folder, and the SHA-256 of its bytes."""

    file: str
    sha256: str


def get_image_copy_path(folder: Path, content_hash: str) -> Path:
    """Where the project's copy of an image lies, if it has one."""
    return folder / "images" / f"{content_hash}.tif"


def write_image_copy(folder: Path, image: Image) -> str:
    """Copy an image into the project (lossless, compressed) unless it is there; return its file, relative.

    Where it came from is kept beside it, so that an export from the copy is exact, too.
    """
    from napari_medseg.core import formats

    path = get_image_copy_path(folder, image.content_hash)
    if not path.exists():
        atomic_write_text(path.with_suffix(".json"), _make_origin(image).model_dump_json() + "\n")
        formats.write_image(path, replace(image, storage=None))
        sync_folder(path.parent)
    return path.relative_to(folder).as_posix()


def read_image_copy(folder: Path, case: Case) -> Image:
    """Read the project's copy of a case's image, with everything that the original said.

    Raises
    ------
    MedSegError
        If the copy is damaged.
    """
    from napari_medseg.core import formats

    path = get_image_copy_path(folder, case.content_hash)
    complaint = f"is damaged, which belongs to the project's copy of {case.name}"
    origin = read_json_model(path.with_suffix(".json"), _Origin, complaint, "Put the files back.")
    try:
        image = formats.read(path)
        # A stack of one slice comes back from TIFF as a plane.
        image = replace(image, pixels=image.pixels.reshape(case.shape), axes=case.axes, spacing_mm=case.spacing_mm)
    except (OSError, ValueError, MedSegError) as error:
        raise MedSegError(f"the project's copy of {case.name} is damaged ({error}). Put the files back.") from error
    if image.content_hash != case.content_hash:
        raise MedSegError(f"the project's copy of {case.name} ({path}) is damaged. Put the original files back.")
    return replace(
        image,
        name=case.name,
        group=case.group,
        modality=origin.modality,
        units=origin.units,
        series=origin.series,
        notes=origin.notes,
        sources=tuple(Path(source) for source in case.sources),
        storage=_make_storage(origin),
    )


def write_case_labels(folder: Path, case: Case, kind: str, labels: NDArray[Any]) -> StoredLabels:
    """Write labels of a case unless the same are there.

    Parameters
    ----------
    folder
        Of the project.
    case
        Whose grid the labels are on.
    kind
        First word of the file name: ``"prediction"``, ``"field"``, ``"correction"`` or ``"reviewed"``.
    labels
        On the canonical grid.
    """
    from napari_medseg.core import formats

    labels = np.ascontiguousarray(labels)
    digest = hashlib.sha256(labels.dtype.str.encode())
    digest.update(labels.data)
    path = folder / "labels" / f"{kind}-{case.id}-{digest.hexdigest()[:16]}.tif"
    if not path.exists():
        formats.write_labels(path, labels, _make_grid_image(case, labels))
        sync_folder(path.parent)
    return StoredLabels(path.relative_to(folder).as_posix(), compute_file_sha256(path))


def read_case_labels(folder: Path, case: Case, record: Prediction | Correction) -> NDArray[Any]:
    """Read the labels of a prediction or correction of a case, on the canonical grid.

    Raises
    ------
    MedSegError
        If the file is gone or is not the one that was written.
    """
    path = folder / record.labels_file
    if not path.exists():
        raise MedSegError(f"{path} is gone, which holds labels of {case.name}. Put it back from a backup.")
    if compute_file_sha256(path) != record.sha256:
        raise MedSegError(f"{path}, which holds labels of {case.name}, is damaged. Put it back from a backup.")
    return read_labels_on_case_grid(path, case)


def read_roi_labels(path: Path, case: Case) -> NDArray[Any] | None:
    """Read the labels of the field of a case; `None` where the file is gone: it can be found again."""
    if not path.exists():
        return None
    return read_labels_on_case_grid(path, case)


def read_labels_on_case_grid(path: Path, case: Case) -> NDArray[Any]:
    """Read a label file of the project on the canonical grid of its case, (y, x) or (z, y, x).

    Raises
    ------
    MedSegError
        If the file is damaged or has another number of voxels.
    """
    from napari_medseg.core import formats

    labels = formats.read_labels(path, None)
    if labels.size != np.prod(case.spatial_shape):
        raise MedSegError(
            f"{path} has shape {labels.shape}, but {case.name} has {case.spatial_shape}. Put the right file back "
            "from a backup, or predict again."
        )
    return labels.reshape(case.spatial_shape)  # a stack of one slice comes back from TIFF as a plane


def _make_grid_image(case: Case, labels: NDArray[Any]) -> Image:
    return Image(pixels=labels, axes=case.spatial_axes, spacing_mm=case.spacing_mm, name=case.name)


def _make_origin(image: Image) -> _Origin:
    origin = _Origin(modality=image.modality, units=image.units, series=image.series, notes=image.notes)
    if image.storage is None:
        return origin
    return origin.model_copy(
        update={
            "permutation": image.storage.permutation,
            "flips": image.storage.flips,
            "affine": "" if image.storage.affine is None else image.storage.affine.astype("<f8").tobytes().hex(),
            "nifti_header": image.storage.nifti_header.hex(),
        }
    )


def _make_storage(origin: _Origin) -> StorageLayout | None:
    if origin.permutation is None:
        return None
    data = bytes.fromhex(origin.affine)
    affine = np.frombuffer(data, "<f8").reshape(4, 4).copy() if data else None
    return StorageLayout(origin.permutation, origin.flips, affine, bytes.fromhex(origin.nifti_header))
