"""The form for groups: a pattern, or the group of one case, with a preview while one types."""

from collections.abc import Callable

from magicgui import magicgui
from magicgui.widgets import FunctionGui, Label

from napari_medseg.core.errors import MedSegError
from napari_medseg.workflow.hold_out.groups import GroupPlan

PATTERN_TOOLTIP = (
    "Where the patient, slide or video stands in the file name, written {patient}. * is any text, # is a number: "
    "{patient}_# or scan_{patient}_*. With / the folder counts: {patient}/*. A regular expression is possible, too. "
    "Empty: the rule for file names"
)
GROUP_TOOLTIP = "Patient, slide or video. Cases with the same name are on the same side, training or evaluation"


def make_groups_form(
    plan: Callable[[str], GroupPlan], change: Callable[[GroupPlan], None], text: str, label: str, tooltip: str
) -> FunctionGui:
    """Make the form.

    Parameters
    ----------
    plan
        Returns what a text would change, or raises `MedSegError`.
    change
        Is called with the plan of the text when the form is submitted.
    text, label, tooltip
        Initial text, its label, and its explanation.
    """

    def change_groups(text: str, confirmed: bool) -> None:
        planned = plan(text)
        if planned.warnings and not confirmed:
            raise MedSegError("Read the warnings above. To change the groups in spite of them, tick the box.")
        change(planned)

    form = magicgui(
        change_groups,
        call_button=False,
        text={"label": label, "value": text, "tooltip": tooltip},
        confirmed={"text": "change groups in spite of warnings", "value": False},
    )
    preview = Label(name="preview", label="", gui_only=True)
    preview.native.setWordWrap(True)
    form.append(preview)

    def show_preview(typed: str) -> None:
        try:
            preview.value = plan(typed).text
        except MedSegError as error:
            preview.value = str(error)

    form.text.changed.connect(show_preview)
    show_preview(text)
    return form
