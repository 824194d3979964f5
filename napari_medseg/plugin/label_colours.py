"""Look of labels: colours, which are fixed by the task or cyclic for numbered objects; contours; uncertainty map."""

from collections.abc import Sequence
from colorsys import hsv_to_rgb

from napari.utils.colormaps import Colormap, CyclicLabelColormap, DirectLabelColormap

from napari_medseg.core.tasks.bundled_tasks import Task

LABEL_OPACITY = 0.45
OBJECT_OPACITY = 0.3
"""Of many filled objects: what is under them decides where one ends."""
CONTOUR_PX = 2
SMALL_PLANE_PX = 600
"""On a smaller plane, whose pixels are shown large, contours are thinner."""
MAX_CONTOURED_PX = 2_000_000
"""Planes with more pixels are filled at first."""
UNKNOWN_LABEL_COLOUR = "#FF00FF"
N_COLOURS = 24
# Hues from orange to blue, ordered so that neighbours differ. Purple is excluded: invisible on stained tissue.
HUES = tuple(0.06 + 0.48 * (7 * number % N_COLOURS) / N_COLOURS for number in range(N_COLOURS))
OBJECT_COLOURS = tuple((*hsv_to_rgb(hue, 0.95, 1.0 - 0.3 * (number % 2)), 1.0) for number, hue in enumerate(HUES))

UNCERTAINTY_RAMP = {0.0: "#FFE00000", 0.08: "#FFE00000", 0.3: "#FFE000B0", 0.65: "#FF3000E0", 1.0: "#6A0000FF"}
"""Clear where the model is sure, then yellow, red, dark red: some part of it differs from any image, bright or dark."""


def make_uncertainty_colormap() -> Colormap:
    """Return the colours of the uncertainty map, for values from 0 to 1."""
    colours = [[int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5, 7)] for colour in UNCERTAINTY_RAMP.values()]
    return Colormap(colours, name="unsure", controls=list(UNCERTAINTY_RAMP))


def make_colormap(task: Task) -> DirectLabelColormap | CyclicLabelColormap:
    """Return the fixed label colours of a task. Unknown label values are shown in magenta.

    In an instance task, the objects get cyclic colours so that neighbours can be distinguished.
    """
    if task.instances:
        return CyclicLabelColormap(colors=[(0.0, 0.0, 0.0, 0.0), *OBJECT_COLOURS])
    fixed: dict[int | None, str] = {0: "transparent", None: UNKNOWN_LABEL_COLOUR}
    return DirectLabelColormap(color_dict=fixed | {label.value: label.colour for label in task.labels})


def get_first_contour_px(task: Task, shape: Sequence[int]) -> int:
    """Return how labels of a shape (z, y, x) or (y, x) are first shown: 0 filled, or the width of their contours.

    Numbered objects are shown as contours, because tissue decides where one ends; areas are filled. So are large
    planes: napari computes all contours of a plane again after each edit, a third of a second for 3000 x 3000 pixels.
    """
    is_large = shape[-2] * shape[-1] > MAX_CONTOURED_PX
    return get_contour_px(shape) if task.instances and not is_large else 0


def get_contour_px(shape: Sequence[int]) -> int:
    """Return the width of contours on planes of this shape (..., y, x), pixels."""
    return CONTOUR_PX if min(shape[-2:]) > SMALL_PLANE_PX else 1


def get_opacity(task: Task, contour_px: int) -> float:
    """Return the opacity of contours of this width, or of filled labels if it is 0."""
    if contour_px:
        return 1.0
    return OBJECT_OPACITY if task.instances else LABEL_OPACITY
