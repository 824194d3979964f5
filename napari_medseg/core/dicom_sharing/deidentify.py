"""Take the identity out of a DICOM object: DICOM PS3.15 Basic Profile; pixels are kept."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from napari_medseg.core.atomic_io import atomic_write
from napari_medseg.core.decoded_size.sized_file import SizedFile
from napari_medseg.core.dicom.frame_size import refuse_large_inflation
from napari_medseg.core.dicom_sharing.basic_profile import EDITION, choose_treatment
from napari_medseg.core.dicom_sharing.pseudonyms import Pseudonyms
from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.core.formats.decode_errors import translate_decode_errors
from napari_medseg.core.label_files.dicom_source import make_person_name

_DUMMY_TEXT = "ANONYMIZED"
_DUMMIES: dict[str, Any] = {
    "DA": "19000101",
    "TM": "000000",
    "DT": "19000101000000",
    "AS": "000Y",
    "DS": "0",
    "IS": "0",
    "PN": "Anonymous^",
    "UR": "http://anonymized.invalid",
    **dict.fromkeys(("AE", "CS", "LO", "LT", "SH", "ST", "UC", "UT"), _DUMMY_TEXT),
    **dict.fromkeys(("FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"), 0),
    **dict.fromkeys(("OB", "OW", "OF", "OD", "OL", "OV"), b"\0\0"),
}
_TIMES = ("DA", "TM", "DT")
_WITHOUT_DATES = "REMOVED"
_METHOD = f"DICOM PS3.15 {EDITION} Basic Profile, napari-medseg"
_HEAD = ("HEAD", "BRAIN", "SKULL", "FACE", "HEADNECK", "ORBIT", "SINUS")
_PHOTOGRAPHED = ("US", "ES", "GM", "XC", "OT", "SC", "OP", "PX")


def read_whole(path: Path) -> Dataset:
    """Read a DICOM file with its pixels, which stay encoded.

    Raises
    ------
    MedSegError
        If it is damaged.
    """
    with translate_decode_errors(path, "DICOM"), SizedFile(path) as file:
        refuse_large_inflation(path, file)
        return dcmread(file, force=True)


def deidentify(source: Dataset, pseudonyms: Pseudonyms) -> Dataset:
    """Return an object without identity.

    Parameters
    ----------
    source
        As read from a file; it is not changed.
    pseudonyms
        Gives patient and UIDs their new names, and remembers them.

    Raises
    ------
    MedSegError
        If an attribute is damaged, so that it is not known what it holds.
    """
    with translate_decode_errors(Path(str(getattr(source, "filename", "") or "the DICOM file")), "DICOM"):
        shared = _clean(source, pseudonyms)
    patient = str(source.get("PatientID") or source.get("PatientName") or source.get("StudyInstanceUID") or "")
    shared.PatientID = pseudonyms.name_patient(patient)
    shared.PatientName = make_person_name(str(shared.PatientID))
    mark_deidentified(shared)
    syntax = _find_transfer_syntax(source)
    shared.file_meta = FileMetaDataset()
    shared.file_meta.TransferSyntaxUID = syntax
    shared.file_meta.MediaStorageSOPClassUID = shared.get("SOPClassUID", UID(""))
    shared.file_meta.MediaStorageSOPInstanceUID = shared.get("SOPInstanceUID", UID(""))
    shared.set_original_encoding(syntax.is_implicit_VR, syntax.is_little_endian, source.original_character_set)
    return shared


def mark_deidentified(dataset: Dataset) -> None:
    """Say in an object that, and how, its identity was removed (PS3.15, E.1.1)."""
    profile = Dataset()
    profile.CodeValue, profile.CodingSchemeDesignator = "113100", "DCM"
    profile.CodeMeaning = "Basic Application Confidentiality Profile"
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = _METHOD
    dataset.DeidentificationMethodCodeSequence = [profile]
    dataset.LongitudinalTemporalInformationModified = _WITHOUT_DATES


def replace_dates(dataset: Dataset) -> None:
    """Give every date and time of an object, also in its sequences, a dummy value."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                replace_dates(item)
        elif element.VR in _TIMES and element.value:
            element.value = _DUMMIES[element.VR]


def write_shared(path: Path, dataset: Dataset) -> None:
    """Write an object; the same one gives the same bytes.

    Raises
    ------
    MedSegError
        If it cannot be written.
    """
    with atomic_write(path) as temporary:
        try:
            dataset.save_as(temporary, enforce_file_format=True)
        except (ValueError, TypeError, AttributeError, KeyError, NotImplementedError) as error:
            raise MedSegError(f"{path.name} cannot be written as DICOM: {get_reason(error)}.") from error


def list_pixel_warnings(source: Dataset) -> list[str]:
    """Return what the pixels, which are kept, may show of a person; empty for most images."""
    warnings = []
    said = str(source.get("BurnedInAnnotation", "")).upper()
    modality, kinds = str(source.get("Modality", "")), source.get("ImageType") or ()
    if said == "YES":
        warnings.append("The header says that text is burnt into the pixels; it may name the patient.")
    elif said != "NO" and (modality in _PHOTOGRAPHED or "SECONDARY" in kinds):
        warnings.append("Text may be burnt into the pixels, as in many images of this kind; look at them.")
    body = str(source.get("BodyPartExamined", "")).upper()
    if source.get("RecognizableVisualFeatures", "") == "YES" or (modality in ("CT", "MR", "PT") and body in _HEAD):
        warnings.append("A face can be computed from slices of a head.")
    return warnings


def _clean(source: Dataset, pseudonyms: Pseudonyms) -> Dataset:
    cleaned = Dataset()
    for tag in sorted(source.keys()):
        element = source[tag]
        if (made := _TREAT[choose_treatment(element)](element, pseudonyms)) is not None:
            cleaned.add(made)
    return cleaned


def _remove(element: DataElement, pseudonyms: Pseudonyms) -> None:
    return None


def _keep(element: DataElement, pseudonyms: Pseudonyms) -> DataElement:
    return element


def _empty(element: DataElement, pseudonyms: Pseudonyms) -> DataElement:
    return DataElement(element.tag, element.VR, [] if element.VR == "SQ" else None)


def _put_dummy(element: DataElement, pseudonyms: Pseudonyms) -> DataElement | None:
    if element.is_empty:
        return _empty(element, pseudonyms)
    if element.VR == "UI":
        return _put_uid(element, pseudonyms)
    return DataElement(element.tag, element.VR, _DUMMIES[element.VR]) if element.VR in _DUMMIES else None


def _put_uid(element: DataElement, pseudonyms: Pseudonyms) -> DataElement | None:
    if element.VR != "UI":
        return None
    return DataElement(element.tag, "UI", pseudonyms.replace_uids(element.value))


def _clean_items(element: DataElement, pseudonyms: Pseudonyms) -> DataElement | None:
    if element.VR != "SQ":
        return None
    return DataElement(element.tag, "SQ", [_clean(item, pseudonyms) for item in element.value])


_TREAT: dict[str, Callable[[DataElement, Pseudonyms], DataElement | None]] = {
    "keep": _keep,
    "remove": _remove,
    "empty": _empty,
    "dummy": _put_dummy,
    "uid": _put_uid,
    "items": _clean_items,
}


def _find_transfer_syntax(source: Dataset) -> UID:
    """Return that of the file; a file without a meta header has the one that pydicom found."""
    meta = getattr(source, "file_meta", None)
    if meta is not None and meta.get("TransferSyntaxUID"):
        return UID(str(meta.TransferSyntaxUID))
    implicit, little = source.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian
