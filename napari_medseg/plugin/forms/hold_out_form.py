"""The form for the share of the hold-out, with a preview of what changes."""

from collections.abc import Callable

from magicgui import magicgui
from magicgui.widgets import FunctionGui, Label

from napari_medseg.workflow.hold_out.share import SHARES, SharePlan

SHARE_TOOLTIP = "Patients, slides or videos that evaluate models and never train one"


def make_hold_out_form(
    plan: Callable[[int], SharePlan], change: Callable[[SharePlan], None], one_in: int
) -> FunctionGui:
    """Make the form; `plan` tells what a share changes, `change` applies it, and `one_in` is the present share."""

    def hold_out(share: int) -> None:
        change(plan(share))

    form = magicgui(
        hold_out,
        call_button=False,
        share={
            "label": "Hold out",
            "choices": [(title, share) for title, share in SHARES.items()],
            "value": one_in,
            "tooltip": SHARE_TOOLTIP,
        },
    )
    preview = Label(name="preview", label="", gui_only=True)
    preview.native.setWordWrap(True)
    form.append(preview)

    def show_preview(share: int) -> None:
        preview.value = plan(share).text

    form.share.changed.connect(show_preview)
    show_preview(one_in)
    return form
