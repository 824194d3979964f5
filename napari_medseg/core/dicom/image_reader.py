"""DICOM slices and series: sorted by position along the slice normal, in HU, with affine, in radiological order."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.dicom.headers import DicomHeader, DicomPlane, read_header
from napari_medseg.core.dicom.pixels import has_rescale, read_planes
from napari_medseg.core.errors import IrregularSlicesError, MedSegError
from napari_medseg.core.formats.decode_errors import refuse_unusable, translate_decode_errors
from napari_medseg.core.formats.discovery import DICOM_SUFFIXES, get_suffix
from napari_medseg.core.formats.orientation import (
    CanonicalGeometry,
    compute_canonical_geometry,
    compute_shear_degrees,
    make_identity_storage,
    reorient_to_canonical,
)
from napari_medseg.core.image import Image, StorageLayout

_POSITION_TOLERANCE = 0.02
_SHEAR_NOTE_DEGREES = 0.5
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# PatientOrientation of a projection: whether an axis that points to this direction is flipped in radiological view.
_PROJECTION_FLIPS = {"L": False, "R": True, "F": False, "H": True, "P": False, "A": True}

PlanesReader = Callable[[Path], list[NDArray[Any]]]
"""Returns the pixels of the planes of a file, like `core.dicom.pixels.read_planes`."""


def read_dicom(path: Path) -> Image:
    """Read one DICOM file: a slice, a projection, or all frames of an enhanced file.

    Raises
    ------
    MedSegError
        If it is damaged, holds no image, or its frames do not form a volume.
    """
    return read_series([path])


def read_series(paths: Sequence[Path]) -> Image:
    """Read the slices of one series into a volume.

    Parameters
    ----------
    paths
        Files in any order; slices are sorted by their positions.

    Raises
    ------
    MedSegError
        If no file is given, if the files belong to several series, or if slices have the same position.
    IrregularSlicesError
        If slices are missing or unevenly spaced. They do not form a volume, but each slice can be opened alone.
    """
    if not paths:
        raise MedSegError("no DICOM files were given; choose the files or the folder of one series.")
    read = [_read_header_and_planes(path) for path in dict.fromkeys(paths)]
    planes = {header.path: pixels for header, pixels in read}
    return _build_series([header for header, _ in read], planes.__getitem__)


def read_series_with_headers(headers: Sequence[DicomHeader]) -> Image:
    """Read the slices of one series whose headers were read before: only the pixels of each file are read.

    Raises
    ------
    MedSegError
        As `read_series`, or if a file changed since its header was read.
    """
    header_of = {header.path: header for header in headers}

    def read_planes_of(path: Path) -> list[NDArray[Any]]:
        with translate_decode_errors(path, "DICOM"), path.open("rb") as file:
            return read_planes(header_of[path], file)

    return _build_series(list(headers), read_planes_of)


def _read_header_and_planes(path: Path) -> tuple[DicomHeader, list[NDArray[Any]]]:
    with translate_decode_errors(path, "DICOM"), path.open("rb") as file:
        header = read_header(path, file)
        return header, read_planes(header, file)


def _build_series(headers: list[DicomHeader], get_planes: PlanesReader) -> Image:
    first = headers[0]
    if len(headers) == 1:
        name = first.path.stem if get_suffix(first.path) in DICOM_SUFFIXES else first.path.name
        return _build_image(headers, name, get_planes)
    if len({header.series_key for header in headers}) > 1:
        names = sorted({f"{header.description or 'series'} ({header.modality})" for header in headers})
        raise MedSegError(f"the files belong to several series: {', '.join(names)}. Open one series at a time.")
    name = " ".join(part for part in (first.patient, first.description) if part)
    return _build_image(_drop_duplicates(headers), name, get_planes)


def _drop_duplicates(headers: list[DicomHeader]) -> list[DicomHeader]:
    """Drop files that are copies of another: the same instance, saved twice."""
    seen: dict[str, DicomHeader] = {}
    for header in headers:
        seen.setdefault(header.instance or str(header.path), header)
    return list(seen.values())


def _build_image(headers: list[DicomHeader], name: str, get_planes: PlanesReader) -> Image:
    first = headers[0]
    planes = [plane for header in headers for plane in header.planes]
    layout: CanonicalGeometry | None = None
    order = list(range(len(planes)))
    if all(plane.position is not None for plane in planes):
        order = _sort_planes(planes, name)
        affine = _compute_affine([planes[n] for n in order], name)
        layout = compute_canonical_geometry(
            affine, (len(planes), *planes[0].shape), 0 if len(planes) == 1 else None, name
        )
    elif len(headers) > 1:
        raise IrregularSlicesError(f"{name} does not give the positions of its slices. Open them one by one.")
    planes = [planes[n] for n in order]
    pixels = _stack_pixels(planes, get_planes)
    units = _detect_units(pixels, len(planes), first)
    refuse_unusable(pixels, name)
    n_spatial = 2 if len(planes) == 1 else 3
    storage = layout.storage if layout else _make_projection_storage(first, n_spatial)
    sources = tuple(dict.fromkeys(plane.path for plane in planes))
    return Image(
        pixels=reorient_to_canonical(pixels, storage),
        axes=("YX" if n_spatial == 2 else "ZYX") + ("C" if units == "rgb" else ""),
        spacing_mm=layout.spacing_mm if layout else _get_plane_spacing(planes, storage),
        affine=layout.affine if layout else None,
        modality=first.modality,
        units=units,
        group=first.patient,
        name=name,
        series=first.series,
        sources=sources,
        storage=storage,
        notes=_make_notes(layout, n_spatial, units, first),
    )


def _sort_planes(planes: list[DicomPlane], name: str) -> list[int]:
    """Return the order of the planes along their normal; raise an error if they are not a regular stack."""
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
    uneven = np.flatnonzero(np.abs(steps - usual) > max(_POSITION_TOLERANCE * usual, 0.02))
    if uneven.size:
        n = int(uneven[0])
        raise IrregularSlicesError(
            f"{name}: slices are missing or unevenly spaced. From {planes[order[n]].path.name} to "
            f"{planes[order[n + 1]].path.name} the distance is {steps[n]:.2f} mm, elsewhere {usual:.2f} mm "
            f"({uneven.size} such gaps in {len(planes)} slices). Complete the series, or open its slices one by one."
        )
    straight = positions[order][0] + np.outer(np.linspace(0, 1, len(order)), positions[order][-1] - positions[order][0])
    if float(np.abs(positions[order] - straight).max()) > max(0.05, _POSITION_TOLERANCE * usual):
        raise IrregularSlicesError(f"{name}: the slice positions do not lie on a straight line. Open them one by one.")
    return order  # type: ignore[no-any-return]


def _compute_affine(planes: list[DicomPlane], name: str) -> NDArray[np.float64]:
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


def _stack_pixels(planes: list[DicomPlane], get_planes: PlanesReader) -> NDArray[Any]:
    """Pixels of the planes in order: (rows, columns) or (planes, rows, columns), plus a last axis for RGB."""
    stack: list[NDArray[Any]] = []
    for n, plane in enumerate(planes):
        if n == 0 or planes[n - 1].path != plane.path:
            of_file = get_planes(plane.path)
        stack.append(of_file[plane.frame])
    return np.stack(stack) if len(stack) > 1 else stack[0]


def _detect_units(pixels: NDArray[Any], n_planes: int, header: DicomHeader) -> str:
    if pixels.ndim == (4 if n_planes > 1 else 3):
        return "rgb"
    is_hu = header.modality == "CT" and not header.is_localizer and has_rescale(header.encoding.attributes)
    return "HU" if is_hu else "grey"


def _make_projection_storage(header: DicomHeader, n_spatial: int) -> StorageLayout:
    """Storage of a file without a position in the patient; PatientOrientation may still define the axes."""
    words = header.patient_orientation
    if n_spatial != 2 or len(words) != 2 or any(word[:1] not in _PROJECTION_FLIPS for word in words):
        return make_identity_storage(n_spatial)
    along_row, down_column = words[0][0], words[1][0]
    flip_row, flip_column = _PROJECTION_FLIPS[along_row], _PROJECTION_FLIPS[down_column]
    if along_row in "FH":
        return StorageLayout((1, 0), (flip_row, flip_column))
    return StorageLayout((0, 1), (flip_column, flip_row))


def _get_plane_spacing(planes: list[DicomPlane], storage: StorageLayout) -> tuple[float, ...] | None:
    spacing = planes[0].spacing_mm
    if spacing is None or len(planes) > 1:
        return None
    return (spacing[storage.permutation[0]], spacing[storage.permutation[1]])


def _make_notes(layout: CanonicalGeometry | None, n_spatial: int, units: str, header: DicomHeader) -> tuple[str, ...]:
    notes = []
    if layout is not None and n_spatial == 3 and (tilt := compute_shear_degrees(layout.affine)) > _SHEAR_NOTE_DEGREES:
        notes.append(f"The slices are shifted against each other (gantry tilt of {tilt:.1f} degrees).")
    if header.modality == "CT" and units == "grey":
        notes.append("The CT has no rescale to HU; the stored values are shown.")
    return tuple(notes)
