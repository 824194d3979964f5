"""Colours of labels: fixed ones of a task, or cyclic ones for numbered objects."""

from colorsys import hsv_to_rgb

from napari.utils.colormaps import CyclicLabelColormap, DirectLabelColormap

from napari_medseg.core.tasks.bundled_tasks import Task

UNKNOWN_LABEL_COLOUR = "#FF00FF"
N_COLOURS = 24
# Hues from orange to blue, ordered so that neighbours differ. Purple is excluded: invisible on stained tissue.
HUES = tuple(0.06 + 0.48 * (7 * number % N_COLOURS) / N_COLOURS for number in range(N_COLOURS))
OBJECT_COLOURS = tuple((*hsv_to_rgb(hue, 0.95, 1.0 - 0.3 * (number % 2)), 1.0) for number, hue in enumerate(HUES))


def make_colormap(task: Task) -> DirectLabelColormap | CyclicLabelColormap:
    """Return the fixed label colours of a task. Unknown label values are shown in magenta.

    In an instance task, the objects get cyclic colours so that neighbours can be distinguished.
    """
    if task.instances:
        return CyclicLabelColormap(colors=[(0.0, 0.0, 0.0, 0.0), *OBJECT_COLOURS])
    fixed: dict[int | None, str] = {0: "transparent", None: UNKNOWN_LABEL_COLOUR}
    return DirectLabelColormap(color_dict=fixed | {label.value: label.colour for label in task.labels})
