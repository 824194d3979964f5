"""SOP classes and modalities: which DICOM objects are images, and the modality that a SOP class implies."""

from pydicom import Dataset
from pydicom.uid import UID

from napari_medseg.core.dicom.attributes import get_dicom_text

_STORAGE_ROOT = "1.2.840.10008.5.1.4.1.1."
# Branches of the storage root that hold no image to label, also with classes that are newer than pydicom's dictionary.
_BRANCHES_WITHOUT_IMAGE = {
    "9.": "waveform",
    "11.": "presentation state",
    "30": "parametric map",
    "66": "raw data, registration or segmentation",
    "67": "real-world value mapping",
    "68.": "surface scan",
    "79.": "report",
    "88.": "structured report",
    "90.": "assessment",
    "91.": "annotations",
    "104.": "encapsulated document",
    "131": "structured display",
    "200.": "protocol",
    "201.": "inventory",
    "481.": "radiotherapy object",
}
_MODALITIES_WITHOUT_IMAGE = {
    "SEG": "segmentation",
    "RTDOSE": "radiotherapy dose",
    "RTSTRUCT": "radiotherapy structure set",
    "RTPLAN": "radiotherapy plan",
    "RTRECORD": "radiotherapy record",
    "PR": "presentation state",
    "SR": "structured report",
    "KO": "key object selection",
    "REG": "registration",
    "FID": "fiducials",
    "RWV": "real-world value mapping",
    "DOC": "encapsulated document",
    "PLAN": "plan",
    "ANN": "annotations",
    "M3D": "surface model",
    "ECG": "waveform",
    "HD": "waveform",
    "AU": "audio",
}
_IMAGES_BY_ANOTHER_NAME = ("Enhanced US Volume Storage",)
# First words of the name of a SOP class, and the modality that it implies.
_MODALITY_BY_SOP_CLASS = {
    "CT Image": "CT",
    "Enhanced CT Image": "CT",
    "Legacy Converted Enhanced CT Image": "CT",
    "MR Image": "MR",
    "Enhanced MR": "MR",
    "Legacy Converted Enhanced MR Image": "MR",
    "Positron Emission Tomography Image": "PT",
    "Enhanced PET Image": "PT",
    "Legacy Converted Enhanced PET Image": "PT",
    "Nuclear Medicine Image": "NM",
    "Ultrasound": "US",
    "Enhanced US Volume": "US",
    "X-Ray Angiographic": "XA",
    "Enhanced XA Image": "XA",
    "X-Ray 3D Angiographic Image": "XA",
    "X-Ray Radiofluoroscopic Image": "RF",
    "Enhanced XRF Image": "RF",
    "Digital Mammography X-Ray Image": "MG",
    "Breast": "MG",
    "Digital Intra-Oral X-Ray Image": "IO",
    "Digital X-Ray Image": "DX",
    "Computed Radiography Image": "CR",
    "RT Image": "RTIMAGE",
    "VL Endoscopic Image": "ES",
    "Video Endoscopic Image": "ES",
    "VL Microscopic Image": "GM",
    "Video Microscopic Image": "GM",
    "VL Slide-Coordinates Microscopic Image": "SM",
    "VL Whole Slide Microscopy Image": "SM",
    "VL Photographic Image": "XC",
    "Video Photographic Image": "XC",
    "Dermoscopic Photography Image": "DMS",
    "Ophthalmic Photography": "OP",
    "Wide Field Ophthalmic Photography": "OP",
    "Ophthalmic Tomography Image": "OPT",
    "Intravascular Optical Coherence Tomography": "IVOCT",
}


def get_sop_class_name(dataset: Dataset) -> str:
    """Name of the SOP class, such as ``"CT Image Storage"``; the UID if it is unknown, empty if there is none."""
    return UID(_get_sop_class(dataset)).name


def find_kind_without_image(dataset: Dataset) -> str:
    """Return what an object without an image is, such as ``"(SEG): Segmentation Storage"``; empty for an image.

    SEG, RT dose and parametric maps have pixels, but these are results, not images.
    """
    uid, modality = _get_sop_class(dataset), get_dicom_text(dataset, "Modality").upper()
    name = UID(uid).name
    kind = _MODALITIES_WITHOUT_IMAGE.get(modality, "")
    if "Image Storage" not in name and name not in _IMAGES_BY_ANOTHER_NAME and uid.startswith(_STORAGE_ROOT):
        branch = uid.removeprefix(_STORAGE_ROOT)
        family = next((text for start, text in _BRANCHES_WITHOUT_IMAGE.items() if branch.startswith(start)), "")
        kind = (name if name != uid else "") or family or kind
    if not kind:
        return ""
    return f"({modality}): {kind}" if modality else f"({kind})"


def get_implied_modality(sop_class: str) -> str:
    """Modality that the name of a SOP class implies; empty for a secondary capture and other classes."""
    return next((code for start, code in _MODALITY_BY_SOP_CLASS.items() if sop_class.startswith(start)), "")


def _get_sop_class(dataset: Dataset) -> str:
    meta = getattr(dataset, "file_meta", None)
    return get_dicom_text(dataset, "SOPClassUID") or (
        "" if meta is None else get_dicom_text(meta, "MediaStorageSOPClassUID")
    )
