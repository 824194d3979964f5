"""Files of a project: image copies and label files, named by their content, so that none is written twice.

All arrays are in the canonical order of `Image`. These functions do not use the database, so worker threads may call
them. `core.formats` is imported only when it is needed, so that a project opens faster.
"""

import hashlib
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator

from napari_medseg.core.acquisition import Acquisition
from napari_medseg.core.atomic_io import atomic_write_text, compute_file_sha256, sync_folder
from napari_medseg.core.decoded_size.limit import LABEL_BYTES, MAX_VALUE_BYTES
from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.core.file_names import use_slashes
from napari_medseg.core.image import Image, StorageLayout
from napari_medseg.core.json_model import read_json_model
from napari_medseg.core.records import Case, Correction, Prediction
from napari_medseg.core.tasks.body_regions import find_body_word


class _Origin(BaseModel):
    """Image metadata that a TIFF file cannot store; `affine` and `nifti_header` are bit-exact as hexadecimal text.

    It names no one: free texts of headers are left out. `series` and `notes` are those of files of older versions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    modality: str
    units: str
    series: str = ""
    notes: tuple[str, ...] = ()
    permutation: tuple[int, ...] | None = None
    flips: tuple[bool, ...] = ()
    affine: str = ""
    nifti_header: str = ""
    acquisition: Acquisition = Acquisition()
    padding_value: float | None = None
    slice_shift_mm: float = 0.0

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        order = self.permutation
        if order is not None and (sorted(order) != list(range(len(order))) or len(self.flips) != len(order)):
            raise ValueError(f"invalid order of axes {order} with flips {self.flips}")
        if self.affine and len(bytes.fromhex(self.affine)) != _N_AFFINE_BYTES:
            raise ValueError("the affine has a wrong length")
        if len(bytes.fromhex(self.nifti_header)) not in _N_NIFTI_HEADER_BYTES:
            raise ValueError("the NIfTI header has a wrong length")
        return self


_N_AFFINE_BYTES = 4 * 4 * 8
_TIFF_HEAD_BYTES = 2**24  # of tags, for each slice
_N_NIFTI_HEADER_BYTES = (0, 348, 540)


@dataclass(frozen=True)
class StoredLabels:
    """A label file, relative to the project folder, and the SHA-256 of its bytes."""

    file: str
    sha256: str


def get_image_copy_path(folder: Path, content_hash: str) -> Path:
    """Return the path of the project's copy of an image; the file may not exist."""
    return folder / "images" / f"{content_hash}.tif"


def write_image_copy(folder: Path, image: Image) -> str:
    """Copy an image into the project (lossless, compressed) unless it exists; return its path relative to the project.

    Its metadata is stored beside it, so that an export from the copy is exact, too.
    """
    from napari_medseg.core import formats

    path = get_image_copy_path(folder, image.content_hash)
    if not path.exists():
        atomic_write_text(path.with_suffix(".json"), _make_origin(image).model_dump_json() + "\n")
        formats.write_image(path, replace(image, storage=None))
        sync_folder(path.parent)
    return path.relative_to(folder).as_posix()


def read_image_copy(folder: Path, case: Case) -> Image:
    """Read the project's copy of a case's image, with all metadata of the original.

    Raises
    ------
    MedSegError
        If the copy is damaged.
    """
    from napari_medseg.core import formats

    path = get_image_copy_path(folder, case.content_hash)
    complaint = f"belongs to the project's copy of {case.name} and is damaged"
    origin = read_json_model(path.with_suffix(".json"), _Origin, complaint, "Restore the files from a backup.")
    try:
        # The row knows the size; how far the file shrank and how much memory is free say nothing about damage.
        image = formats.read_tiff(path, math.prod(case.shape) * MAX_VALUE_BYTES)
        # TIFF returns a stack of one slice as a plane.
        image = replace(image, pixels=image.pixels.reshape(case.shape), axes=case.axes, spacing_mm=case.spacing_mm)
    except (OSError, ValueError, MedSegError) as error:
        raise MedSegError(
            f"the project's copy of {case.name} is damaged ({error}). Restore the files from a backup."
        ) from error
    if image.adopt_content_hash(case.content_hash).content_hash != case.content_hash:
        raise MedSegError(f"the project's copy of {case.name} ({path}) is damaged. Restore the files from a backup.")
    image = replace(
        image,
        name=case.name,
        group=case.group,
        modality=origin.modality,
        units=origin.units,
        series=case.series or origin.series,
        notes=origin.notes,
        acquisition=origin.acquisition,
        padding_value=origin.padding_value,
        slice_shift_mm=origin.slice_shift_mm,
        sources=tuple(Path(use_slashes(source)) for source in case.sources),
        storage=_make_storage(origin),
    )
    return image.adopt_content_hash(case.content_hash)


def write_case_labels(folder: Path, case: Case, kind: str, labels: NDArray[Any]) -> StoredLabels:
    """Write labels of a case unless the same labels are stored already.

    Parameters
    ----------
    folder
        Project folder.
    case
        The case of the labels; it gives the grid.
    kind
        First word of the file name: ``"prediction"``, ``"field"``, ``"correction"`` or ``"reviewed"``.
    labels
        Unsigned integers on the canonical grid, (y, x) or (z, y, x).
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
        If the file is missing or was changed.
    """
    path = folder / record.labels_file
    ensure_labels_intact(path, record.sha256, case, f"with labels of {case.name}")
    return read_labels_on_case_grid(path, case)


def ensure_labels_intact(path: Path, sha256: str, case: Case, content: str) -> None:
    """Refuse a label file of the project that is missing or changed; `content` says what it holds, as ``"with ..."``.

    Raises
    ------
    MedSegError
        Names the file and what is wrong. One that is far larger than labels of the case can be is not read.
    """
    if not path.exists():
        raise MedSegError(f"{path} {content} is missing. Restore it from a backup.")
    max_bytes = 2 * math.prod(case.spatial_shape) * LABEL_BYTES + _TIFF_HEAD_BYTES
    try:
        is_intact = compute_file_sha256(path, max_bytes) == sha256
    except OSError as error:
        raise MedSegError(f"{path} {content} cannot be read: {get_reason(error)}. Restore it from a backup.") from error
    if not is_intact:
        raise MedSegError(f"{path} {content} is damaged. Restore it from a backup.")


def read_roi_labels(path: Path, case: Case) -> NDArray[Any] | None:
    """Read the region-of-interest labels of a case; `None` if the file is missing (it can be predicted again)."""
    if not path.exists():
        return None
    return read_labels_on_case_grid(path, case)


def read_labels_on_case_grid(path: Path, case: Case) -> NDArray[Any]:
    """Read a label file of the project on the canonical grid of its case; unsigned integers (y, x) or (z, y, x).

    Raises
    ------
    MedSegError
        If the file is damaged or has another number of voxels.
    """
    from napari_medseg.core import formats

    labels = formats.read_labels(path, None, expected_shape=case.spatial_shape)
    if labels.size != np.prod(case.spatial_shape):
        raise MedSegError(
            f"{path} has shape {labels.shape}, but {case.name} has {case.spatial_shape}. Restore the right file "
            "from a backup, or predict again."
        )
    return labels.reshape(case.spatial_shape)  # TIFF returns a stack of one slice as a plane


def _make_grid_image(case: Case, labels: NDArray[Any]) -> Image:
    return Image(pixels=labels, axes=case.spatial_axes, spacing_mm=case.spacing_mm, name=case.name)


def keep_known_words(acquisition: Acquisition) -> Acquisition:
    """Return what a header says in words that the program knows: others may be free text, or the UID of a device."""
    is_uid = acquisition.sop_class.replace(".", "").isdecimal()
    sop_class = "" if is_uid else acquisition.sop_class
    return replace(acquisition, sop_class=sop_class, body_part=find_body_word(acquisition.body_part))


def _make_origin(image: Image) -> _Origin:
    origin = _Origin(
        modality=image.modality,
        units=image.units,
        acquisition=keep_known_words(image.acquisition),
        padding_value=image.padding_value,
        slice_shift_mm=image.slice_shift_mm,
    )
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
