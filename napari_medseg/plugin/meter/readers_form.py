"""The form of the readers: who corrects now, and the share of cases that a second person reads."""

from collections.abc import Callable, Sequence

from magicgui import magicgui
from magicgui.widgets import FunctionGui

NAME_TOOLTIP = (
    "Your name stays in the preferences and in one table of the project. Other tables and exports say 'reader 2'.\n"
    "Another name is another person; known here: "
)
NOTE = "Another name is another person. Exports say 'reader 2', no name."
SHARE_TOOLTIP = (
    "Accepted cases that another person reads blind: that person gets the draft of the model and sees nothing of the\n"
    "first reading. They are chosen by a hash of the image, so that a larger share adds cases"
)


def make_readers_form(save: Callable[[str, float], None], name: str, known: Sequence[str], share: float) -> FunctionGui:
    """Make the form with the current values; it calls `save(name, share)`, the share in [0, 1]."""

    def save_readers(person: str, percent: int, _note: str = NOTE) -> None:
        save(person, percent / 100)

    return magicgui(
        save_readers,
        call_button=False,
        person={"label": "Who corrects now", "value": name, "tooltip": NAME_TOOLTIP + ", ".join(known)},
        percent={
            "label": "Second reader (%)",
            "value": round(100 * share),
            "min": 0,
            "max": 100,
            "step": 5,
            "tooltip": SHARE_TOOLTIP,
        },
        _note={"widget_type": "Label", "label": " "},
    )
