"""The review region as a napari Shapes layer: conversion from and to outlines."""

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image as ImageLayer
from napari.layers import Shapes
from napari.utils.colormaps import Colormap
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.project.review_region import RegionOutline, ReviewRegion
from napari_medseg.core.records import Case
from napari_medseg.plugin.layers import METADATA_KEY, get_spatial_arguments

if TYPE_CHECKING:
    from napari import Viewer

EDGE_COLOUR = "#0072B2"  # Okabe-Ito blue: visible on black and on stained tissue, and not used for labels
FILL_COLOUR = "transparent"  # does not change the colours of image and labels
EDGE_WIDTH_FRACTION = 1 / 200
OUTLINE_KINDS = {"rectangle": "polygon", "polygon": "polygon", "ellipse": "ellipse"}
CORNER_DECIMALS = 2
DIMMED_OPACITY = 0.55


def add_review_region(viewer: "Viewer", region: ReviewRegion, beside: ImageLayer, case: Case) -> Shapes:
    """Add an editable layer with the outlines of a region, on the grid of an image layer."""
    edge_width = max(1, round(max(beside.data.shape[beside.ndim - 2 : beside.ndim]) * EDGE_WIDTH_FRACTION))
    layer = viewer.add_shapes(
        [_make_corners(outline, beside.ndim) for outline in region.outlines] or None,
        ndim=beside.ndim,
        shape_type=[outline.kind for outline in region.outlines] or "rectangle",
        edge_color=EDGE_COLOUR,
        edge_width=edge_width,
        face_color=FILL_COLOUR,
        opacity=1.0,
        name=f"reviewed area: {case.name}",
        metadata={METADATA_KEY: {"case": case.id}},
        **get_spatial_arguments(beside),
    )
    # New shapes get the same style as the existing ones.
    layer.current_edge_color, layer.current_face_color = EDGE_COLOUR, FILL_COLOUR
    layer.current_edge_width = edge_width
    return layer


def add_dimming(
    viewer: "Viewer", region: ReviewRegion, beside: ImageLayer, case: Case, shape: tuple[int, ...]
) -> ImageLayer:
    """Add a layer that darkens what was not reviewed; what was reviewed stays plain.

    `shape` is that of the labels, (y, x) or (z, y, x).
    """
    return viewer.add_image(
        compute_dimming(region, shape),
        name=f"not reviewed: {case.name}",
        colormap=Colormap([[0, 0, 0, 0], [0, 0, 0, 1]], name="dimmed"),
        contrast_limits=(0, 1),
        opacity=DIMMED_OPACITY,
        blending="translucent_no_depth",
        interpolation2d="nearest",
        metadata={METADATA_KEY: {"case": case.id}},
        **get_spatial_arguments(beside),
    )


def compute_dimming(region: ReviewRegion, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return 1 for each voxel that was not reviewed, else 0."""
    return (~region.compute_mask(shape)).astype(np.uint8)


def read_review_region(layer: Shapes) -> ReviewRegion:
    """Return the region drawn in a layer. Lines are ignored because they have no area.

    Raises
    ------
    MedSegError
        If an outline crosses several slices of a volume.
    """
    drawn = zip(layer.data, layer.shape_type, strict=True)
    return ReviewRegion(
        outlines=tuple(_make_outline(corners, OUTLINE_KINDS[kind]) for corners, kind in drawn if kind in OUTLINE_KINDS)
    )


def get_shown_plane(viewer: "Viewer", image_layer: ImageLayer) -> int:
    """Return the index of the displayed slice of a volume."""
    place = float(image_layer.world_to_data(viewer.dims.point[-image_layer.ndim :])[0])
    return int(np.clip(round(place), 0, image_layer.data.shape[0] - 1))


def activate_drawing_tool(viewer: "Viewer", layer: Shapes, tool: str) -> None:
    """Select the layer and activate one of its tools."""
    viewer.layers.selection.active = layer
    layer.selected_data = set()
    layer.mode = tool


def _make_corners(outline: RegionOutline, ndim: int) -> NDArray[np.float64]:
    corners = np.array(outline.corners, np.float64)
    return corners if ndim == 2 else np.insert(corners, 0, outline.plane, axis=1)


def _make_outline(corners: NDArray[Any], kind: Any) -> RegionOutline:  # noqa: ANN401 - one of the kinds of an outline
    planes = np.unique(corners[:, 0].round()) if corners.shape[1] > len("YX") else np.zeros(1)
    if len(planes) > 1:
        raise MedSegError(
            "the outline lies across slices and was ignored. Switch the view back to the slices, then draw it again."
        )
    drawn = corners[:, -2:].astype(float).round(CORNER_DECIMALS).tolist()
    return RegionOutline(corners=tuple((y, x) for y, x in drawn), kind=kind, plane=int(planes[0]))
