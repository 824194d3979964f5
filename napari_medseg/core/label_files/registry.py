"""The formats in which labels are written for other programs, by the names that a person chooses."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core import formats
from napari_medseg.core.dicom_labels.reader import read_dicom_labels, read_own_values
from napari_medseg.core.errors import look_up
from napari_medseg.core.image import Image
from napari_medseg.core.label_files.coco_writer import write_coco, write_coco_polygons
from napari_medseg.core.label_files.description import LabelDescription
from napari_medseg.core.label_files.dicom_seg_writer import write_dicom_seg
from napari_medseg.core.label_files.geojson import write_geojson
from napari_medseg.core.label_files.pictures import write_ome_tiff, write_palette_png
from napari_medseg.core.label_files.rtstruct_writer import write_rtstruct
from napari_medseg.core.label_files.seg_nrrd import write_seg_nrrd
from napari_medseg.core.volumes.metaimage import write_metaimage
from napari_medseg.core.volumes.nrrd import write_nrrd

Writer = Callable[[Path, NDArray[Any], Image, LabelDescription], None]
Reader = Callable[[Path, Image, LabelDescription], NDArray[Any]]


@dataclass(frozen=True)
class LabelFormat:
    """One format.

    Parameters
    ----------
    name
        What a person types, such as ``"dicom-seg"``.
    title
        Text in forms.
    suffix
        End of the file names.
    write
        Writes labels; see the writers.
    image_suffix
        Suffix of images and of masks of reviewed pixels that are written beside the labels.
    read_back
        Reads the labels again, in canonical order; `None` if this program reads the format otherwise or not at all.
    planes_only
        Whether it holds no volumes.
    names_patient
        Whether the file names the patient, as its DICOM series does.
    """

    name: str
    title: str
    suffix: str
    write: Writer
    image_suffix: str
    read_back: Reader | None = None
    planes_only: bool = False
    names_patient: bool = False

    def choose_image_suffix(self, image: Image) -> str:
        """Return the suffix of an image that is written beside its labels: TIFF where PNG cannot hold its numbers."""
        cannot = self.name.startswith("coco") and image.pixels.dtype not in (np.uint8, np.uint16)
        return ".tif" if cannot else self.image_suffix


def _write_grid(path: Path, labels: NDArray[Any], image: Image, described: LabelDescription) -> None:
    formats.write_labels(path, labels, image)


def _read_grid(path: Path, image: Image, described: LabelDescription) -> NDArray[Any]:
    return formats.read_labels(path, image, expected_shape=image.spatial_shape)


def _read_dicom(path: Path, image: Image, described: LabelDescription) -> NDArray[Any]:
    """Read labels of a DICOM object, with the values of the task in place of the numbers of segments."""
    numbers, _ = read_dicom_labels(path, image)
    value_of = np.zeros(int(numbers.max(initial=0)) + 1, np.uint32)
    for number, value in read_own_values(path).items():
        if number < len(value_of):
            value_of[number] = value
    values: NDArray[np.uint32] = value_of[numbers]
    return values


def _write_metaimage(path: Path, labels: NDArray[Any], image: Image, described: LabelDescription) -> None:
    values = ", ".join(f"{label.value} {label.name}" for label in described.task.labels)
    write_metaimage(path, labels, image, {"medseg_labels": values, "medseg_provenance": described.provenance})


def _write_nrrd(path: Path, labels: NDArray[Any], image: Image, described: LabelDescription) -> None:
    write_nrrd(path, labels, image, {"medseg_provenance": described.provenance})


_FORMATS = (
    LabelFormat("nifti", "NIfTI", ".nii.gz", _write_grid, ".nii.gz", _read_grid),
    LabelFormat("nii", "NIfTI, not compressed", ".nii", _write_grid, ".nii", _read_grid),
    LabelFormat("tiff", "TIFF", ".tif", _write_grid, ".tif", _read_grid),
    LabelFormat("tiff-long", "TIFF", ".tiff", _write_grid, ".tiff", _read_grid),
    LabelFormat("ome-tiff", "OME-TIFF", ".ome.tif", write_ome_tiff, ".tif", _read_grid),
    LabelFormat("seg.nrrd", "3D Slicer (.seg.nrrd)", ".seg.nrrd", write_seg_nrrd, ".nrrd", _read_grid),
    LabelFormat("nrrd", "NRRD", ".nrrd", _write_nrrd, ".nrrd", _read_grid),
    LabelFormat("mha", "MetaImage (ITK)", ".mha", _write_metaimage, ".mha", _read_grid),
    LabelFormat(
        "dicom-seg",
        "DICOM-SEG (holds the patient's name)",
        ".seg.dcm",
        write_dicom_seg,
        ".nii.gz",
        _read_dicom,
        names_patient=True,
    ),
    LabelFormat(
        "rtstruct",
        "DICOM RTSTRUCT (holds the patient's name)",
        ".rtstruct.dcm",
        write_rtstruct,
        ".nii.gz",
        _read_dicom,
        names_patient=True,
    ),
    LabelFormat("png", "PNG", ".png", _write_grid, ".png", _read_grid, planes_only=True),
    LabelFormat(
        "png-palette", "PNG in colours", ".palette.png", write_palette_png, ".png", _read_grid, planes_only=True
    ),
    LabelFormat("coco", "COCO, masks", ".coco.json", write_coco, ".png", planes_only=True),
    LabelFormat("coco-polygons", "COCO, polygons", ".polygons.json", write_coco_polygons, ".png", planes_only=True),
    LabelFormat("geojson", "GeoJSON (QuPath)", ".geojson", write_geojson, ".tif", planes_only=True),
)
LABEL_FORMATS = {one.name: one for one in _FORMATS}
"""By name."""
_OTHER_ENDS = {".dcm": "dicom-seg", ".json": "coco", ".ome.tiff": "ome-tiff"}
"""Ends of names that people type, beside the suffixes."""
_BY_ANY_NAME = {**{one.suffix: one for one in _FORMATS}, **LABEL_FORMATS}


def find_label_format(name: str) -> LabelFormat:
    """Return a format by its name or suffix.

    Raises
    ------
    MedSegError
        If there is none; the text lists the names.
    """
    wanted = name.lower()
    if wanted in _BY_ANY_NAME:
        return _BY_ANY_NAME[wanted]
    return look_up(LABEL_FORMATS, wanted, problem=f"labels cannot be written as {name!r}")


def find_format_of_file(name: str) -> LabelFormat:
    """Return the format of a file by the end of its name, the longest that fits.

    Raises
    ------
    MedSegError
        If there is none; the text lists the ends.
    """
    ends = {one.suffix: one for one in _FORMATS} | {end: LABEL_FORMATS[kind] for end, kind in _OTHER_ENDS.items()}
    fitting = [end for end in ends if name.lower().endswith(end)]
    if not fitting:
        return look_up(ends, name, problem=f"labels cannot be written as {name!r}")
    return ends[max(fitting, key=len)]


def find_problem(wanted: LabelFormat, image: Image) -> str:
    """Return why a format cannot hold the labels of an image, as half a sentence; empty if it can."""
    if wanted.planes_only and len(image.spatial_axes) > 2:
        return f"it is a volume, and {wanted.title} holds one plane; choose nifti, mha or seg.nrrd"
    return ""
