"""The geometry of a stack of DICOM planes: order, affine, and the order of pixels of a projection."""

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.dicom.headers import DicomHeader
from napari_medseg.core.dicom.planes import DicomPlane
from napari_medseg.core.errors import IrregularSlicesError, MedSegError
from napari_medseg.core.formats.orientation import make_identity_storage
from napari_medseg.core.image import StorageLayout

_POSITION_TOLERANCE = 0.02
MAX_UNEVEN = 0.2
"""Share of the slice distance by which gaps may differ from it, and slices may lie off an even grid: nothing is
missing then, and a voxel is drawn by less than a fifth of a slice from where it lies."""
_EVEN_MM = 0.02
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# PatientOrientation of a projection: whether an axis that points to this direction is flipped in radiological view.
_PROJECTION_FLIPS = {"L": False, "R": True, "F": False, "H": True, "P": False, "A": True}


def sort_planes(planes: list[DicomPlane], name: str) -> list[int]:
    """Return the order of the planes along their normal.

    Raises
    ------
    MedSegError
        If they have several orientations, or several planes have the same position.
    IrregularSlicesError
        If they are not a regular stack.
    """
    if not all(plane.has_same_directions(planes[0]) for plane in planes):
        raise MedSegError(
            f"{name} holds planes of several orientations, which are no single volume. "
            "Export each orientation as a series of its own."
        )
    positions = np.array([plane.position for plane in planes])
    along = positions @ planes[0].normal
    order = np.argsort(along, kind="stable").tolist()
    if len(planes) == 1:
        return order  # type: ignore[no-any-return]
    steps = np.diff(along[order])
    usual = float(np.median(steps))
    if (doubled := np.flatnonzero(steps < _POSITION_TOLERANCE * max(usual, 0.1))).size:
        places = ", ".join(planes[order[n]].path.name for n in doubled[:3])
        raise MedSegError(
            f"{name} has {doubled.size} positions with more than one slice (at {places}): several phases or copies. "
            "Open one phase at a time."
        )
    uneven = np.flatnonzero(np.abs(steps - usual) > max(MAX_UNEVEN * usual, _EVEN_MM))
    if uneven.size:
        n = int(uneven[0])
        raise IrregularSlicesError(
            f"{name}: slices are missing or unevenly spaced. From {planes[order[n]].path.name} to "
            f"{planes[order[n + 1]].path.name} the distance is {steps[n]:.2f} mm, elsewhere {usual:.2f} mm "
            f"({uneven.size} such gaps in {len(planes)} slices). Complete the series, or open its slices one by one."
        )
    _refuse_bent_stack(positions[order], planes[0].normal, usual, name)
    return order  # type: ignore[no-any-return]


def _refuse_bent_stack(positions: NDArray[np.float64], normal: NDArray[np.float64], usual: float, name: str) -> None:
    """Refuse slices off the straight line from the first to the last one, or too far from their even places on it."""
    off = positions - _compute_even_positions(positions)
    along = np.abs(off @ normal)
    aside = np.abs(off - np.outer(off @ normal, normal)).max()
    shift = (positions[-1] - positions[0]) / (len(positions) - 1)
    sheared = np.linalg.norm(shift - (shift @ normal) * normal) / usual  # uneven gaps shift slices of a tilt, too
    if float(aside) > max(0.05, _POSITION_TOLERANCE * usual) + sheared * float(along.max()):
        raise IrregularSlicesError(f"{name}: the slice positions do not lie on a straight line. Open them one by one.")
    if float(along.max()) > max(MAX_UNEVEN * usual, _EVEN_MM):
        raise IrregularSlicesError(
            f"{name}: the gaps between slices grow or shrink through the series; slice {int(along.argmax()) + 1} lies "
            f"{along.max():.2f} mm from its place on an even grid. Open its slices one by one."
        )


def _compute_even_positions(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    places: NDArray[np.float64] = positions[0] + np.outer(
        np.linspace(0, 1, len(positions)), positions[-1] - positions[0]
    )
    return places


def measure_unevenness(planes: list[DicomPlane]) -> tuple[str, float]:
    """Return a remark about uneven gaps between sorted planes, and by how many mm a slice lies off its even place.

    Returns
    -------
    tuple of str and float
        ``""`` and the distance if the gaps are even to a fiftieth.
    """
    if len(planes) < 3 or any(plane.position is None for plane in planes):
        return "", 0.0
    positions = np.array([plane.position for plane in planes])
    steps = np.diff(positions @ planes[0].normal)
    off = float(np.linalg.norm(positions - _compute_even_positions(positions), axis=1).max())
    if float(np.abs(steps - np.median(steps)).max()) <= max(_POSITION_TOLERANCE * float(np.median(steps)), _EVEN_MM):
        return "", off
    return (
        f"The slices are {steps.min():.2f} to {steps.max():.2f} mm apart; they are shown {steps.mean():.2f} mm apart, "
        f"so that a slice lies at most {off:.2f} mm from its place.",
        off,
    )


def compute_affine(planes: list[DicomPlane], name: str) -> NDArray[np.float64]:
    """Return the 4x4 matrix from index (slice, row, column, 1) to RAS millimetres."""
    first, last = planes[0], planes[-1]
    assert first.position is not None
    assert last.position is not None
    assert first.row_direction is not None
    assert first.column_direction is not None
    if first.spacing_mm is None or any(
        plane.spacing_mm is None or not np.allclose(plane.spacing_mm, first.spacing_mm, rtol=1e-4) for plane in planes
    ):
        raise IrregularSlicesError(
            f"{name} has slices with no pixel spacing, or with different ones. Open them one by one."
        )
    matrix = np.eye(4)
    if len(planes) > 1:
        matrix[:3, 0] = (last.position - first.position) / (len(planes) - 1)
    else:
        matrix[:3, 0] = first.normal * (first.thickness_mm or 1.0)
    matrix[:3, 1] = first.column_direction * first.spacing_mm[0]
    matrix[:3, 2] = first.row_direction * first.spacing_mm[1]
    matrix[:3, 3] = first.position
    return _LPS_TO_RAS @ matrix + 0.0


def make_projection_storage(header: DicomHeader, n_spatial: int) -> StorageLayout:
    """Storage of a file without a position in the patient; PatientOrientation may still define the axes."""
    words = header.patient_orientation
    if n_spatial != 2 or len(words) != 2 or any(word[:1] not in _PROJECTION_FLIPS for word in words):
        return make_identity_storage(n_spatial)
    along_row, down_column = words[0][0], words[1][0]
    flip_row, flip_column = _PROJECTION_FLIPS[along_row], _PROJECTION_FLIPS[down_column]
    if along_row in "FH":
        return StorageLayout((1, 0), (flip_row, flip_column))
    return StorageLayout((0, 1), (flip_column, flip_row))


def get_plane_spacing(planes: list[DicomPlane], storage: StorageLayout) -> tuple[float, ...] | None:
    """Return the pixel spacing of one plane in mm per canonical axis; `None` if it is unknown, or for a stack."""
    spacing = planes[0].spacing_mm
    if spacing is None or len(planes) > 1:
        return None
    return (spacing[storage.permutation[0]], spacing[storage.permutation[1]])
