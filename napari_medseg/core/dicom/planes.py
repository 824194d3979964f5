"""Place, orientation and pixel spacing of the planes of a DICOM file: the whole file, or one frame of several."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from napari_medseg.core.dicom.attributes import (
    get_dicom_number,
    get_dicom_text,
    get_dicom_vector,
    get_functional_group,
)
from napari_medseg.core.errors import MedSegError

ROUNDING_TOLERANCE = 0.02
"""How far direction cosines may be from perpendicular unit vectors: they are often written with two decimals."""

SAME_DIRECTION_TOLERANCE = 0.015
"""How far direction cosines of slices of one series may differ: rounding to two decimals makes steps of 0.01."""


@dataclass(frozen=True, eq=False)
class DicomPlane:
    """One plane of a DICOM file: the whole file, or one frame of an enhanced file.

    `position` (mm), `row_direction` (unit vector along a row) and `column_direction` are in DICOM patient coordinates
    (LPS: left, posterior, superior); `None` if the file does not give them. `spacing_mm` is (rows, columns);
    `thickness_mm` is 0 if it is unknown. `phase` holds what can tell phases of one series apart.
    """

    path: Path
    frame: int
    shape: tuple[int, int]
    position: NDArray[np.float64] | None
    row_direction: NDArray[np.float64] | None
    column_direction: NDArray[np.float64] | None
    spacing_mm: tuple[float, float] | None
    thickness_mm: float
    phase: tuple[str, ...]

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector along which slices are sorted: towards the head for axial slices of a supine patient."""
        assert self.row_direction is not None
        assert self.column_direction is not None
        return np.cross(self.row_direction, self.column_direction)

    def has_same_directions(self, other: "DicomPlane") -> bool:
        """Whether both planes are parallel and not turned in the plane, or none gives its directions."""
        mine, theirs = self._get_directions(), other._get_directions()
        if mine is None or theirs is None:
            return mine is None and theirs is None
        return bool(np.abs(mine - theirs).max() <= SAME_DIRECTION_TOLERANCE)

    def _get_directions(self) -> NDArray[np.float64] | None:
        if self.row_direction is None or self.column_direction is None:
            return None
        return np.concatenate([self.row_direction, self.column_direction])


def read_plane(path: Path, dataset: Dataset, frame: int) -> DicomPlane:
    """Read the geometry of one plane.

    Raises
    ------
    MedSegError
        If the directions are no perpendicular unit vectors, or the pixel spacing is not positive.
    """
    place = get_functional_group(dataset, frame, "PlanePositionSequence")
    turn = get_functional_group(dataset, frame, "PlaneOrientationSequence")
    measures = get_functional_group(dataset, frame, "PixelMeasuresSequence")
    position = get_dicom_vector(place, "ImagePositionPatient", 3)
    directions = get_dicom_vector(turn, "ImageOrientationPatient", 6)
    if directions is not None:
        directions = _make_perpendicular(directions, path.name)
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
        phase=(
            *(get_dicom_text(dataset, keyword) for keyword in _PHASE_KEYWORDS_OF_FILES),
            *(
                get_dicom_text(get_functional_group(dataset, frame, sequence), keyword)
                for sequence, keyword in _PHASE_KEYWORDS_OF_FRAMES
            ),
        ),
    )


_PHASE_KEYWORDS_OF_FILES = (
    "TemporalPositionIdentifier",
    "AcquisitionNumber",
    "EchoNumbers",
    "ImageType",
    "DiffusionBValue",
    "NominalPercentageOfCardiacPhase",
    "TriggerTime",
    "EchoTime",
    "InversionTime",
    "FlipAngle",
    "FrameReferenceTime",
    "KVP",
    "ContrastBolusAgent",
)
_PHASE_KEYWORDS_OF_FRAMES = (
    ("FrameContentSequence", "TemporalPositionIndex"),
    ("FrameContentSequence", "StackID"),
    ("FrameContentSequence", "FrameAcquisitionNumber"),
    ("MREchoSequence", "EffectiveEchoTime"),
    ("MRDiffusionSequence", "DiffusionBValue"),
    ("CardiacSynchronizationSequence", "NominalPercentageOfCardiacPhase"),
    ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
    ("RespiratorySynchronizationSequence", "NominalPercentageOfRespiratoryPhase"),
    ("MRImageFrameTypeSequence", "FrameType"),
    ("CTImageFrameTypeSequence", "FrameType"),
    ("PETFrameTypeSequence", "FrameType"),
    ("FrameContentSequence", "FrameAcquisitionDateTime"),
)
PHASE_KEYWORDS = (*_PHASE_KEYWORDS_OF_FILES, *(keyword for _, keyword in _PHASE_KEYWORDS_OF_FRAMES))
"""Attributes that can tell phases of one series apart, the most common first; of a file, then of one of its frames."""


def _make_perpendicular(directions: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Return directions as exactly perpendicular unit vectors; refuse what is more than a rounding away."""
    row, column = directions[:3], directions[3:]
    lengths = (float(np.linalg.norm(row)), float(np.linalg.norm(column)))
    if max(abs(length - 1) for length in lengths) > ROUNDING_TOLERANCE or abs(row @ column) > ROUNDING_TOLERANCE:
        raise MedSegError(
            f"{name} has an impossible orientation {np.round(directions, 4).tolist()}: two perpendicular unit vectors "
            "are expected. Export it again from the scanner or archive."
        )
    row = row / lengths[0]
    column = column - (row @ column) * row
    return np.concatenate([row, column / np.linalg.norm(column)])


def _read_pixel_spacing(dataset: Dataset, name: str) -> tuple[float, float] | None:
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        values = get_dicom_vector(dataset, keyword, 2)
        if values is None:
            continue
        if values.min() <= 0:
            raise MedSegError(f"{name} has pixel spacing {values.tolist()}; positive millimetres are expected.")
        return float(values[0]), float(values[1])
    return None
