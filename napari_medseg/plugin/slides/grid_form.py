"""The form for a grid of fields on tissue."""

from collections.abc import Callable, Sequence

from magicgui import magicgui
from magicgui.widgets import FunctionGui

from napari_medseg.core.slides.grid import GridChoice

MAX_FIELDS = 1000


def make_grid_form(
    add: Callable[[GridChoice], None], levels: Sequence[str], size_px: int, spacing_um: float
) -> FunctionGui:
    """Make the form.

    Parameters
    ----------
    add
        Adds the fields.
    levels
        Titles of the levels of the slide.
    size_px
        Usual size of a field.
    spacing_um
        Micrometres of a pixel of level 0; 0 if unknown.
    """
    remark = f" (1,000 pixels of level 0 are {1000 * spacing_um:,.0f} um)" if spacing_um else ""

    def grid(level: int, size: int, min_share: int, all_fields: bool, at_most: int, seed: int) -> None:
        add(GridChoice(size, level, min_share / 100, None if all_fields else at_most, seed))

    return magicgui(
        grid,
        call_button=False,
        level={"label": "Level", "choices": [(title, number) for number, title in enumerate(levels)], "value": 0},
        size={
            "label": "Height and width in pixels",
            "value": size_px,
            "min": 16,
            "max": 6000,
            "step": 50,
            "tooltip": f"Of one field, in pixels of its level{remark}",
        },
        min_share={
            "label": "Least tissue in %",
            "value": 50,
            "min": 1,
            "max": 100,
            "tooltip": "Fields with less tissue are left out; glass is found at low resolution",
        },
        all_fields={"label": "All that fit", "value": False, "tooltip": "Otherwise some of them, chosen by chance"},
        at_most={"label": "At most", "value": 20, "min": 1, "max": MAX_FIELDS},
        seed={"label": "Seed", "value": 0, "min": 0, "max": 99999, "tooltip": "Another number chooses other fields"},
    )
