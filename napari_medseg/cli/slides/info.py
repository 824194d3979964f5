"""`medseg slides info`: size, levels and resolution of a slide."""

import contextlib
from typing import Any

from napari_medseg.cli.console import echo, echo_json
from napari_medseg.cli.options import JsonOption
from napari_medseg.cli.slides.options import SlideArgument
from napari_medseg.core.slides.open_slide import open_slide
from napari_medseg.core.slides.slide import Slide
from napari_medseg.workflow.whole_slide.grid import UM_PER_MM


def info(slide: SlideArgument, as_json: JsonOption = False) -> None:
    """Print size, levels and resolution of a slide; nothing of who it is of."""
    with contextlib.closing(open_slide(slide)) as opened:
        described = _describe(opened)
    if as_json:
        echo_json(described)
        return
    um = described["um_per_px"]
    resolution = "resolution unknown" if um is None else f"{um[0]:.4g} x {um[1]:.4g} µm per pixel"
    echo(f"{slide.name}: {described['width']:,} x {described['height']:,} pixels, {resolution}")
    for number, level in enumerate(described["levels"]):
        echo(f"  level {number}: {level['width']:,} x {level['height']:,}, reduced by {level['downsample']:.4g}")


def _describe(slide: Slide) -> dict[str, Any]:
    spacing = slide.spacing_mm
    return {
        "height": slide.levels[0].height,
        "width": slide.levels[0].width,
        "um_per_px": None if spacing is None else [spacing[1] * UM_PER_MM, spacing[0] * UM_PER_MM],
        "levels": [
            {"height": level.height, "width": level.width, "downsample": level.downsample} for level in slide.levels
        ],
    }
