"""What the Basic Profile of DICOM PS3.15 (table E.1-1, in `basic_profile.tsv`) does with each attribute."""

from functools import cache
from pathlib import Path
from typing import Literal

from pydicom.datadict import dictionary_has_tag, dictionary_is_retired
from pydicom.dataelem import DataElement

TABLE_FILE = Path(__file__).with_name("basic_profile.tsv")
EDITION = "2026c"
Treatment = Literal["keep", "remove", "empty", "dummy", "uid", "items"]
_OF_ACTION: dict[str, Treatment] = {
    "X": "remove",
    "Z": "empty",
    "X/Z": "empty",
    "D": "dummy",
    "Z/D": "dummy",
    "X/D": "dummy",
    "X/Z/D": "dummy",
    "U": "uid",
    "X/Z/U*": "items",
}
"""Of several actions that depend on the kind of object, the one that every kind allows."""
_CURVES, _OVERLAYS = 0x5000, 0x6000
_REPEATED = 0xFF00
_NAMES_AND_TIMES = ("PN", "DA", "DT", "TM")
_FREE_TEXTS = ("LT", "ST", "UT", "UR")
_TEXTS = (*_FREE_TEXTS, "AE", "LO", "PN", "SH", "UC")
_OF_CODES = range(0x0100, 0x0125)
"""Elements of group 8 that make up a coded entry, whose texts come from a published list."""
_DATE_AS_TEXT = "InAlternativeCalendar"
_EMPTY_ALLOWED = ("AcquisitionContextSequence",)
"""Of the listed sequences of images the one that may have no items; of others an empty one is an error."""
_CLASS_UIDS = ("SOPClassUID", "TransferSyntaxUID")


def choose_treatment(element: DataElement) -> Treatment:
    """Return what happens to an attribute.

    Private attributes, overlays, curves and attributes that pydicom does not know are removed. Names, dates, times,
    free texts and addresses that the table does not list get dummy values, retired texts are removed. Sequences that it
    does not list are cleaned item by item.
    """
    tag = element.tag
    if tag.is_private or tag.element == 0 or tag.group & _REPEATED in (_CURVES, _OVERLAYS):
        return "remove"
    listed = _read_table().get(int(tag))
    if listed is not None:
        if element.VR == "SQ" and listed in ("dummy", "empty"):
            return "empty" if element.keyword in _EMPTY_ALLOWED else "remove"
        return listed
    return _choose_unlisted(element)


def _choose_unlisted(element: DataElement) -> Treatment:
    tag = element.tag
    if not dictionary_has_tag(tag) or element.VR == "UN" or element.keyword.endswith(_DATE_AS_TEXT):
        return "remove"
    if element.VR in _TEXTS and dictionary_is_retired(tag):
        return "remove"
    if element.VR == "SQ":
        return "items"
    if element.VR == "UI":
        return "keep" if element.keyword.endswith(_CLASS_UIDS) else "uid"
    is_of_code = tag.group == 0x0008 and tag.element in _OF_CODES
    is_text = element.VR in _FREE_TEXTS and not is_of_code
    return "dummy" if is_text or element.VR in _NAMES_AND_TIMES else "keep"


@cache
def _read_table() -> dict[int, Treatment]:
    lines = TABLE_FILE.read_text(encoding="utf-8").splitlines()
    rows = (line.split("\t") for line in lines if not line.startswith("#"))
    return {int(tag, 16): _OF_ACTION[action] for tag, action, _ in rows}
