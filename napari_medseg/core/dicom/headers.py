"""The header of a DICOM file, read without pixels: plane geometry, series, patient, offset of the pixel data."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, FileDataset, dcmread
from pydicom.multival import MultiValue
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from napari_medseg.core.errors import MedSegError

_MAGIC_OFFSET = 128
_DIRECTION_TOLERANCE = 1e-3
# Groups of the attributes that define the pixel encoding: image pixel module, functional groups, offset tables.
_ENCODING_GROUPS = (0x0028, 0x5200, 0x7FE0)


class NoImageError(MedSegError):
    """A valid DICOM file that holds no image: a report, a structure set, a directory."""


@dataclass(frozen=True, eq=False)
class DicomPlane:
    """One plane of a DICOM file: the whole file, or one frame of an enhanced file.

    `position` (mm), `row_direction` (unit vector along a row) and `column_direction` are in DICOM patient coordinates
    (LPS: left, posterior, superior); `None` if the file does not give them. `spacing_mm` is (rows, columns);
    `thickness_mm` is 0 if it is unknown.
    """

    path: Path
    frame: int
    shape: tuple[int, int]
    position: NDArray[np.float64] | None
    row_direction: NDArray[np.float64] | None
    column_direction: NDArray[np.float64] | None
    spacing_mm: tuple[float, float] | None
    thickness_mm: float
    phase: str

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector along which slices are sorted: towards the head for axial slices of a supine patient."""
        assert self.row_direction is not None
        assert self.column_direction is not None
        return np.cross(self.row_direction, self.column_direction)


@dataclass(frozen=True, eq=False)
class PixelEncoding:
    """Offset of the pixel data and the attributes needed to decode them, so that the header is not read again.

    Parameters
    ----------
    attributes
        The attributes of the header that define the pixel encoding and the unit of the values, with `file_meta`.
    offset
        Offset of the pixel data element in bytes from the start of the file; `None` if the whole file is deflated.
    file_version
        Size (bytes) and modification time (ns) of the file, to detect that the file was replaced.
    """

    attributes: Dataset
    offset: int | None
    file_version: tuple[int, int]


@dataclass(frozen=True, eq=False)
class DicomHeader:
    """One DICOM file without its pixels."""

    path: Path
    planes: tuple[DicomPlane, ...]
    series: str
    series_key: tuple[str, ...]
    instance: str
    modality: str
    patient: str
    description: str
    patient_orientation: tuple[str, ...]
    is_localizer: bool
    encoding: PixelEncoding


def is_dicom(path: Path) -> bool:
    """Whether the file starts with the DICOM preamble and magic word; fast."""
    try:
        with path.open("rb") as file:
            return has_magic_word(file)
    except OSError:
        return False


def has_magic_word(file: BinaryIO) -> bool:
    """Whether an open file has the DICOM magic word; afterwards the file position is 0."""
    start = file.read(_MAGIC_OFFSET + 4)
    file.seek(0)
    return start[_MAGIC_OFFSET:] == b"DICM"


def read_header(path: Path, file: BinaryIO) -> DicomHeader:
    """Read a DICOM file without its pixels; the file is open at position 0.

    Raises
    ------
    MedSegError
        If the file is damaged in a known way, or holds no image (a report, a structure set, a DICOMDIR).
    Exception
        Whatever pydicom raises for damaged files: call this function inside `translate_decode_errors`.
    """
    dataset = dcmread(file, stop_before_pixels=True, force=not has_magic_word(file))
    if "Rows" not in dataset or "Columns" not in dataset:
        _refuse_without_image(path, dataset)
    if "TotalPixelMatrixColumns" in dataset and int(dataset.get("NumberOfFrames") or 1) > 1:
        raise MedSegError(f"{path.name} is a tiled whole-slide image. Export the region of interest as TIFF or PNG.")
    return _make_header(path, dataset, _make_encoding(dataset, file))


def get_file_version(file: BinaryIO) -> tuple[int, int]:
    """Size (bytes) and modification time (ns) of an open file."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def get_dicom_text(dataset: Dataset, keyword: str) -> str:
    """Value of an attribute as stripped text; empty if it is absent."""
    value = dataset.get(keyword)
    return "" if value is None else str(value).strip()


def get_dicom_number(dataset: Dataset, keyword: str) -> float | None:
    """Value of an attribute as a finite number; `None` if it is absent, empty, multi-valued or not finite."""
    value = dataset.get(keyword)
    if value is None or value == "" or isinstance(value, MultiValue):
        return None
    return float(value) if np.isfinite(float(value)) else None


def get_functional_group(dataset: Dataset, frame: int, sequence: str) -> Dataset:
    """Return a functional group of one frame: the frame's own, else the shared one, else the dataset itself."""
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for group in (per_frame[frame] if frame < len(per_frame) else None, shared[0] if shared else None):
        if group is not None and group.get(sequence):
            return group[sequence][0]  # type: ignore[no-any-return]
    return dataset


def _refuse_without_image(path: Path, dataset: Dataset) -> None:
    kind_of_object = UID(
        get_dicom_text(dataset, "SOPClassUID") or get_dicom_text(dataset.file_meta, "MediaStorageSOPClassUID")
    )
    if not kind_of_object or "Image Storage" in kind_of_object.name:
        raise MedSegError(f"{path.name} is not a DICOM image, or it is truncated. Copy or export it again.")
    kind = get_dicom_text(dataset, "Modality") or "a directory or report"
    raise NoImageError(f"{path.name} is DICOM without an image ({kind}). Open the image series that it belongs to.")


def _make_encoding(dataset: FileDataset, file: BinaryIO) -> PixelEncoding:
    tags = [tag for tag in dataset.keys() if tag.group in _ENCODING_GROUPS]  # noqa: SIM118 -- it iterates over elements
    kept = Dataset({tag: dataset.get_item(tag) for tag in tags})
    kept.file_meta = dataset.file_meta
    kept.set_original_encoding(*dataset.original_encoding)
    is_deflated = dataset.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian
    return PixelEncoding(kept, None if is_deflated else file.tell(), get_file_version(file))


def _make_header(path: Path, dataset: Dataset, encoding: PixelEncoding) -> DicomHeader:
    planes = tuple(_read_plane(path, dataset, frame) for frame in range(int(dataset.get("NumberOfFrames") or 1)))
    series = get_dicom_text(dataset, "SeriesInstanceUID")
    study = get_dicom_text(dataset, "StudyInstanceUID")
    patient = (
        get_dicom_text(dataset, "PatientID")
        or get_dicom_text(dataset, "PatientName")
        or study
        or path.absolute().parent.name
    )
    return DicomHeader(
        path=path,
        planes=planes,
        series=series,
        series_key=_make_series_key(path, dataset, planes),
        instance=get_dicom_text(dataset, "SOPInstanceUID"),
        modality=get_dicom_text(dataset, "Modality"),
        patient=patient,
        description=get_dicom_text(dataset, "SeriesDescription"),
        patient_orientation=tuple(str(word) for word in dataset.get("PatientOrientation") or ()),
        is_localizer="LOCALIZER" in [str(word) for word in dataset.get("ImageType") or ()],
        encoding=encoding,
    )


def _make_series_key(path: Path, dataset: Dataset, planes: tuple[DicomPlane, ...]) -> tuple[str, ...]:
    # De-identified files may lack UIDs. Then the folder, frame of reference and series number identify the series.
    identity = get_dicom_text(dataset, "SeriesInstanceUID") or "|".join(
        (str(path.parent), get_dicom_text(dataset, "FrameOfReferenceUID"), get_dicom_text(dataset, "SeriesNumber"))
    )
    first = planes[0]
    if first.position is None or first.row_direction is None or first.column_direction is None or len(planes) > 1:
        return (identity, str(path))
    directions = np.concatenate([first.row_direction, first.column_direction])
    # A scout belongs to the series of its slices but has another orientation: it is a separate image.
    return (identity, str(np.round(directions, 2) + 0.0), str(first.shape))


def _read_plane(path: Path, dataset: Dataset, frame: int) -> DicomPlane:
    place = get_functional_group(dataset, frame, "PlanePositionSequence")
    turn = get_functional_group(dataset, frame, "PlaneOrientationSequence")
    measures = get_functional_group(dataset, frame, "PixelMeasuresSequence")
    position = _read_vector(place, "ImagePositionPatient", 3)
    directions = _read_vector(turn, "ImageOrientationPatient", 6)
    if directions is not None:
        _check_directions(directions, path.name)
    known = position is not None and directions is not None
    return DicomPlane(
        path=path,
        frame=frame,
        shape=(int(dataset.Rows), int(dataset.Columns)),
        position=position if known else None,
        row_direction=directions[:3] if known and directions is not None else None,
        column_direction=directions[3:] if known and directions is not None else None,
        spacing_mm=_read_pixel_spacing(measures, path.name),
        thickness_mm=abs(
            get_dicom_number(measures, "SpacingBetweenSlices") or get_dicom_number(measures, "SliceThickness") or 0.0
        ),
        phase="|".join(
            get_dicom_text(dataset, key) for key in ("TemporalPositionIdentifier", "AcquisitionNumber", "EchoNumbers")
        ),
    )


def _read_vector(dataset: Dataset, keyword: str, length: int) -> NDArray[np.float64] | None:
    values: Any = dataset.get(keyword)
    if values is None or len(values) != length:
        return None
    vector = np.array([float(value) for value in values])
    return vector if np.isfinite(vector).all() else None


def _check_directions(directions: NDArray[np.float64], name: str) -> None:
    row, column = directions[:3], directions[3:]
    lengths = (float(np.linalg.norm(row)), float(np.linalg.norm(column)))
    if max(abs(length - 1) for length in lengths) > _DIRECTION_TOLERANCE or abs(row @ column) > _DIRECTION_TOLERANCE:
        raise MedSegError(
            f"{name} has an impossible orientation {np.round(directions, 4).tolist()}: two perpendicular unit vectors "
            "are expected. Export it again from the scanner or archive."
        )


def _read_pixel_spacing(dataset: Dataset, name: str) -> tuple[float, float] | None:
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        values = _read_vector(dataset, keyword, 2)
        if values is None:
            continue
        if values.min() <= 0:
            raise MedSegError(f"{name} has pixel spacing {values.tolist()}; positive millimetres are expected.")
        return float(values[0]), float(values[1])
    return None
