"""Body regions in the words of DICOM headers (PS3.16 annex L, and what scanners and people write instead)."""

import re
import unicodedata

BODY_REGIONS: dict[str, tuple[str, ...]] = {
    "chest": (
        *("CHEST", "THORA", "TORAX", "TORACE", "LUNG", "PULMO", "POUMON", "BRUSTKORB", "MEDIAST", "HEART", "CARDI"),
        *("CORONAR", "AORT", "RIB", "RIBS", "STERN", "TSPINE", "ESOPH", "BRONCH", "TRACHEA", "CAP", "DIAPHRAGM"),
        *("WHOLEBODY", "BODY", "TRUNK", "TORSO"),
    ),
    "trunk": ("ABDOM", "PELVI", "BECKEN", "LIVER", "KIDNEY", "PANCREAS", "SPLEEN", "SPINE", "NECK", "BLADDER", "COLON"),
    "elsewhere": (
        *(
            "HEAD",
            "SKULL",
            "BRAIN",
            "SCHAEDEL",
            "SCHADEL",
            "CRANE",
            "CRANI",
            "CRANEO",
            "KOPF",
            "FACE",
            "FACIAL",
            "ORBIT",
        ),
        *(
            "SINUS",
            "NASAL",
            "NOSE",
            "EYE",
            "EAR",
            "TEMPORAL",
            "MASTOID",
            "SELLA",
            "JAW",
            "MANDIBLE",
            "MAXILLA",
            "ZYGOMA",
        ),
        *("TMJ", "TOOTH", "TEETH", "DENTAL", "LARYNX", "THYROID", "BREAST", "MAMMA", "SHOULDER", "CLAVICLE", "SCAPULA"),
        *("ARM", "HUMERUS", "ELBOW", "FOREARM", "RADIUS", "ULNA", "WRIST", "HAND", "FINGER", "THUMB", "HIP", "FEMUR"),
        *("THIGH", "KNEE", "KNIE", "PATELLA", "LEG", "TIBIA", "FIBULA", "CALF", "ANKLE", "FOOT", "TOE", "HEEL"),
        *("CALCANEUS", "EXTREMITY", "LIMB", "JOINT", "SACRUM", "COCCYX", "PROSTATE", "UTERUS", "SCROTUM", "RODILLA"),
    ),
}
"""Starts of words by region, the first region that fits counts: "chest, abdomen and pelvis" shows the chest."""

SHORT_WORD = 3
"""Words up to this length must be whole words: "EAR" is not in "HEART"."""


def find_body_region(body_part: str) -> str:
    """Return a key of `BODY_REGIONS` for the body part of a header; empty if the words are unknown.

    Words that are written together, with a side or in another order are found: ``"CHESTABDPELVIS"``, ``"KNEE_LT"``.
    """
    return _find_region_and_word(body_part)[0]


def find_body_word(body_part: str) -> str:
    """Return the word of `BODY_REGIONS` that is found in the body part of a header; empty if there is none.

    It names the same region, and holds nothing else that a person may have typed there.
    """
    return _find_region_and_word(body_part)[1]


def _find_region_and_word(body_part: str) -> tuple[str, str]:
    plain = unicodedata.normalize("NFKD", body_part).encode("ascii", "ignore").decode().upper()
    words = re.findall("[A-Z]+", plain)
    joined = "".join(words)
    for region, stems in BODY_REGIONS.items():
        found = (stem for stem in stems if stem in words or (len(stem) > SHORT_WORD and stem in joined))
        if stem := next(found, ""):
            return region, stem
    return "", ""
