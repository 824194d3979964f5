"""A mask as the second reading of an accepted case: when it is offered, and the question who drew it."""

from collections.abc import Callable

from magicgui import magicgui
from qtpy.QtWidgets import QWidget

from napari_medseg.core.image import Image
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.plugin.forms.form_dialog import FormDialog
from napari_medseg.plugin.masks.mask_question import MaskAnswer
from napari_medseg.workflow.masks.meaning import MaskMeaning
from napari_medseg.workflow.masks.second_readings import find_first_reading
from napari_medseg.workflow.second_reader.current_reader import clean_name
from napari_medseg.workflow.workspace import Workspace

TITLE = "Second reading…"
TOOLTIP = "Keep the labels beside the accepted ones, as those of another person; the first ones stay the ground truth"
_NAME_TOOLTIP = (
    "It stays in one table of the project; exports say 'reader 2'. Known here: {}. It must be another person than the "
    "one who accepted the case"
)


def can_be_second(ws: Workspace, image: Image, task: Task) -> bool:
    """Whether somebody accepted labels of an image, so that a mask can be its second reading."""
    return find_first_reading(ws, image, task.name) is not None


def make_answer(take: Callable[[str, MaskMeaning], None], ask: Callable[[Callable[[str], None]], None]) -> MaskAnswer:
    """Return the answer to a question about a mask: it asks who drew it, then calls `take` with name and meaning."""
    return TITLE, TOOLTIP, lambda meaning: ask(lambda name: take(name, meaning))


def ask_who(parent: QWidget, ws: Workspace, take: Callable[[str], None]) -> FormDialog:
    """Ask for the name of the second reader, and call `take` with it."""

    def import_reading(person: str) -> None:
        take(clean_name(person))

    known = ", ".join(ws.reader.list_names())
    person = {"label": "Who drew it", "tooltip": _NAME_TOOLTIP.format(known)}
    form = magicgui(import_reading, call_button=False, person=person)
    dialog = FormDialog("Second reading", "Import", form, parent)
    dialog.show()
    return dialog
