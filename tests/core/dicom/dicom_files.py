"""Real DICOM files of a small phantom, made by pydicom, for the tests beside this file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

AXIAL = (1, 0, 0, 0, 1, 0)
SERIES_UID = "1.2.826.0.1.3680043.8.498.1"
SPACING = (0.8, 0.7)
ORIENTATIONS: dict[str, Sequence[float]] = {
    "supine, head first": AXIAL,
    "prone": (-1, 0, 0, 0, -1, 0),
    "feet first": (-1, 0, 0, 0, 1, 0),
    "rows and columns exchanged": (0, 1, 0, 1, 0, 0),
    "coronal": (1, 0, 0, 0, 0, -1),
    "coronal from behind": (-1, 0, 0, 0, 0, -1),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "oblique": tuple(np.round([np.cos(0.3), np.sin(0.3), 0, -np.sin(0.3), np.cos(0.3), 0], 12)),
    "doubly oblique": (0.96, 0.0, 0.28, 0.0784, 0.96, -0.2688),
}


def dataset(
    pixels: NDArray[Any], position: Sequence[float] | None, orientation: Sequence[float], **changes: Any
) -> Dataset:
    """A CT slice: stored numbers, HU = stored - 1024."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    slice_ = Dataset()
    slice_.file_meta = meta
    slice_.SOPClassUID = CTImageStorage
    slice_.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    slice_.Modality = "CT"
    slice_.PatientID = "P7"
    slice_.StudyInstanceUID = "1.2.3"
    slice_.SeriesInstanceUID = SERIES_UID
    slice_.SeriesDescription = "phantom"
    if position is not None:
        slice_.ImagePositionPatient = [f"{value:.10g}" for value in position]
        slice_.ImageOrientationPatient = [f"{value:.10g}" for value in orientation]
    slice_.PixelSpacing = list(SPACING)
    slice_.SliceThickness = 2.5
    slice_.Rows, slice_.Columns = pixels.shape[:2]
    slice_.SamplesPerPixel = 1
    slice_.PhotometricInterpretation = "MONOCHROME2"
    slice_.BitsAllocated = pixels.dtype.itemsize * 8
    slice_.BitsStored = slice_.BitsAllocated
    slice_.HighBit = slice_.BitsAllocated - 1
    slice_.PixelRepresentation = int(pixels.dtype.kind == "i")
    slice_.RescaleSlope = 1
    slice_.RescaleIntercept = -1024
    slice_.PixelData = np.ascontiguousarray(pixels).tobytes()
    change(slice_, changes)
    meta.MediaStorageSOPClassUID = slice_.get("SOPClassUID", "")
    return slice_


def change(target: Dataset, changes: dict[str, Any]) -> None:
    """Set attributes; `None` removes one."""
    for keyword, value in changes.items():
        if value is None:
            delattr(target, keyword)
        else:
            setattr(target, keyword, value)


def item(**attributes: Any) -> list[Dataset]:
    """A sequence of one item."""
    one = Dataset()
    change(one, attributes)
    return [one]


def write_enhanced(path: Path, volume: NDArray[Any], order: Sequence[int] | None = None, **changes: Any) -> Path:
    """Write (slice, row, column) as one enhanced CT, 1.25 mm apart, with its frames in the given order.

    `frames` changes functional groups of single frames: a function of the slice that returns sequences.
    """
    order = list(range(len(volume))) if order is None else order
    frames = changes.pop("frames", lambda _: {})
    none = dict.fromkeys(
        ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept")
    )
    file = dataset(volume[0], (0, 0, 0), AXIAL, **none)
    file.SOPClassUID = file.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    file.NumberOfFrames = len(order)
    file.PixelData = volume[order].tobytes()
    file.SharedFunctionalGroupsSequence = item(
        PlaneOrientationSequence=item(ImageOrientationPatient=list(AXIAL)),
        PixelMeasuresSequence=item(PixelSpacing=list(SPACING)),
        PixelValueTransformationSequence=item(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU"),
    )
    file.PerFrameFunctionalGroupsSequence = [
        item(**{"PlanePositionSequence": item(ImagePositionPatient=[0, 0, 1.25 * n])} | frames(n))[0] for n in order
    ]
    change(file, changes)
    file.save_as(path, enforce_file_format=True)
    return path


def write_slice(path: Path, pixels: NDArray[Any], position: Sequence[float] | None = (0, 0, 0), **changes: Any) -> Path:
    """Write one axial slice."""
    orientation = changes.pop("orientation", AXIAL)
    dataset(pixels, position, orientation, **changes).save_as(path, enforce_file_format=True)
    return path


def write_series(
    folder: Path,
    volume: NDArray[Any],
    orientation: Sequence[float] = AXIAL,
    step: Sequence[float] | None = None,
    **changes: Any,
) -> list[Path]:
    """Write (slice, row, column) as files whose names are in no order; `step` is from slice to slice in mm."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, columns = np.array(orientation[:3], float), np.array(orientation[3:], float)
    step_mm = np.cross(rows, columns) * 2.5 if step is None else np.asarray(step, float)
    names = np.random.default_rng(3).permutation(len(volume))
    origin = np.array([-31.5, 12.25, 100.0])
    return [
        write_slice(folder / f"IM{name:04d}.dcm", plane, origin + n * step_mm, orientation=orientation, **changes)
        for n, (plane, name) in enumerate(zip(volume, names, strict=True))
    ]


def patient_position(
    paths: list[Path], index: tuple[int, int, int], step: NDArray[Any], orientation: Sequence[float]
) -> NDArray[Any]:
    """RAS millimetres of (slice, row, column), by the formula of DICOM PS3.3 C.7.6.2.1.1."""
    origin = np.array([-31.5, 12.25, 100.0])
    along_row, down_column = np.array(orientation[:3], float), np.array(orientation[3:], float)
    lps = origin + index[0] * step + index[1] * SPACING[0] * down_column + index[2] * SPACING[1] * along_row
    return lps * [-1, -1, 1]


def noise(shape: Sequence[int], seed: int = 0) -> NDArray[np.uint16]:
    """Stored numbers of a CT: 0 to 2000, no two voxels in a row alike."""
    return np.random.default_rng(seed).integers(0, 2000, tuple(shape)).astype(np.uint16)
