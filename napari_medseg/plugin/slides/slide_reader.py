"""Slides that napari opens itself: by File > Open, from its command line, or by an address."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari import current_viewer
from qtpy.QtWidgets import QInputDialog

from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.core.slides.blocks import SlideBlocks
from napari_medseg.core.slides.open_slide import is_slide
from napari_medseg.plugin.slides.slide_layer import SlideLayer
from napari_medseg.plugin.widgets.notifications import show_problem

if TYPE_CHECKING:
    import napari.viewer

QUESTION = "Address of an OME-Zarr, such as https://host/slides/a.zarr"


def read_slides(path: str | Sequence[str]) -> list[Any]:
    """Add slides to the viewer as lazy layers; a dock takes them over. As a reader of napari, it returns no layers.

    Raises
    ------
    MedSegError
        If there is no viewer, and the first slide cannot be read.
    """
    viewer = current_viewer()
    for each in [path] if isinstance(path, str) else path:
        try:
            with translate_errors():
                blocks = SlideBlocks(Path(each))
        except MedSegError as error:
            if viewer is None:
                raise
            show_problem(error)
            continue
        if viewer is None:
            blocks.close()
            raise MedSegError(f"{blocks.name} is a slide, which is read piece by piece: it needs a window.")
        SlideLayer(viewer, blocks).show_alone()
    return [(None,)]


def ask_for_address(viewer: "napari.viewer.Viewer") -> None:
    """Ask for the address of a slide, and open it."""
    text, is_given = QInputDialog.getText(None, "Open a slide", QUESTION)
    address = text.strip()
    if not is_given or not address:
        return
    if not is_slide(Path(address)):
        show_problem(f"{address} is no address of a slide. {QUESTION}.")
        return
    viewer.open(address, plugin="napari-medseg")
