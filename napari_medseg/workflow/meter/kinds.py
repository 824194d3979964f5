"""Kinds of images: how long a case takes is compared and forecast within a kind only."""

from napari_medseg.core.project.case_history import WaitingCase
from napari_medseg.core.records import Case

LARGE_IMAGE_PIXELS = 4_000_000
SLICES_OF_KINDS = (50, 200)


def describe_kind(case: Case | WaitingCase) -> str:
    """Return the kind of an image by its size: seconds per case are compared within a kind only."""
    if not case.axes.startswith("Z"):
        height, width = case.spatial_shape[-2:]
        return "large images" if height * width > LARGE_IMAGE_PIXELS else "images"
    few, many = SLICES_OF_KINDS
    if case.shape[0] < few:
        return f"volumes under {few} slices"
    return f"volumes of {few} to {many - 1} slices" if case.shape[0] < many else f"volumes of {many} slices or more"
