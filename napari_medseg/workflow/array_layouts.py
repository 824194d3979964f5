"""What a person said about the axes of NumPy arrays, remembered in the project for others of the kind."""

import json
import logging

from napari_medseg.core.containers.array_layout import ArrayLayout, parse_layout
from napari_medseg.core.containers.image_source import ImageSource
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.records import RememberedLayout, now
from napari_medseg.workflow.workspace import Workspace

logger = logging.getLogger(__name__)


def remember_layout(ws: Workspace, source: ImageSource, layout: ArrayLayout) -> None:
    """Remember the axes and the spacing of arrays in the folder of this one that have its type and colours."""
    text = json.dumps([layout.axes, list(layout.spacing_mm or ())])
    ws.project.insert(RememberedLayout(0, _key_source(ws, source), text, now()))


def recall_layout(ws: Workspace, source: ImageSource) -> ArrayLayout | None:
    """Return what a person said last about arrays of this kind; `None` if nothing, or if it does not fit this one."""
    said = ws.project.read_records(RememberedLayout, "source", _key_source(ws, source))
    if not said or source.array is None:
        return None
    try:
        axes, spacing = json.loads(said[-1].layout)
        layout = parse_layout(axes, ",".join(map(str, spacing)))
    except (ValueError, TypeError, AttributeError, MedSegError):
        logger.warning("the remembered axes of an array are damaged; they are not used")
        return None
    return None if layout.find_problem(source.array.shape) else layout


def _key_source(ws: Workspace, source: ImageSource) -> str:
    return ws.project.identities.hash_text(source.array_kind)
