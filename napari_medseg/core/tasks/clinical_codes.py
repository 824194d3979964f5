"""Codes of labels in clinical terminologies (SNOMED CT, and DICOM's own), for DICOM objects and 3D Slicer.

The codes are those of DICOM PS3.16, as pydicom lists them: category of CID 7150, side of CID 244. "Lung consolidation"
is not in DICOM: it is SNOMED CT 95436008, as in the OMOP vocabulary (concept 4318404).
"""

import re
from dataclasses import dataclass

from napari_medseg.core.name_matching import fold_name
from napari_medseg.core.tasks.bundled_tasks import Task


@dataclass(frozen=True)
class Code:
    """A code, its scheme, and its meaning."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True)
class LabelCode:
    """What a label is: its category, its type, and a side if it has one."""

    category: Code
    kind: Code
    side: Code | None = None


RIGHT, LEFT = Code("24028007", "SCT", "Right"), Code("7771000", "SCT", "Left")
_ANATOMY = Code("91723000", "SCT", "Anatomical Structure")
_FINDING = Code("49755003", "SCT", "Morphologically Abnormal Structure")
_OBJECT = Code("260787004", "SCT", "Physical object")
_TISSUE = Code("85756007", "SCT", "Tissue")
_KINDS = {
    "lung": (_ANATOMY, Code("39607008", "SCT", "Lung")),
    "ground-glass": (_FINDING, Code("112120", "DCM", "Ground glass opacity")),
    "consolidation": (_FINDING, Code("95436008", "SCT", "Lung consolidation")),
    "pleural effusion": (_FINDING, Code("60046008", "SCT", "Pleural effusion")),
    "nucleus": (_ANATOMY, Code("84640000", "SCT", "Nucleus")),
    "instrument": (_OBJECT, Code("57134006", "SCT", "Instrument")),
    "liver": (_ANATOMY, Code("10200004", "SCT", "Liver")),
    "kidney": (_ANATOMY, Code("64033007", "SCT", "Kidney")),
    "spleen": (_ANATOMY, Code("78961009", "SCT", "Spleen")),
    "heart": (_ANATOMY, Code("80891009", "SCT", "Heart")),
    "brain": (_ANATOMY, Code("12738006", "SCT", "Brain")),
    "pancreas": (_ANATOMY, Code("15776009", "SCT", "Pancreas")),
    "prostate": (_ANATOMY, Code("41216001", "SCT", "Prostate")),
    "bone": (_ANATOMY, Code("272673000", "SCT", "Bone")),
}
_OWN_SCHEME = "99MEDSEG"
"""DICOM: schemes that start with 99 are private. Used for labels of custom tasks whose name is no known word."""
_MAX_CODE_LENGTH = 16


def find_code(task: Task, value: int) -> LabelCode:
    """Return the codes of a label; of a name that no terminology here has, a private code with this name."""
    name = next((label.name for label in task.labels if label.value == value), f"label {value}")
    words = fold_name(name).split()
    sides = [side for word, side in (("right", RIGHT), ("left", LEFT)) if word in words]
    bare = " ".join(word for word in words if word not in ("right", "left"))
    side = sides[0] if len(sides) == 1 else None
    if bare in _KINDS:
        return LabelCode(*_KINDS[bare], side)
    own = re.sub(r"[^A-Z0-9]+", "_", f"{task.name}_{value}".upper())[-_MAX_CODE_LENGTH:]
    return LabelCode(_TISSUE, Code(own, _OWN_SCHEME, name[:64]), side)
