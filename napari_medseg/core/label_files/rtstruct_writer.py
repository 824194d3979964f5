"""DICOM structure sets (RTSTRUCT): labels as closed contours in the slices of their series."""

import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, RTStructureSetStorage
from pydicom.valuerep import format_number_as_ds

from napari_medseg.core.atomic_io import atomic_write
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.label_files.boundaries import Ring, join_holes, trace_regions
from napari_medseg.core.label_files.description import LabelDescription, Segment
from napari_medseg.core.label_files.dicom_source import (
    MANUFACTURER,
    DicomSource,
    lay_in_slices,
    make_person_name,
    make_uid,
    read_dicom_source,
    split_time,
)
from napari_medseg.core.tasks.clinical_codes import find_code

_CORNER_TO_CENTRE_PX = 0.5
MAX_STRUCTURES = 65535
"""As many as a DICOM segmentation numbers; 70,000 structures take five minutes to write."""
_DETACHED_STUDY = "1.2.840.10008.3.1.2.3.1"


def write_rtstruct(path: Path, labels: NDArray[Any], image: Image, described: LabelDescription) -> None:
    """Write the outlines of labels along the edges of their pixels; a channel without width leads to each hole.

    Points have at most 16 characters (DICOM), so they lie within 1e-6 mm or better of the edges.

    Parameters
    ----------
    path
        Ends in ``.dcm``.
    labels
        Integers of shape `image.spatial_shape`.
    image
        The series.
    described
        Gives names, colours and provenance.

    Raises
    ------
    MedSegError
        If the image is not from DICOM, has no place in the patient, its files are gone, or there are more than 65,535
        objects.
    """
    source = read_dicom_source(image, "a structure set")
    refuse_without_place(source, image)
    lying = np.ascontiguousarray(lay_in_slices(labels, image))
    segments = described.list_segments(labels)
    if len(segments) > MAX_STRUCTURES:
        raise MedSegError(
            f"{image.name} has {len(segments):,} objects, and a structure set is written with at most "
            f"{MAX_STRUCTURES:,}. Choose .mha, .nii.gz or .tif."
        )
    digest = hashlib.sha256(lying.data).hexdigest()
    seed = (source.first.SeriesInstanceUID, described.task.name, digest, described.provenance)
    built = _make_header(source, described, seed)
    contours = _list_contours(lying, source)
    built.ROIContourSequence = [
        _make_roi_contour(number, segment, contours.get(segment.value, []))
        for number, segment in enumerate(segments, start=1)
    ]
    frame = built.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID
    numbered = list(enumerate(segments, start=1))
    built.StructureSetROISequence = [_make_roi(number, segment, frame, described) for number, segment in numbered]
    built.RTROIObservationsSequence = [_make_observation(number, segment, described) for number, segment in numbered]
    with atomic_write(path) as temporary:
        built.save_as(temporary, enforce_file_format=True)


def refuse_without_place(source: DicomSource, image: Image) -> None:
    """Raise `MedSegError` if a series does not say where it lies: contours are points in the patient."""
    if source.slices is None:
        raise MedSegError(
            f"{image.name} does not say where it lies in the patient, and contours are points in the patient. "
            "Choose DICOM-SEG or .png."
        )


def _make_header(source: DicomSource, described: LabelDescription, seed: tuple[str, ...]) -> Dataset:
    built = Dataset()
    built.file_meta = FileMetaDataset()
    built.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    built.file_meta.MediaStorageSOPClassUID = built.SOPClassUID = RTStructureSetStorage
    built.file_meta.MediaStorageSOPInstanceUID = built.SOPInstanceUID = UID(make_uid("instance", *seed))
    source.copy_patient_and_study(built)
    built.SpecificCharacterSet = "ISO_IR 192"
    built.Modality = "RTSTRUCT"
    built.SeriesInstanceUID = make_uid("structures", *seed[:2])
    built.SeriesNumber, built.InstanceNumber = 9001, 1
    built.SeriesDescription = f"{described.task.title} {described.model}".strip()[:64]
    built.OperatorsName = ""
    built.Manufacturer = built.ManufacturerModelName = MANUFACTURER
    built.SoftwareVersions = version("napari-medseg")
    built.StructureSetLabel = described.task.name[:16]
    built.StructureSetDescription = described.provenance[:1024]
    built.StructureSetDate, built.StructureSetTime = split_time(described.accepted)
    built.InstanceCreationDate, built.InstanceCreationTime = built.StructureSetDate, built.StructureSetTime
    built.ApprovalStatus = "UNAPPROVED"
    made = make_uid("frame of reference", source.first.SeriesInstanceUID)
    frame = str(source.first.get("FrameOfReferenceUID") or made)
    built.FrameOfReferenceUID = frame
    built.PositionReferenceIndicator = ""
    built.ReferencedFrameOfReferenceSequence = [_refer_to_series(frame, source)]
    return built


def _refer_to_series(frame: str, source: DicomSource) -> Dataset:
    images = [_refer_to_slice(source, number) for number in range(max(len(source.datasets), len(source.frames)))]
    series = _make(SeriesInstanceUID=source.first.SeriesInstanceUID, ContourImageSequence=images)
    study = _make(
        ReferencedSOPClassUID=_DETACHED_STUDY,
        ReferencedSOPInstanceUID=source.first.StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    return _make(FrameOfReferenceUID=frame, RTReferencedStudySequence=[study])


def _refer_to_slice(source: DicomSource, number: int) -> Dataset:
    of = source.first if source.frames else source.datasets[number]
    one = _make(ReferencedSOPClassUID=of.SOPClassUID, ReferencedSOPInstanceUID=of.SOPInstanceUID)
    if source.frames:
        one.ReferencedFrameNumber = source.frames[number] + 1
    return one


def _list_contours(lying: NDArray[Any], source: DicomSource) -> dict[int, list[Dataset]]:
    """Return the contours of each value, slice by slice."""
    contours: dict[int, list[Dataset]] = {}
    for number, plane in enumerate(lying):
        for region in trace_regions(plane):
            of_value = contours.setdefault(region.value, [])
            of_value.append(_make_contour(join_holes(region), number, source))
    for of_value in contours.values():
        for index, contour in enumerate(of_value, start=1):
            contour.ContourNumber = index
    return contours


def _make_contour(ring: Ring, number: int, source: DicomSource) -> Dataset:
    assert source.slices is not None
    index = np.column_stack([np.full(len(ring), number), ring - _CORNER_TO_CENTRE_PX, np.ones(len(ring))])
    points = (index @ source.slices.T)[:, :3] + _find_slice_shift(source, number)
    return _make(
        ContourImageSequence=[_refer_to_slice(source, number)],
        ContourGeometricType="CLOSED_PLANAR",
        NumberOfContourPoints=len(ring),
        ContourData=[format_number_as_ds(float(value) + 0.0) for value in np.round(points, 9).ravel()],
    )


def _find_slice_shift(source: DicomSource, number: int) -> NDArray[np.float64]:
    """Return by how many mm a slice lies off the even grid of its series: contours belong on the slice itself."""
    assert source.slices is not None
    position = None if source.frames else source.datasets[number].get("ImagePositionPatient")
    even = source.slices[:3, 3] + number * source.slices[:3, 0]
    return np.zeros(3) if position is None else np.array(position, np.float64) - even


def _make_roi_contour(number: int, segment: Segment, contours: list[Dataset]) -> Dataset:
    made = _make(ROIDisplayColor=list(segment.rgb), ReferencedROINumber=number)
    if contours:
        made.ContourSequence = contours
    return made


def _make_roi(number: int, segment: Segment, frame: str, described: LabelDescription) -> Dataset:
    method = "MANUAL" if not described.model else "SEMIAUTOMATIC" if described.accepted else "AUTOMATIC"
    return _make(
        ROINumber=number,
        ReferencedFrameOfReferenceUID=frame,
        ROIName=segment.name[:64],
        ROIGenerationAlgorithm=method,
        ROIGenerationDescription=described.model[:64],
    )


def _make_observation(number: int, segment: Segment, described: LabelDescription) -> Dataset:
    kind = find_code(described.task, segment.label).kind
    code = _make(CodeValue=kind.value, CodingSchemeDesignator=kind.scheme, CodeMeaning=kind.meaning)
    return _make(
        ObservationNumber=number,
        ReferencedROINumber=number,
        ROIObservationLabel=str(segment.value),
        RTROIIdentificationCodeSequence=[code],
        RTROIInterpretedType="ORGAN",
        ROIInterpreter=make_person_name(described.reviewer),
    )


def _make(**attributes: object) -> Dataset:
    made = Dataset()
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made
