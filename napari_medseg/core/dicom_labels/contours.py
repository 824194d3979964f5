"""The contours of an RTSTRUCT file as labels on the slices of its series."""

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from napari_medseg.core.dicom_labels.labels_on_series import HALF, LabelsOnSeries
from napari_medseg.core.errors import HeaderMismatchError
from napari_medseg.core.outlines.pixel_runs import CORNER_TO_CENTRE_PX, iterate_polygon_runs


def draw_contours(lying: LabelsOnSeries, dataset: Dataset, names: Mapping[int, str], file_name: str) -> tuple[str, ...]:
    """Fill closed contours; of several contours of one region on a slice, inner ones are holes (exclusive or).

    Open contours and points enclose nothing: a remark for each region says how many of them are left out. `names` are
    those of the regions.

    Raises
    ------
    MedSegError
        If the image does not say where it lies, a contour lies in none of its slices, or regions overlap.
    """
    if lying.matrix is None:
        raise HeaderMismatchError(f"{file_name} holds points in the patient, but the image does not say where it lies.")
    to_index = np.linalg.inv(lying.matrix)
    n_slices, shape = lying.values.shape[0], (lying.values.shape[1], lying.values.shape[2])
    notes: list[str] = []
    for region in dataset.get("ROIContourSequence", ()):
        filled: dict[int, NDArray[np.bool_]] = {}
        number, contours = int(region.ReferencedROINumber), region.get("ContourSequence", ())
        closed = [contour for contour in contours if _get_kind(contour).startswith("CLOSED")]
        kinds = Counter(map(_get_kind, contours))
        if left_out := Counter({kind: n for kind, n in kinds.items() if not kind.startswith("CLOSED")}):
            notes.append(_describe_left_out(names.get(number) or f"region {number}", left_out, len(closed)))
        for contour in closed:
            points = np.array(contour.ContourData, np.float64).reshape(-1, 3)
            index = np.column_stack([points, np.ones(len(points))]) @ to_index.T
            page = int(np.rint(index[:, 0].mean()))
            if np.abs(index[:, 0] - page).max() > HALF or not 0 <= page < n_slices:
                raise HeaderMismatchError(f"{file_name} has a contour that lies in no slice of the series.")
            plane = filled.setdefault(page, np.zeros(shape, bool))
            for runs in iterate_polygon_runs([index[:, 1:3] + CORNER_TO_CENTRE_PX], shape):
                _toggle(plane, runs.iterate_pixels())
        for page, plane in filled.items():
            lying.fill((page,), plane, number, file_name)
    return tuple(notes)


def _get_kind(contour: Dataset) -> str:
    return str(contour.get("ContourGeometricType", "")) or "without a type"


def _describe_left_out(name: str, left_out: Counter[str], n_closed: int) -> str:
    n_all = left_out.total()
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(left_out.items()))
    whole = "so it has no voxel" if not n_closed else f"{n_closed} closed ones are read"
    these = "1 contour is" if n_all == 1 else f"{n_all} contours are"
    return f"{name}: {these} not closed and left out ({kinds}); {whole}"


def _toggle(plane: NDArray[np.bool_], pixels: Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]) -> None:
    inside = np.zeros_like(plane)
    for _, rows, columns in pixels:
        inside[rows, columns] = True
    plane ^= inside
