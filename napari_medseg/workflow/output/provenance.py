"""`provenance.json` of an export folder: where each file comes from, and which files an interrupted export began.

An export first lists the files that it is going to write as unfinished. So whatever stops it, its files are known as
its own, and the same export can be repeated into the folder.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from napari_medseg.core.atomic_io import TEMPORARY_PREFIX, atomic_write_text, read_file
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.file_names import PROVENANCE_FILE, get_name_key
from napari_medseg.core.formats.discovery import DICOM_SUFFIXES, NIFTI_SUFFIXES, VOLUME_SUFFIXES, get_suffix
from napari_medseg.core.formats.gantry_tilt import compute_tilt_degrees, is_sheared
from napari_medseg.core.formats.png_jpeg import get_exif_orientation
from napari_medseg.core.image import Image
from napari_medseg.core.json_model import parse_json
from napari_medseg.core.records import now

FILE_KINDS = ("labels_file", "image_file", "reviewed_file")

STRAIGHTENED = (
    "They were moved by whole pixels onto an upright grid, at most half a pixel from their place in the patient."
)
TILT_IN_NIFTI = (
    "The sform gives their place in the patient. Programs based on ITK (3D Slicer, ITK-SNAP, nnU-Net) use the qform: "
    "the slices lie on those of the series as these programs read it. For an upright grid in the patient, straighten."
)
TILT_IN_VOLUME = (
    "They lie straight on each other, as programs based on ITK (3D Slicer, ITK-SNAP) read the series. For an upright "
    "grid in the patient, straighten."
)
TILT_IN_DICOM = "They lie on the slices of the series, at their places in the patient."
TILT_IN_TIFF = "Pages are the slices of the series. For an upright grid in the patient, straighten."

Entry = dict[str, Any]


@dataclass(frozen=True)
class Provenance:
    """Entries of complete cases, of cases whose files an interrupted export may have written, and of rejected cases."""

    cases: list[Entry]
    unfinished: list[Entry]
    rejected: list[Entry] = field(default_factory=list)

    @property
    def known(self) -> list[Entry]:
        """All entries of cases with files."""
        return [*self.cases, *self.unfinished]

    def without(self, replaced: Sequence[Entry]) -> "Provenance":
        """Return the entries whose label file is not that of one of `replaced`."""
        names = {entry["labels_file"] for entry in replaced}
        return Provenance(
            [entry for entry in self.cases if entry["labels_file"] not in names],
            [entry for entry in self.unfinished if entry.get("labels_file") not in names],
            self.rejected,
        )

    def lists(self, path: Path) -> bool:
        """Whether an export wrote, or was going to write, a file of this name."""
        names = {get_name_key(entry[kind]) for entry in self.known for kind in FILE_KINDS if entry.get(kind)}
        return get_name_key(path.name) in names


def read_provenance(folder: Path) -> Provenance:
    """Read the provenance of earlier exports into a folder; empty if there is none.

    Raises
    ------
    MedSegError
        If the file is not one of this program.
    """
    path = folder / PROVENANCE_FILE
    if not path.exists():
        return Provenance([], [])
    try:
        content = parse_json(read_file(path))
        cases = [entry for entry in content["cases"] if _is_owned(entry) and _is_whole(entry)]
        unfinished = [entry for entry in content.get("unfinished", ()) if _is_owned(entry)]
        rejected = [entry for entry in content.get("rejected", ()) if isinstance(entry, dict)]
        kept = [entry for entry in cases if (folder / entry["labels_file"]).exists()]
        return Provenance(kept, unfinished, rejected)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise MedSegError(f"{path} is not of an earlier export: {error}. Choose another folder.") from error


def _is_owned(entry: Entry) -> bool:
    """Whether an entry says whose files it lists; raise `ValueError` if its texts are none, or names lead elsewhere."""
    texts = [entry["stem"], entry["content_sha256"], *(entry.get(key) or "" for key in ("task", *FILE_KINDS))]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"an entry holds {texts} in place of texts")
    names = [entry[key] for key in ("stem", *FILE_KINDS) if entry.get(key)]
    if elsewhere := [name for name in names if "\0" in name or name in (".", "..") or re.search(r"[/\\]", name)]:
        raise ValueError(f"{elsewhere} are no names of files in this folder")  # an export replaces and removes them
    return bool(entry["stem"] and entry["content_sha256"])


def _is_whole(entry: Entry) -> bool:
    """Whether an entry has what the table of measurements needs."""
    keys = {"case", "group", "labels_file", "image_file"}
    rows = entry.get("measurements")
    return keys <= entry.keys() and isinstance(rows, list) and all(isinstance(row, dict) for row in rows)


def write_provenance(
    folder: Path, cases: Sequence[Entry], unfinished: Sequence[Entry] = (), rejected: Sequence[Entry] = ()
) -> Path:
    """Write `provenance.json` and return its path."""
    content: dict[str, Any] = {
        "program": f"napari-medseg {version('napari-medseg')}",
        "exported": now(),
        "orientation": "the affine maps the index (z, y, x) of canonical pixels to RAS millimetres; "
        "x grows to the patient's left, y to the back, z to the head",
        "cases": list(cases),
    }
    if rejected:
        content["rejected"] = list(rejected)
    if unfinished:
        content["unfinished"] = list(unfinished)
    path = folder / PROVENANCE_FILE
    atomic_write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return path


def make_unfinished_entry(stem: str, owner: Mapping[str, str], files: Mapping[str, Path]) -> Entry:
    """Return the entry of a case before its files are written; `owner` identifies the case."""
    return {"stem": stem, **owner, **{kind: path.name for kind, path in files.items()}}


def describe_grid(written: Image, source: Image, file_name: str) -> list[str]:
    """Return what a reader of a label file must know about how its pixels lie; usually nothing.

    Parameters
    ----------
    written, source
        The image on whose grid the labels were written, and the image as it was read.
    file_name
        Name of the label file; its format decides what the file itself can say.
    """
    remarks = []
    if written is not source:
        remarks.append(f"{_describe_tilt(source)} {STRAIGHTENED}")
    elif is_sheared(source.affine) and len(source.spatial_axes) == 3:
        remarks.append(f"{_describe_tilt(source)} {_explain_tilt(get_suffix(Path(file_name)))}")
    if (orientation := get_exif_orientation(source)) != 1:
        tag = "This file has the same tag." if file_name.endswith(".png") else "This format has no such tag."
        remarks.append(f"Pixels lie as stored in the photograph, which has EXIF Orientation {orientation}. {tag}")
    elif source.affine is None and source.storage is not None and any(source.storage.flips):
        remarks.append("Rows and columns lie as in the source file, which is not stored in radiological order.")
    return remarks


def _explain_tilt(suffix: str) -> str:
    if suffix in NIFTI_SUFFIXES:
        return TILT_IN_NIFTI
    if suffix in VOLUME_SUFFIXES:
        return TILT_IN_VOLUME
    return TILT_IN_DICOM if suffix in DICOM_SUFFIXES else TILT_IN_TIFF


def _describe_tilt(image: Image) -> str:
    return f"The slices are shifted against each other by {compute_tilt_degrees(image):.1f} degrees (gantry tilt)."


def remove_temporary_files(folder: Path) -> None:
    """Remove what a killed export left: files that were being written."""
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        path.unlink(missing_ok=True)
