"""The export form: format, folder, whether to write the images too, and what to do with a tilted series."""

from collections.abc import Callable
from pathlib import Path

from magicgui import magicgui
from magicgui.widgets import FunctionGui

EXPORT_FORMATS = (("NIfTI", ".nii.gz"), ("TIFF", ".tif"), ("PNG (single slices only)", ".png"))


def make_export_form(
    write: Callable[[str, Path, bool, bool], None], suffix: str, folder: Path, with_images: bool
) -> FunctionGui:
    """Make the form.

    It calls `write(suffix, folder, with_images, straighten)`; the other arguments are the initial values.
    """

    def export_labels(suffix: str, folder: Path, with_images: bool, straighten: bool = False) -> None:
        write(suffix, folder, with_images, straighten)

    return magicgui(
        export_labels,
        call_button=False,
        suffix={
            "label": "Format",
            "choices": EXPORT_FORMATS,
            "value": suffix,
            "tooltip": "All formats keep the voxel grid of the source image; PNG cannot store volumes",
        },
        folder={
            "label": "Folder",
            "mode": "d",
            "value": folder,
            "tooltip": "For labels, provenance.json and measurements.csv; the folder is created if it does not exist",
        },
        with_images={"text": "write the images beside the labels", "value": with_images},
        straighten={
            "text": "straighten CT series with gantry tilt",
            "tooltip": "Write them on an upright grid in the patient: each slice is moved by whole pixels. Otherwise "
            "the labels lie slice on slice on the series, as 3D Slicer, ITK-SNAP and nnU-Net read it.",
        },
    )
