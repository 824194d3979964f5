"""The grid of an image as JSON text inside TIFF and PNG files, which have no standard tags for it.

With this text, files that this program wrote are read back on the same grid, whatever their axis order. It holds no
names: an exported file must not contain the patient's name.
"""

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.image import Image, StorageLayout
from napari_medseg.core.json_model import parse_json

GRID_KEY = "medseg"


@dataclass(frozen=True, eq=False)
class GridMetadata:
    """Spacing (mm) and 4x4 affine to RAS (mm) of the canonical pixels, their order in the file, unit and padding."""

    spacing_mm: tuple[float, ...] | None = None
    affine: NDArray[np.float64] | None = None
    storage: StorageLayout | None = None
    modality: str = ""
    units: str = ""
    padding_value: float | None = None


def make_grid_json(image: Image, storage: StorageLayout) -> str:
    """Return the grid of an image as JSON; its pixels are written in the order of `storage`."""
    return json.dumps(
        {
            "spacing_mm": None if image.spacing_mm is None else list(image.spacing_mm),
            "affine": None if image.affine is None else image.affine.tolist(),
            "permutation": list(storage.permutation),
            "flips": list(storage.flips),
            "modality": image.modality,
            "units": image.units,
            "padding_value": image.padding_value,
        }
    )


def parse_grid_json(text: str) -> GridMetadata:
    """Read the text of `make_grid_json`; return an empty grid for the text of another program.

    Raises
    ------
    ValueError, TypeError, LookupError
        If it is damaged.
    """
    if not text.startswith('{"spacing_mm"'):
        return GridMetadata()
    content: dict[str, Any] = parse_json(text)
    spacing, affine = content["spacing_mm"], content["affine"]
    permutation = tuple(int(axis) for axis in content["permutation"])
    flips = tuple(bool(flip) for flip in content["flips"])
    if sorted(permutation) != list(range(len(flips))):
        raise ValueError(f"invalid order of axes {permutation}")
    return GridMetadata(
        spacing_mm=None if spacing is None else tuple(float(value) for value in spacing),
        affine=None if affine is None else np.asarray(affine, dtype=np.float64).reshape(4, 4),
        storage=StorageLayout(permutation, flips),
        modality=str(content["modality"]),
        units=str(content["units"]),
        padding_value=None if content.get("padding_value") is None else float(content["padding_value"]),
    )


def apply_grid(image: Image, grid: GridMetadata) -> Image:
    """Return the image with the spacing, affine, modality and unit of a grid; an empty grid changes nothing."""
    n_spatial = len(image.spatial_axes)
    spacing = grid.spacing_mm if grid.spacing_mm is not None and len(grid.spacing_mm) == n_spatial else image.spacing_mm
    same_kind = bool(grid.units) and (grid.units == "rgb") == (image.units == "rgb")
    return replace(
        image,
        spacing_mm=spacing,
        affine=image.affine if grid.affine is None else grid.affine,
        modality=grid.modality or image.modality,
        units=grid.units if same_kind else image.units,
        padding_value=grid.padding_value,
    )
