"""DICOM segmentations (SEG) of a series, written with highdicom."""

import copy
import hashlib
import warnings
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from napari_medseg.core.atomic_io import atomic_write
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
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
from napari_medseg.core.tasks.clinical_codes import Code, find_code

MAX_SEGMENTS = 65535
MIN_PIXELS = 8
"""highdicom 0.28 packs frames that are shorter than a byte at a wrong place."""
_SERIES_NUMBER = 9000
_INSTALL = 'DICOM segmentations need highdicom, which is not installed: pip install "napari-medseg[highdicom]".'


def write_dicom_seg(path: Path, labels: NDArray[Any], image: Image, described: LabelDescription) -> None:
    """Write a binary segmentation that refers to the slices of its series, with the patient and study of the series.

    Each label with a voxel is a segment with its code, colour, and the model and person that made it; of a task with
    numbered objects each object is one. Its TrackingID is its value. Empty slices are left out.

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
        If highdicom is missing, the image is not from DICOM, its files are gone, there is no label, or there are more
        than 65,535 objects.
    """
    highdicom = _import_highdicom()
    segments = _list_segments(labels, image, described)
    source = read_dicom_source(image, "a DICOM segmentation")
    planes = _number_planes(lay_in_slices(labels, image), segments)
    if source.frames:
        planes = _sort_as_frames(planes, source)
    digest = hashlib.sha256(np.ascontiguousarray(planes).data).hexdigest()
    key = (source.first.SeriesInstanceUID, described.task.name)
    seed = (*key, digest, described.provenance)
    descriptions = [
        _describe(highdicom, number, segment, described, key) for number, segment in enumerate(segments, start=1)
    ]
    with warnings.catch_warnings():  # names without a comma are common, and the warning prints the patient's
        warnings.filterwarnings("ignore", message=".*is unlikely to represent the intended person name")
        built = highdicom.seg.Segmentation(
            source_images=[_complete(dataset) for dataset in source.datasets],
            pixel_array=planes,
            segmentation_type="BINARY",
            segment_descriptions=descriptions,
            series_instance_uid=make_uid("series", *key),
            series_number=_SERIES_NUMBER,
            sop_instance_uid=make_uid("instance", *seed),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MANUFACTURER,
            software_versions=version("napari-medseg"),
            device_serial_number="0",
            content_description=described.task.title[:64],
            content_creator_name=make_person_name(described.reviewer) or None,
            content_label="SEGMENTATION",
            series_description=f"{described.task.title} {described.model}".strip()[:64],
        )
    _fix_times_and_uids(built, described, seed)
    with atomic_write(path) as temporary:
        built.save_as(temporary, enforce_file_format=True)


def _list_segments(labels: NDArray[Any], image: Image, described: LabelDescription) -> list[Segment]:
    segments = described.list_segments(labels, only_present=True)
    if not segments:
        raise MedSegError(
            f"{image.name} has no label, and a DICOM segmentation has at least one segment. Leave it out."
        )
    if len(segments) > MAX_SEGMENTS:
        raise MedSegError(
            f"{image.name} has {len(segments):,} objects, and a DICOM segmentation numbers {MAX_SEGMENTS:,}. "
            "Choose .mha, .nii.gz or .tif."
        )
    if labels.size // len(lay_in_slices(labels, image)) < MIN_PIXELS:
        raise MedSegError(f"{image.name} has slices of fewer than {MIN_PIXELS} pixels. Choose .mha or .nii.gz.")
    return segments


def _import_highdicom() -> ModuleType:
    try:
        import highdicom
    except ImportError as error:
        raise MedSegError(_INSTALL) from error
    module: ModuleType = highdicom
    return module


def _number_planes(planes: NDArray[Any], segments: list[Segment]) -> NDArray[np.unsignedinteger[Any]]:
    """Return the number of the segment, from 1, in place of its value."""
    values = np.array([segment.value for segment in segments], np.int64)
    numbers = np.searchsorted(values, planes.astype(np.int64)) + 1
    dtype = np.uint8 if len(segments) < np.iinfo(np.uint8).max else np.uint16
    return np.where(planes > 0, numbers, 0).astype(dtype)


def _sort_as_frames(planes: NDArray[Any], source: DicomSource) -> NDArray[Any]:
    """Return the planes in the order of the frames of one file."""
    n_frames = int(source.first.NumberOfFrames)
    in_file = np.zeros((n_frames, *planes.shape[1:]), planes.dtype)
    in_file[list(source.frames)] = planes
    return in_file


def _complete(dataset: Dataset) -> Dataset:
    """Return a header with the attributes that highdicom asks for and old files lack."""
    whole = copy.copy(dataset)
    for keyword in ("PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"):
        if keyword not in whole:
            setattr(whole, keyword, "")
    for keyword in ("PatientID", "AccessionNumber", "ReferringPhysicianName"):
        if keyword not in whole:
            setattr(whole, keyword, "")
    if not whole.get("FrameOfReferenceUID"):
        whole.FrameOfReferenceUID = make_uid("frame of reference", whole.SeriesInstanceUID)
    return whole


def _describe(
    highdicom: ModuleType, number: int, segment: Segment, described: LabelDescription, key: tuple[str, str]
) -> Dataset:
    code = find_code(described.task, segment.label)
    method = "MANUAL" if not described.model else "SEMIAUTOMATIC" if described.accepted else "AUTOMATIC"
    algorithm = None
    if described.model:
        family = highdicom.sr.CodedConcept("123110", "DCM", "Artificial Intelligence")
        name, _, number_of_version = described.model.partition("@")
        algorithm = highdicom.AlgorithmIdentificationSequence(name[:64], family, (number_of_version or "1")[:64])
    item: Dataset = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment.name[:64],
        segmented_property_category=_make_concept(highdicom, code.category),
        segmented_property_type=_make_concept(highdicom, code.kind),
        algorithm_type=method,
        algorithm_identification=algorithm,
        tracking_uid=make_uid("segment", *key, segment.value),
        tracking_id=str(segment.value),
        display_color=highdicom.color.CIELabColor.from_rgb(*segment.rgb),
    )
    if code.side is not None:
        kind = item.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = [_make_concept(highdicom, code.side)]
    return item


def _make_concept(highdicom: ModuleType, code: Code) -> Dataset:
    concept: Dataset = highdicom.sr.CodedConcept(code.value, code.scheme, code.meaning)
    return concept


def _fix_times_and_uids(built: Dataset, described: LabelDescription, seed: tuple[str, ...]) -> None:
    """Replace the time of writing by that of the acceptance, and random UIDs: writing twice changes nothing."""
    date, time = split_time(described.accepted)
    for keyword in ("ContentDate", "InstanceCreationDate", "SeriesDate"):
        if keyword in built:
            setattr(built, keyword, date)
    for keyword in ("ContentTime", "InstanceCreationTime", "SeriesTime"):
        if keyword in built:
            setattr(built, keyword, time)
    for item in built.get("ContributingEquipmentSequence", ()):
        item.ContributionDateTime = date + time
    organization = make_uid("dimensions", *seed)
    for item in (*built.get("DimensionOrganizationSequence", ()), *built.get("DimensionIndexSequence", ())):
        item.DimensionOrganizationUID = organization
