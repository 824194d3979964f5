"""What the window shows of a slide and its fields: texts, where the view looks, and work in threads."""

from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_medseg.core.image import Image
from napari_medseg.core.slides.blocks import SlideBlocks
from napari_medseg.core.slides.fields import Field
from napari_medseg.core.slides.grid import GridChoice, make_grid
from napari_medseg.core.slides.open_slide import open_slide
from napari_medseg.core.slides.tissue import find_tissue
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.core.tasks.detection import detect_task
from napari_medseg.plugin.slides.slide_layer import SlideLayer

if TYPE_CHECKING:
    from napari import Viewer

SHOWN_AROUND = 3.0
"""A field is shown with its surroundings: so many times its size."""


def look_at_field(viewer: "Viewer", slide: SlideLayer, field: Field) -> None:
    """Move the view to a field, with what lies around it."""
    levels = slide.blocks.file_levels
    factor = levels[min(field.level, len(levels) - 1)].downsample
    size = np.array([field.height, field.width]) * factor * slide.scale
    y, x = np.array([field.y, field.x]) * slide.scale + size / 2
    viewer.scene.camera.center = (0.0, float(y), float(x))
    viewer.scene.camera.zoom = min(viewer.canvas.size) / float(size.max()) / SHOWN_AROUND


def find_slide_task(blocks: SlideBlocks, current: Task, tasks: Iterable[Task]) -> Task:
    """Return the task that a slide is for: it comes from slide microscopy, whatever it looks like."""
    return detect_task(Image(blocks.overview, "YXC", modality="SM", units="rgb"), current, tasks)


def list_level_titles(blocks: SlideBlocks) -> list[str]:
    """Return what the levels of a slide are called: by their resolution."""
    um = None if blocks.spacing_mm is None else blocks.spacing_mm[1] * 1000
    return [
        f"1 : {level.downsample:g}" if um is None else f"{um * level.downsample:.3g} µm" for level in blocks.file_levels
    ]


def list_level_spacings(blocks: SlideBlocks) -> list[float]:
    """Return the micrometres of a pixel of each level; nothing if the slide does not say its resolution."""
    if blocks.spacing_mm is None:
        return []
    return [blocks.spacing_mm[1] * 1000 * level.downsample for level in blocks.file_levels]


def describe_zoom(zoom: float, in_mm: bool) -> str:
    """Return how large a pixel of the screen is on the slide, and the objective that this is like."""
    if not in_mm:
        return f"{zoom:.0%}"
    um = 1000 / zoom
    return f"{um:.2g} µm {10 / um:.2g}×" if um < 100 else f"{um:.0f} µm"


def open_blocks(path: Path) -> Generator[SlideBlocks]:
    """Open a slide and read its overview; it is closed if the worker was stopped meanwhile."""
    blocks = SlideBlocks(path)
    try:
        yield blocks
    except GeneratorExit:
        blocks.close()
        raise


def find_grid(path: Path, choice: GridChoice, existing: Sequence[Field]) -> Generator[list[Field]]:
    """Find the tissue of a slide, and the fields of a grid on it."""
    slide = open_slide(path)
    try:
        yield make_grid(slide, find_tissue(slide), choice, existing)
    finally:
        slide.close()
