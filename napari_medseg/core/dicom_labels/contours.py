"""Contours of a structure set as pixels of the slices on which they lie."""

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from napari_medseg.core.dicom_labels.lying_labels import LyingLabels
from napari_medseg.core.errors import HeaderMismatchError
from napari_medseg.core.outlines.pixel_runs import CORNER_TO_CENTRE_PX, iterate_polygon_runs

_CONTOUR_DATA = Tag("ContourData")
_HALF = 0.5


def draw_contours(lying: LyingLabels, dataset: Dataset, name: str) -> tuple[str, ...]:
    """Fill closed contours; of several contours of one region on a slice, inner ones are holes (exclusive or).

    Returns
    -------
    tuple of str
        A remark for each region with points or open lines, which enclose nothing: how many are left out.

    Raises
    ------
    MedSegError
        If a contour lies in no slice, or regions overlap.
    """
    if lying.matrix is None:
        raise HeaderMismatchError(f"{name} holds points in the patient, but the image does not say where it lies.")
    notes: list[str] = []
    for region in dataset.get("ROIContourSequence", ()):
        number, contours = int(region.ReferencedROINumber), region.get("ContourSequence", ())
        closed = [contour for contour in contours if _get_kind(contour).startswith("CLOSED")]
        for page, plane in _fill_slices(lying, closed, name).items():
            lying.fill((page,), plane, number, name)
        if left_out := Counter(kind for kind in map(_get_kind, contours) if not kind.startswith("CLOSED")):
            notes.append(_describe_left_out(lying.names.get(number) or f"region {number}", left_out, len(closed)))
    return tuple(notes)


def _fill_slices(lying: LyingLabels, closed: Iterable[Dataset], name: str) -> dict[int, NDArray[np.bool_]]:
    """Return the pixels inside the contours of one region, by the slice on which they lie."""
    assert lying.matrix is not None
    to_index = np.linalg.inv(lying.matrix)
    n_slices, shape = lying.values.shape[0], (lying.values.shape[1], lying.values.shape[2])
    filled: dict[int, NDArray[np.bool_]] = {}
    for contour in closed:
        points = _read_points(contour)
        index = np.column_stack([points, np.ones(len(points))]) @ to_index.T
        page = int(np.rint(index[:, 0].mean()))
        if np.abs(index[:, 0] - page).max() > _HALF or not 0 <= page < n_slices:
            raise HeaderMismatchError(f"{name} has a contour that lies in no slice of the series.")
        plane = filled.setdefault(page, np.zeros(shape, bool))
        for runs in iterate_polygon_runs([index[:, 1:3] + CORNER_TO_CENTRE_PX], shape):
            _toggle(plane, runs.iterate_pixels())
    return filled


def _get_kind(contour: Dataset) -> str:
    return str(contour.get("ContourGeometricType", "")) or "without a type"


def _describe_left_out(name: str, left_out: Counter[str], n_closed: int) -> str:
    n_all = left_out.total()
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(left_out.items()))
    whole = "so it has no voxel" if not n_closed else f"{n_closed:,} closed ones are read"
    these = "1 contour is" if n_all == 1 else f"{n_all:,} contours are"
    return f"{name}: {these} not closed and left out ({kinds}); {whole}"


def _read_points(contour: Dataset) -> NDArray[np.float64]:
    """Return the points of a contour in LPS millimetres, (points, 3).

    They are read from the bytes: pydicom makes an object of each number, which takes seconds for a million.
    """
    element = contour.get_item(_CONTOUR_DATA)
    text = element.value if isinstance(element, RawDataElement) else None
    numbers = contour.ContourData if text is None else (text or b"").rstrip(b"\0 ").split(b"\\")
    points = np.array(numbers, dtype="S" if text is not None else np.float64).astype(np.float64).reshape(-1, 3)
    if not np.isfinite(points).all():
        raise ValueError("a contour has points that are no numbers")
    return points


def _toggle(plane: NDArray[np.bool_], pixels: Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]) -> None:
    inside = np.zeros_like(plane)
    for _, rows, columns in pixels:
        inside[rows, columns] = True
    plane ^= inside
