"""Images and labels of odd shapes, for tests of what is written; and centroids in the patient."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from dicom_files import AXIAL, ORIENTATIONS, noise, write_series, write_slice
from numpy.typing import NDArray

from napari_medseg.core import formats
from napari_medseg.core.image import Image
from napari_medseg.core.label_files.description import LabelDescription
from napari_medseg.core.tasks.bundled_tasks import get_task

LUNGS = LabelDescription(get_task("lungs"), "lungs-unet@4", "Anna", "2026-05-04T03:02:01+00:00", "case.png")
NUCLEI = LabelDescription(get_task("nuclei"), "", "", "", "slide.png")
TILTED = (0.0, -2.5 * np.sin(np.radians(12)), 2.5 * np.cos(np.radians(12)))


def series(shape: tuple[int, ...], orientation: Any = AXIAL, **options: Any) -> Callable[[Path], Image]:
    def make(folder: Path) -> Image:
        write_series(folder / "series", noise(shape), orientation, FrameOfReferenceUID="1.2.9", **options)
        return formats.read(folder / "series")

    return make


def one_slice(folder: Path) -> Image:
    folder.mkdir(exist_ok=True)
    write_slice(folder / "slice.dcm", noise((6, 9)), (1.5, -2.25, 30), FrameOfReferenceUID="1.2.9")
    return formats.read(folder / "slice.dcm")


SERIES: dict[str, Callable[[Path], Image]] = {
    "axial": series((4, 5, 7)),
    "upside down": series((3, 5, 7), AXIAL, step=(0, 0, -2.5)),
    "feet first prone": series((3, 5, 7), ORIENTATIONS["prone"]),
    "sagittal": series((4, 6, 5), (0, 1, 0, 0, 0, -1)),
    "coronal": series((4, 6, 5), (1, 0, 0, 0, 0, -1)),
    "oblique": series((4, 6, 5), ORIENTATIONS["doubly oblique"]),
    "anisotropic": series((3, 8, 6), AXIAL, step=(0, 0, 11.3)),
    "one row": series((3, 1, 9)),
    "one column": series((3, 9, 1)),
    "one slice": one_slice,
}


def draw(image: Image) -> NDArray[np.uint8]:
    """Two labels, without symmetry, one of them with a hole where there is room."""
    labels = np.zeros(image.spatial_shape, np.uint8)
    places = np.argwhere(np.ones(image.spatial_shape, bool))
    labels[tuple(places[:: max(2, len(places) // 9)].T)] = 2
    labels[tuple(slice(0, max(1, n - 2)) for n in image.spatial_shape)] = 1
    if min(image.spatial_shape[-2:]) > 4:
        labels[..., 1, 1] = 0
    return labels


def list_centroids(labels: NDArray[Any], affine: NDArray[np.float64]) -> dict[int, NDArray[np.float64]]:
    """RAS millimetres of the centroid of each label."""
    found = {}
    for value in np.unique(labels[labels > 0]).tolist():
        index = np.argwhere(labels == value).mean(axis=0)
        found[value] = (affine @ [*[0.0] * (3 - len(index)), *index, 1.0])[:3]
    return found
