"""Modality, SOP class, body part and view of a DICOM image, from whichever attribute says it."""

import re

from pydicom import Dataset

from napari_medseg.core.acquisition import Acquisition, View
from napari_medseg.core.dicom.attributes import get_dicom_text, get_dicom_words, get_functional_group
from napari_medseg.core.dicom.sop_classes import get_implied_modality, get_sop_class_name

PROJECTION_MODALITIES = ("CR", "DX", "RG")
SILENT_MODALITIES = ("", "OT", "SC", "HC")
"""Modalities that do not say how an image was made: none, other, secondary capture, hard copy."""

# Words of ViewPosition, ViewCodeSequence or a description, the most specific ones first.
_VIEW_WORDS: tuple[tuple[View, str], ...] = (
    ("decubitus", r"LLD|RLD|DECUB\w*"),
    ("oblique", r"LLO|RLO|[LR][AP]O|OBL\w*"),
    ("lateral", r"LL|RL|LLAT|RLAT|ML|LM|LAT|LATERAL\w*"),
    ("frontal", r"AP|PA|FRONTAL|(ANTERO|POSTERO)\w*"),
)
# First letter of PatientOrientation: the rows of a lateral film run from front to back.
_VIEW_BY_ROW: dict[str, View] = {"A": "lateral", "P": "lateral"}
_LOCALIZER_WORDS = {"LOCALIZER", "SCOUT", "TOPOGRAM", "SCANOGRAM"}
_FRAME_TYPE_SEQUENCES = ("CTImageFrameTypeSequence", "MRImageFrameTypeSequence")


def read_modality(dataset: Dataset) -> str:
    """Modality of the header; if it is empty, the one that the SOP class implies, or empty."""
    return get_dicom_text(dataset, "Modality").upper() or get_implied_modality(get_sop_class_name(dataset))


def read_acquisition(dataset: Dataset, modality: str) -> Acquisition:
    """Read SOP class, body part and view."""
    return Acquisition(get_sop_class_name(dataset), _read_body_part(dataset), _read_view(dataset, modality))


def _read_body_part(dataset: Dataset) -> str:
    if part := get_dicom_text(dataset, "BodyPartExamined"):
        return part
    anatomy = get_functional_group(dataset, 0, "FrameAnatomySequence")
    return _read_code_meaning(anatomy, "AnatomicRegionSequence")


def _read_view(dataset: Dataset, modality: str) -> View:
    if _is_localizer(dataset):
        return "localizer"
    if modality not in PROJECTION_MODALITIES:
        return ""
    along_row = (*get_dicom_words(dataset, "PatientOrientation"), "")[0][:1]
    views: tuple[View, ...] = (
        _find_view(get_dicom_text(dataset, "ViewPosition")),
        _find_view(_read_code_meaning(dataset, "ViewCodeSequence")),
        _VIEW_BY_ROW.get(along_row, ""),
        _find_view(get_dicom_text(dataset, "SeriesDescription")),
        _find_view(get_dicom_text(dataset, "ProtocolName")),
    )
    return next((view for view in views if view), "")


def _find_view(text: str) -> View:
    """View that a text names; empty if it names none, or a frontal and a lateral one."""
    words = re.split(r"[^A-Z]+", text.upper())
    found: list[View] = [view for view, pattern in _VIEW_WORDS if any(re.fullmatch(pattern, word) for word in words)]
    if found[:1] == ["decubitus"]:  # "left lateral decubitus" and "decubitus AP" name one view
        return "decubitus"
    return found[0] if len(found) == 1 else ""


def _is_localizer(dataset: Dataset) -> bool:
    words = {*get_dicom_words(dataset, "ImageType")}
    for sequence in _FRAME_TYPE_SEQUENCES:
        words |= {*get_dicom_words(get_functional_group(dataset, 0, sequence), "FrameType")}
    return bool(words & _LOCALIZER_WORDS)


def _read_code_meaning(dataset: Dataset, sequence: str) -> str:
    items = dataset.get(sequence) or []
    return get_dicom_text(items[0], "CodeMeaning") if len(items) else ""
