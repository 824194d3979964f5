"""The form for a grid of fields on tissue."""

from collections.abc import Callable, Sequence

from magicgui import magicgui
from magicgui.widgets import FunctionGui

from napari_medseg.core.slides.grid import GridChoice

MAX_FIELDS = 1000


def make_grid_form(
    add: Callable[[GridChoice], None], levels: Sequence[str], size_px: int, spacings_um: Sequence[float]
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
    spacings_um
        Micrometres of a pixel of each level; empty if unknown. Then a size can be given in pixels only.
    """

    def grid(level: int, size: int, size_um: float, min_share: int, all_fields: bool, at_most: int, seed: int) -> None:
        add(GridChoice(size, level, min_share / 100, None if all_fields else at_most, seed))

    form = magicgui(
        grid,
        call_button=False,
        level={"label": "Level", "choices": [(title, number) for number, title in enumerate(levels)], "value": 0},
        size={
            "label": "Height and width in pixels",
            "value": size_px,
            "min": 16,
            "max": 6000,
            "step": 50,
            "tooltip": "Of one field, in pixels of its level",
        },
        size_um={
            "label": "The same in µm",
            "value": size_px * (spacings_um[0] if spacings_um else 1),
            "min": 1,
            "max": 1e6,
            "step": 10,
            "visible": bool(spacings_um),
            "tooltip": "Of one field. Pixels follow, rounded; another level keeps the pixels",
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
    if spacings_um:
        _couple_sizes(form, spacings_um)
    return form


def _couple_sizes(form: FunctionGui, spacings_um: Sequence[float]) -> None:
    """Let the size in pixels and that in micrometres follow each other; pixels are what counts."""

    def show_um() -> None:
        with form.size_um.changed.blocked():
            form.size_um.value = form.size.value * spacings_um[form.level.value]

    def set_pixels() -> None:
        wanted = round(form.size_um.value / spacings_um[form.level.value])
        form.size.value = min(max(wanted, form.size.min), form.size.max)
        show_um()

    form.size.changed.connect(show_um)
    form.level.changed.connect(show_um)
    form.size_um.changed.connect(set_pixels)
    show_um()
