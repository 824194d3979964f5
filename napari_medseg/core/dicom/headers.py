"""The header of a DICOM file, read without pixels: plane geometry, series, patient, offset of the pixel data."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset, FileDataset, dcmread
from pydicom.filereader import read_partial
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from napari_medseg.core.acquisition import Acquisition
from napari_medseg.core.decoded_size.header_length import MODALITY_TAG, has_magic_word, may_be_long, refuse_long_header
from napari_medseg.core.dicom.acquisition import read_acquisition, read_modality
from napari_medseg.core.dicom.attributes import get_dicom_text, get_dicom_words
from napari_medseg.core.dicom.frame_size import count_frames, refuse_large_frames, refuse_large_inflation
from napari_medseg.core.dicom.planes import DicomPlane, read_plane
from napari_medseg.core.dicom.sop_classes import find_kind_without_image, get_sop_class_name
from napari_medseg.core.errors import MedSegError

# Groups of the attributes that define the pixel encoding: image pixel module, functional groups, offset tables.
_ENCODING_GROUPS = (0x0028, 0x5200, 0x7FE0)
_ENCODING_SEQUENCES = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence", "ModalityLUTSequence")


class NoImageError(MedSegError):
    """A valid DICOM file that holds no image to label: a report, a structure set, a segmentation, a directory.

    Parameters
    ----------
    name
        Name of the file.
    kind
        What it is, such as ``"(SR): Basic Text SR Storage"``.
    """

    def __init__(self, name: str, kind: str) -> None:
        super().__init__(f"{name} is DICOM without an image {kind}. Open the image series that it belongs to.")
        self.name = name
        self.kind = kind


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
    """One DICOM file without its pixels.

    `modality` is that of the file, or the one that its SOP class implies. `has_modality`: whether it has one.
    `series_key` is equal in all files of one series of one patient, whatever their orientation. `date` is that of the
    series or study (YYYY-MM-DD), `number` the number of the series; ``""`` if unknown. `part`: which part of its file
    the planes are, if they are not all of it.
    """

    path: Path
    planes: tuple[DicomPlane, ...]
    series: str
    series_key: tuple[str, ...]
    instance: str
    modality: str
    has_modality: bool
    acquisition: Acquisition
    patient: str
    description: str
    patient_orientation: tuple[str, ...]
    encoding: PixelEncoding
    date: str = ""
    number: str = ""
    part: str = ""


def is_dicom(path: Path) -> bool:
    """Whether the file starts with the DICOM preamble and magic word; fast."""
    try:
        with path.open("rb") as file:
            return has_magic_word(file)
    except OSError:
        return False


def read_header(path: Path, file: BinaryIO) -> DicomHeader:
    """Read a DICOM file without its pixels; the file is open at position 0.

    Raises
    ------
    NoImageError
        If it is a valid object without an image to label: a report, a segmentation, a dose, a directory.
    MedSegError
        If the file is damaged in a known way, would take too much memory, or is a tiled whole-slide image.
    Exception
        Whatever pydicom raises for damaged files: call this function inside `translate_decode_errors`.
    """
    dataset = read_attributes(path, file)
    if kind := find_kind_without_image(dataset):
        raise NoImageError(path.name, kind)
    if "Rows" not in dataset or "Columns" not in dataset:
        _refuse_without_image(path, dataset)
    if "TotalPixelMatrixColumns" in dataset and count_frames(dataset) > 1:
        raise MedSegError(f"{path.name} is a tiled whole-slide image. Export the region of interest as TIFF or PNG.")
    encoding = _make_encoding(dataset, file)
    refuse_large_frames(path, dataset, None if encoding.offset is None else encoding.file_version[0] - encoding.offset)
    return _make_header(path, dataset, encoding)


def read_attributes(path: Path, file: BinaryIO, specific_tags: list[str] | None = None) -> FileDataset:
    """Read what a DICOM file holds before its pixels, or only `specific_tags` of it; the file is open at position 0.

    Raises
    ------
    NoImageError
        If it is a large object without an image: a segmentation, a structure set.
    MedSegError
        If it holds more elements than a header may, or would take too much memory.
    Exception
        Whatever pydicom raises for damaged files: call this function inside `translate_decode_errors`.
    """
    is_forced, n_bytes = not has_magic_word(file), path.stat().st_size
    refuse_long_header(file, n_bytes, path.name, before=MODALITY_TAG + 1)
    refuse_large_inflation(path, file)
    if may_be_long(n_bytes):  # a segmentation may have more elements than an image
        start = read_partial(file, stop_when=lambda tag, vr, length: tag > MODALITY_TAG, force=is_forced)
        file.seek(0)
        if kind := find_kind_without_image(start):
            raise NoImageError(path.name, kind)
        refuse_long_header(file, n_bytes, path.name)
    dataset = dcmread(file, stop_before_pixels=True, force=is_forced, specific_tags=specific_tags)
    _complete_transfer_syntax(dataset)
    return dataset


def _complete_transfer_syntax(dataset: FileDataset) -> None:
    """Give a file without a meta header the transfer syntax in which its elements were read."""
    if "TransferSyntaxUID" in dataset.file_meta:
        return
    is_implicit, is_little_endian = dataset.original_encoding
    explicit = ExplicitVRLittleEndian if is_little_endian else ExplicitVRBigEndian
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else explicit


def get_file_version(file: BinaryIO) -> tuple[int, int]:
    """Size (bytes) and modification time (ns) of an open file."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def _refuse_without_image(path: Path, dataset: Dataset) -> None:
    kind = get_sop_class_name(dataset)
    if not kind or "Image Storage" in kind:
        raise MedSegError(f"{path.name} is not a DICOM image, or it is truncated. Copy or export it again.")
    raise NoImageError(path.name, f"({get_dicom_text(dataset, 'Modality') or kind})")


def _make_encoding(dataset: FileDataset, file: BinaryIO) -> PixelEncoding:
    for keyword in _ENCODING_SEQUENCES:  # parsed here once, or each copy would parse it again
        dataset.get(keyword)
    tags = [tag for tag in dataset.keys() if tag.group in _ENCODING_GROUPS]  # noqa: SIM118 -- it iterates over elements
    kept = Dataset({tag: dataset.get_item(tag) for tag in tags})
    kept.file_meta = dataset.file_meta
    kept.set_original_encoding(*dataset.original_encoding)
    is_deflated = dataset.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian
    return PixelEncoding(kept, None if is_deflated else file.tell(), get_file_version(file))


def _make_header(path: Path, dataset: Dataset, encoding: PixelEncoding) -> DicomHeader:
    planes = tuple(read_plane(path, dataset, frame) for frame in range(count_frames(dataset)))
    modality = read_modality(dataset)
    identity = get_dicom_text(dataset, "PatientID") or get_dicom_text(dataset, "PatientName")
    study = get_dicom_text(dataset, "StudyInstanceUID")
    return DicomHeader(
        path=path,
        planes=planes,
        series=get_dicom_text(dataset, "SeriesInstanceUID"),
        series_key=_make_series_key(path, dataset, planes),
        instance=get_dicom_text(dataset, "SOPInstanceUID"),
        modality=modality,
        has_modality=bool(get_dicom_text(dataset, "Modality")),
        acquisition=read_acquisition(dataset, modality),
        patient=identity or study or path.absolute().parent.name,
        description=get_dicom_text(dataset, "SeriesDescription"),
        patient_orientation=get_dicom_words(dataset, "PatientOrientation"),
        encoding=encoding,
        date=_read_date(dataset),
        number=get_dicom_text(dataset, "SeriesNumber"),
    )


def _read_date(dataset: Dataset) -> str:
    dates = (get_dicom_text(dataset, keyword) for keyword in ("SeriesDate", "AcquisitionDate", "StudyDate"))
    date = next((date for date in dates if len(date) == 8 and date.isdigit()), "")
    return f"{date[:4]}-{date[4:6]}-{date[6:]}" if date else ""


def _make_series_key(path: Path, dataset: Dataset, planes: tuple[DicomPlane, ...]) -> tuple[str, ...]:
    # De-identified files may lack UIDs. Then the folder, frame of reference and series number identify the series.
    series = get_dicom_text(dataset, "SeriesInstanceUID") or "|".join(
        (str(path.parent), get_dicom_text(dataset, "FrameOfReferenceUID"), get_dicom_text(dataset, "SeriesNumber"))
    )
    # Two patients may share one series UID, if a phantom or a de-identification wrote it.
    patient = get_dicom_text(dataset, "PatientID") or get_dicom_text(dataset, "PatientName")
    identity = (
        patient,
        get_dicom_text(dataset, "IssuerOfPatientID"),
        get_dicom_text(dataset, "StudyInstanceUID"),
        series,
    )
    if len(planes) > 1 or planes[0].position is None:
        return (*identity, str(path))
    return (*identity, str(planes[0].shape))
