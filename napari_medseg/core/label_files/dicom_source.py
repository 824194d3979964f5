"""The DICOM series that labels belong to: what a DICOM object about it has to repeat."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from napari_medseg.core.containers.inner_files import open_inner_files
from napari_medseg.core.containers.part_paths import exists, get_whole_path
from napari_medseg.core.decoded_size.sized_file import SizedFile
from napari_medseg.core.dicom.frame_size import count_frames, refuse_large_inflation
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.decode_errors import translate_decode_errors
from napari_medseg.core.formats.discovery import NON_DICOM_SUFFIXES, get_suffix
from napari_medseg.core.formats.labels import get_png_tiff_storage
from napari_medseg.core.formats.orientation import compute_file_affine, reorient_to_file
from napari_medseg.core.image import Image

MANUFACTURER = "napari-medseg"
_LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_PATIENT_AND_STUDY = (
    "SpecificCharacterSet",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
)
_REQUIRED_PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID")
_REQUIRED_EMPTY = (*_REQUIRED_PATIENT, "AccessionNumber", "ReferringPhysicianName")


@dataclass(frozen=True, eq=False)
class DicomSource:
    """Headers of a series without pixels.

    Parameters
    ----------
    datasets
        One per file, in the order of the slices; one file may hold all frames.
    frames
        Of one file with several frames: the frame (from 0) of each slice; empty for one file per slice.
    slices
        4x4 matrix, (slice, row, column, 1) to LPS millimetres; `None` if the series gives no positions.
    """

    datasets: tuple[Dataset, ...]
    frames: tuple[int, ...]
    slices: NDArray[np.float64] | None

    @property
    def first(self) -> Dataset:
        """The header of the first slice."""
        return self.datasets[0]

    def copy_patient_and_study(self, target: Dataset) -> None:
        """Copy what names patient and study; what is required and unknown stays empty."""
        for keyword in _REQUIRED_EMPTY:
            setattr(target, keyword, "")
        for keyword in _PATIENT_AND_STUDY:
            if keyword in self.first:
                target[keyword] = self.first[keyword]


def read_dicom_source(image: Image, what: str) -> DicomSource:
    """Read the headers of the series of an image.

    Parameters
    ----------
    image
        An image that was read from DICOM.
    what
        The format that needs the series, for the error.

    Raises
    ------
    MedSegError
        If the image is not from DICOM, or its files are gone or damaged.
    """
    if not image.sources or (not image.series and get_suffix(image.sources[0]) in NON_DICOM_SUFFIXES):
        raise MedSegError(
            f"{image.name} is not from DICOM, and {what} belongs to a DICOM series. Export .seg.nrrd, .mha or .nii.gz."
        )
    if get_whole_path(image.sources[0]) != image.sources[0]:
        raise MedSegError(
            f"{image.name} is one of several phases of a file, and {what} cannot name it. Export .seg.nrrd or .nii.gz."
        )
    if gone := [path for path in image.sources if not exists(path)]:
        raise MedSegError(
            f"{what} of {image.name} needs its DICOM files, but {gone[0].name} is gone ({len(gone)} of "
            f"{len(image.sources)} files). Put them back, or choose .seg.nrrd, .mha or .nii.gz."
        )
    datasets: list[Dataset] = []
    with open_inner_files(image.sources) as files:
        for path in files:
            with translate_decode_errors(path, "DICOM"), SizedFile(path) as file:
                refuse_large_inflation(path, file)
                datasets.append(dcmread(file, stop_before_pixels=True, force=True))
    slices = None
    if image.affine is not None:
        slices = _LPS_RAS @ compute_file_affine(image.affine, get_png_tiff_storage(image), image.spatial_shape)
    return DicomSource(tuple(datasets), _find_frames(datasets, slices, image), slices)


def lay_in_slices(labels: NDArray[Any], image: Image) -> NDArray[Any]:
    """Return labels as (slice, row, column) of the series."""
    lying = reorient_to_file(labels, get_png_tiff_storage(image))
    return lying if lying.ndim == 3 else lying[np.newaxis]


def make_uid(*parts: object) -> str:
    """Return a UID that depends only on its parts, so that writing twice gives the same file (DICOM PS3.5, B.2)."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "surrogatepass")).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big') >> 1}"


def make_person_name(text: str) -> str:
    """Return a name as DICOM writes it; one that is not split into components is a family name."""
    name = " ".join(text.replace("=", " ").replace("\\", " ").split())[:63]
    return name if "^" in name or not name else f"{name}^"


def split_time(text: str) -> tuple[str, str]:
    """Return DICOM date and time of an ISO text; those of the epoch if there is none, so that nothing changes."""
    digits = "".join(character for character in text[:19] if character.isdigit())
    return (digits[:8], digits[8:14].ljust(6, "0")) if len(digits) >= 8 else ("19700101", "000000")


def _find_frames(datasets: list[Dataset], slices: NDArray[np.float64] | None, image: Image) -> tuple[int, ...]:
    n_frames = count_frames(datasets[0])
    if len(datasets) > 1 or n_frames == 1:
        return ()
    groups = datasets[0].get("PerFrameFunctionalGroupsSequence")
    n_slices = (
        1 if len(image.spatial_axes) == 2 else image.spatial_shape[get_png_tiff_storage(image).permutation.index(0)]
    )
    if slices is None or not groups:
        return tuple(range(n_slices))
    positions = np.array([group.PlanePositionSequence[0].ImagePositionPatient for group in groups], float)
    origins = slices[:3, 3] + np.arange(n_slices)[:, None] * slices[:3, 0]
    return tuple(int(n) for n in np.linalg.norm(positions[None] - origins[:, None], axis=-1).argmin(axis=1))
