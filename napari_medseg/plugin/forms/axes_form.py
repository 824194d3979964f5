"""The form that asks what the axes of a NumPy array are, and how large its voxels."""

from collections.abc import Callable

from magicgui import magicgui
from magicgui.widgets import FunctionGui

from napari_medseg.core.containers.array_layout import ArrayHeader, ArrayLayout, parse_layout
from napari_medseg.core.errors import MedSegError

AXES_TOOLTIP = "What each axis of the array is, in its order. 'images' makes one case of each image"
SPACING_TOOLTIP = (
    "Millimetres between slices, rows and columns, such as 2.5, 0.7, 0.7; two numbers for a plane. Empty: unknown"
)


def make_axes_form(header: ArrayHeader, choose: Callable[[ArrayLayout, bool], None]) -> FunctionGui:
    """Make the form.

    Parameters
    ----------
    header
        What the array says.
    choose
        Called with the layout, and whether it holds for other arrays of the kind. It may raise `MedSegError`.
    """
    choices = [(f"{layout.title} ({layout.axes})", layout.axes) for layout in header.choices]
    shape = " x ".join(map(str, header.shape))

    def say_axes(axes: str, spacing: str, remembered: bool) -> None:
        layout = parse_layout(axes, spacing)
        if problem := layout.find_problem(header.shape):
            raise MedSegError(f"{problem[0].upper()}{problem[1:]}.")
        choose(layout, remembered)

    return magicgui(
        say_axes,
        call_button=False,
        axes={"label": f"Axes of {shape}", "choices": choices, "tooltip": AXES_TOOLTIP},
        spacing={"label": "Voxel size in mm", "value": "", "tooltip": SPACING_TOOLTIP},
        remembered={"text": "the same for such arrays of this folder", "value": True},
    )
