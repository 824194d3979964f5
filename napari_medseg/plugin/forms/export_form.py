"""The export form: format, folder, names of files, whether to write images too, what to do with a tilted series."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from magicgui import magicgui
from magicgui.widgets import FunctionGui

from napari_medseg.core.label_files.registry import LABEL_FORMATS
from napari_medseg.workflow.data_set.layouts import LAYOUTS

_TWINS = ("nii", "tiff-long")
EXPORT_FORMATS = tuple(
    (f"{one.title} (single slices only)" if one.planes_only else one.title, one.suffix)
    for one in LABEL_FORMATS.values()
    if one.name not in _TWINS
)
_DATA_SET = "data set: "
DATA_SETS = tuple((f"data set to train elsewhere: {one.title}", f"{_DATA_SET}{one.name}") for one in LAYOUTS.values())
"""The layouts of `medseg dataset`, which the form offers behind the formats of single files."""

EXPORT_NAMES = (("group and case, such as patient-12_case-3", "group"), ("file of the image", "stem"))


@dataclass(frozen=True)
class ExportChoice:
    """How accepted labels are exported.

    Parameters
    ----------
    suffix
        Suffix or name of a format of `core.label_files.registry`, or one of `DATA_SETS`.
    folder
        Folder of the files.
    with_images
        Whether the images are written beside the labels.
    straighten
        Whether series with gantry tilt are written on an upright grid.
    names
        A `core.file_names.Naming`.
    with_notes
        Whether notes and reasons for rejection are written.
    """

    suffix: str
    folder: Path
    with_images: bool = False
    straighten: bool = False
    names: str = "group"
    with_notes: bool = False

    @property
    def layout(self) -> str:
        """The layout of a data set; empty if single files are written."""
        return self.suffix.removeprefix(_DATA_SET) if self.suffix.startswith(_DATA_SET) else ""


def make_export_form(
    write: Callable[[ExportChoice], None], suffix: str, folder: Path, with_images: bool
) -> FunctionGui:
    """Make the form, which calls `write`; the other arguments are the initial values."""

    def export_labels(
        suffix: str,
        folder: Path,
        with_images: bool,
        straighten: bool = False,
        names: str = "group",
        with_notes: bool = False,
    ) -> None:
        write(ExportChoice(suffix, folder, with_images, straighten, names, with_notes))

    form = magicgui(
        export_labels,
        call_button=False,
        suffix={
            "label": "Format",
            "choices": (*EXPORT_FORMATS, *DATA_SETS),
            "value": suffix,
            "tooltip": "All formats keep the voxel grid of the source image. DICOM-SEG and RTSTRUCT belong to a DICOM "
            "series and hold the name and ID of its patient. A data set has images and labels, is split by group (the "
            "hold-out is its test set), and names no one; the choices below do not apply to it",
        },
        folder={
            "label": "Folder",
            "mode": "d",
            "value": folder,
            "tooltip": "For labels, provenance.json and measurements.csv; the folder is created if it does not exist",
        },
        names={
            "label": "Names",
            "choices": EXPORT_NAMES,
            "tooltip": "What files are named after. Numbers name no one; the file of an image may hold a name",
        },
        with_images={"text": "write the images beside the labels", "value": with_images},
        with_notes={
            "text": "write notes and reasons for rejection",
            "tooltip": "Free text. Names of patients, readers and files that the project knows are replaced; another "
            "name in it would be exported. Flags are always exported.",
        },
        straighten={
            "text": "straighten CT series with gantry tilt",
            "tooltip": "Write them on an upright grid in the patient: each slice is moved by whole pixels. Otherwise "
            "the labels lie slice on slice on the series, as 3D Slicer, ITK-SNAP and nnU-Net read it.",
        },
    )
    form.suffix.changed.connect(lambda chosen: _enable_choices(form, chosen))
    return form


def _enable_choices(form: FunctionGui, suffix: str) -> None:
    """Enable what applies to single files only if they are written."""
    for choice in (form.names, form.with_images, form.with_notes, form.straighten):
        choice.enabled = not suffix.startswith(_DATA_SET)
