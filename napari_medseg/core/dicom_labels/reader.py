"""Read a DICOM-SEG or RTSTRUCT file as labels on the grid of its series.

Values are the numbers of the segments (SEG) or regions (RTSTRUCT); `read_dicom_label_names` says what they are called.
Nothing is resampled: an object on another grid is refused.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.filereader import read_partial
from pydicom.tag import Tag
from scipy import ndimage

from napari_medseg.core.decoded_size.header_length import refuse_long_header
from napari_medseg.core.decoded_size.limit import refuse_above_limit
from napari_medseg.core.decoded_size.sized_file import SizedFile
from napari_medseg.core.dicom.attributes import get_dicom_text
from napari_medseg.core.dicom.bare_files import looks_like_dataset
from napari_medseg.core.dicom.frame_size import refuse_large_inflation
from napari_medseg.core.dicom.pixels import decode_pixels
from napari_medseg.core.dicom_labels.contours import draw_contours
from napari_medseg.core.dicom_labels.lying_labels import LyingLabels, make_lying_labels
from napari_medseg.core.errors import GridMismatchError, HeaderMismatchError, MedSegError
from napari_medseg.core.formats.decode_errors import translate_decode_errors
from napari_medseg.core.formats.labels import format_size, get_png_tiff_storage
from napari_medseg.core.formats.orientation import reorient_to_canonical
from napari_medseg.core.image import Image

SEG, LABELMAP_SEG = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"
RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
LABEL_CLASSES = (SEG, LABELMAP_SEG, RTSTRUCT)
_HALF = 0.5
_SOP_CLASS = Tag("SOPClassUID")
_END = 1 << 32
"""Behind every tag: these objects have no part that is not parsed."""


def find_label_class(path: Path) -> str:
    """Return the SOP class of a DICOM file that holds labels; ``""`` for any other file."""
    try:
        with translate_decode_errors(path, "DICOM"), SizedFile(path) as file:
            start = file.peek(132)
            if start[128:132] != b"DICM" and not looks_like_dataset(start):
                return ""
            name = str(read_partial(file, lambda tag, *_: tag > _SOP_CLASS, force=True).get("SOPClassUID", ""))
    except (MedSegError, OSError):
        return ""
    return name if name in LABEL_CLASSES else ""


def read_dicom_label_names(path: Path) -> dict[int, str]:
    """Return the name of each value of the labels; errors as of `read_dicom_labels`."""
    with _open(path) as dataset:
        return _list_names(dataset)


def read_dicom_labels(path: Path, image: Image) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Read labels in canonical order on the grid of their series, and remarks about how they were read.

    Parameters
    ----------
    path
        A segmentation (binary, fractional: from a half on, or label map) or a structure set.
    image
        The series that it was drawn on.

    Raises
    ------
    MedSegError
        If it is damaged, is of another series, or segments overlap: a voxel has one label here.
    """
    with _open(path) as dataset:
        notes = _check_series(dataset, image, path.name)
        lying = make_lying_labels(image)
        lying.names = _list_names(dataset)
        if dataset.SOPClassUID == RTSTRUCT:
            notes = (*notes, *draw_contours(lying, dataset, path.name))
        else:
            notes = (*notes, *_draw_frames(lying, dataset, path))
    storage = get_png_tiff_storage(image)
    values = lying.values if len(storage.flips) == 3 else lying.values[0]
    return reorient_to_canonical(values, storage), notes


def read_referenced_series(path: Path) -> set[str]:
    """Return the SeriesInstanceUIDs that a file refers to; errors as of `read_dicom_labels`."""
    with _open(path) as dataset:
        return _find_series(dataset)


def read_own_values(path: Path) -> dict[int, int]:
    """Return the label value of each segment or region of a file of this program, which keeps it beside the number."""
    with _open(path) as dataset:
        if dataset.SOPClassUID == RTSTRUCT:
            regions = dataset.RTROIObservationsSequence
            return {int(one.ReferencedROINumber): int(one.ROIObservationLabel) for one in regions}
        return {int(one.SegmentNumber): int(one.TrackingID) for one in dataset.SegmentSequence}


def count_dicom_values(path: Path) -> dict[int, int]:
    """Return the number of voxels of each segment; of a structure set, whose voxels depend on the series, of contours.

    Errors are those of `read_dicom_labels`.
    """
    counts: Counter[int] = Counter()
    with _open(path) as dataset:
        if dataset.SOPClassUID == RTSTRUCT:
            for region in dataset.get("ROIContourSequence", ()):
                counts[int(region.ReferencedROINumber)] += len(region.get("ContourSequence", ()))
        else:
            for _, value, _, inside in _iterate_masks(dataset, path):
                counts[value] += int(inside.sum())
    return {value: count for value, count in sorted(counts.items()) if count}


@contextmanager
def _open(path: Path) -> Iterator[Dataset]:
    with translate_decode_errors(path, "DICOM labels"):
        with SizedFile(path) as file:
            refuse_long_header(file, path.stat().st_size, path.name, before=_END)
            refuse_large_inflation(path, file)
            dataset = dcmread(file, force=True)
        if str(dataset.get("SOPClassUID", "")) not in LABEL_CLASSES:
            raise MedSegError(f"{path.name} is neither a DICOM segmentation nor a structure set.")
        last = "RTROIObservationsSequence" if dataset.SOPClassUID == RTSTRUCT else "PixelData"
        if last not in dataset:
            raise MedSegError(f"{path.name} is truncated: it has no {last}. Copy or export it again.")
        yield dataset


def _list_names(dataset: Dataset) -> dict[int, str]:
    if dataset.SOPClassUID == RTSTRUCT:
        return {int(one.ROINumber): get_dicom_text(one, "ROIName") for one in dataset.StructureSetROISequence}
    return {
        int(one.SegmentNumber): get_dicom_text(one, "SegmentLabel")
        for one in dataset.SegmentSequence
        if one.SegmentNumber
    }


def _check_series(dataset: Dataset, image: Image, name: str) -> tuple[str, ...]:
    """Refuse an object of another series; a note if the image says nothing about its series."""
    series = _find_series(dataset)
    if series and image.series and image.series not in series:
        raise HeaderMismatchError(
            f"{name} was drawn on another series than {image.name}. Choose the series that it refers to."
        )
    return () if series and image.series else (f"it does not say that it belongs to {image.name}; only its place fits",)


def _find_series(dataset: Dataset) -> set[str]:
    found = {
        str(one.SeriesInstanceUID) for one in dataset.get("ReferencedSeriesSequence", ()) if "SeriesInstanceUID" in one
    }
    for frame in dataset.get("ReferencedFrameOfReferenceSequence", ()):
        for study in frame.get("RTReferencedStudySequence", ()):
            found |= {str(one.SeriesInstanceUID) for one in study.get("RTReferencedSeriesSequence", ())}
    return found


def _draw_frames(lying: LyingLabels, dataset: Dataset, path: Path) -> tuple[str, ...]:
    shape = (int(dataset.Rows), int(dataset.Columns))
    if shape != lying.values.shape[1:]:
        raise GridMismatchError(
            f"{path.name} has {format_size(shape)} pixels in a frame, but the series has "
            f"{format_size(lying.values.shape[1:])}. Choose the segmentation that was made on this series."
        )
    shared = dataset.get("SharedFunctionalGroupsSequence", [Dataset()])[0]
    page, last = 0, None
    for own, value, box, inside in _iterate_masks(dataset, path):
        if own is not last:
            page, last = _find_frame_place(lying, own, shared, path.name), own
        lying.fill((page, *box), inside, value, path.name)
    if get_dicom_text(dataset, "SegmentationType") != "FRACTIONAL":
        return ()
    return (f"its values are fractions; they count from a half of {dataset.MaximumFractionalValue} on",)


def _iterate_masks(dataset: Dataset, path: Path) -> Iterator[tuple[Dataset, int, tuple[slice, ...], NDArray[np.bool_]]]:
    """Yield the functional groups of each frame, a segment in it, a box of the frame, and where in it the segment is.

    A label map has up to 65,535 segments in a frame: each is looked for in its own box only.
    """
    rows, columns, n_frames = int(dataset.Rows), int(dataset.Columns), int(dataset.get("NumberOfFrames", 1))
    refuse_above_limit(rows * columns * n_frames * 2, path.stat().st_size, path.name)
    frames = decode_pixels(dataset, path.name).reshape(n_frames, rows, columns)
    shared = dataset.get("SharedFunctionalGroupsSequence", [Dataset()])[0]
    kind = get_dicom_text(dataset, "SegmentationType")
    threshold = _HALF * int(dataset.get("MaximumFractionalValue", 1)) if kind == "FRACTIONAL" else _HALF
    for frame, own in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        if kind == "LABELMAP":
            boxes = enumerate(ndimage.find_objects(frame), start=1)
            yield from ((own, value, box, frame[box] == value) for value, box in boxes if box is not None)
        else:
            group = _find_group(own, shared, "SegmentIdentificationSequence")
            yield own, int(group.ReferencedSegmentNumber), (), frame >= threshold


def _find_frame_place(lying: LyingLabels, own: Dataset, shared: Dataset, name: str) -> int:
    """Return the slice on which a frame lies, whose rows and columns must be those of the series."""
    if lying.matrix is None:
        return 0
    corner = np.array(_find_group(own, shared, "PlanePositionSequence").ImagePositionPatient, np.float64)
    directions = np.array(_find_group(own, shared, "PlaneOrientationSequence").ImageOrientationPatient, np.float64)
    spacing = [float(value) for value in _find_group(own, shared, "PixelMeasuresSequence").PixelSpacing]
    steps = np.stack([directions[3:] * spacing[0], directions[:3] * spacing[1]], axis=1)
    length = min(np.linalg.norm(lying.matrix[:3, 1]), np.linalg.norm(lying.matrix[:3, 2]))
    extent = max(lying.values.shape[1:])
    if np.abs(steps - lying.matrix[:3, 1:3]).max() * extent > max(_HALF * length, 1e-6):
        raise HeaderMismatchError(f"{name} has other directions or pixel sizes than the series. Export it on its grid.")
    page, row, column = lying.find_slice(corner, name)
    if (row, column) != (0, 0) or not 0 <= page < lying.values.shape[0]:
        raise HeaderMismatchError(f"{name} has a frame outside of the slices of the series. Choose its own series.")
    return page


def _find_group(own: Dataset, shared: Dataset, keyword: str) -> Dataset:
    group: Dataset = (own if Tag(keyword) in own else shared)[keyword][0]
    return group
