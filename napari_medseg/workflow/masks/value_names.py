"""Names of mask values, as other programs write them, and the labels of a task that they name.

TotalSegmentator writes a table of names into the header of a NIfTI file of several labels (a Caret extension), 3D
Slicer names the segments in the header of a `.seg.nrrd`, nnU-Net in a `dataset.json` beside its masks or one folder
above.
"""

import gzip
import re
import zlib
from collections.abc import Iterable
from pathlib import Path
from xml.sax.saxutils import unescape

from napari_medseg.core.dicom_labels.reader import find_label_class, read_dicom_label_names
from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.core.formats.discovery import NIFTI_SUFFIXES, get_suffix
from napari_medseg.core.json_model import parse_json
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.core.tasks.label_names import LOBES, find_label, split_words
from napari_medseg.core.volumes.segments import SEG_NRRD_SUFFIX, read_segment_names

DATASET_FILE = "dataset.json"
MAX_TABLE_BYTES = 1 << 20
_LABEL_TABLE = re.compile(rb"<LabelTable>(.*?)</LabelTable>", re.DOTALL)
_LABEL_ENTRY = re.compile(
    r'<Label\s[^>]*?Key="(\d{1,9})"[^>]*>\s*(?:<!\[CDATA\[(.*?)\]\]>|([^<]*))\s*</Label>', re.DOTALL
)


def read_value_names(mask: Path) -> dict[int, str]:
    """Return the names of the values of a mask, by value; empty if neither the file nor a `dataset.json` says them.

    Raises
    ------
    MedSegError
        If the `dataset.json` cannot be read.
    """
    names = _read_nifti_table(mask) if get_suffix(mask) in NIFTI_SUFFIXES else {}
    if get_suffix(mask) == SEG_NRRD_SUFFIX:
        names = read_segment_names(mask)
    if find_label_class(mask):
        names = read_dicom_label_names(mask)
    for folder in (mask.parent, mask.parent.parent):
        names = names or _read_dataset_file(folder / DATASET_FILE)
    return {value: name for value, name in names.items() if value > 0}


def map_names_to_labels(names: dict[int, str], task: Task) -> dict[int, int]:
    """Return the label value of each mask value whose name is that of a label; values of other names are left out."""
    found = {value: find_label(name, task) for value, name in names.items()}
    return {value: label for value, label in found.items() if label is not None}


def describe_missing_lobes(names: Iterable[str], task: Task) -> str:
    """Return which lobes no name stands for, of labels that are made of lobes only; empty if none is missing.

    Of ``lung_upper_lobe_left`` alone the label left lung would be made, without the lower lobe.
    """
    found: dict[int, set[str]] = {}
    for name in names:
        if (label := find_label(name, task)) is not None:
            found.setdefault(label, set()).update(split_words(name) & LOBES or {"whole"})
    texts = []
    for value, lobes in sorted(found.items()):
        title = task.get_label_name(value)
        expected = LOBES if "right" in split_words(title) else LOBES - {"middle"}
        if "whole" not in lobes and (missing := sorted(expected - lobes)):
            kept, lacking = " and ".join(sorted(lobes)), " and ".join(missing)
            texts.append(f"{title} is made of its {kept} lobe only; its {lacking} lobe has no mask")
    return "; ".join(texts)


def _read_nifti_table(path: Path) -> dict[int, str]:
    """Read the label table that lies between header and voxels; empty if there is none, or the file is damaged."""
    try:
        with gzip.open(path) if get_suffix(path) == ".nii.gz" else path.open("rb") as file:
            table = _LABEL_TABLE.search(file.read(MAX_TABLE_BYTES))
    except (OSError, EOFError, zlib.error):
        return {}  # the reader of the voxels says what is wrong
    text = "" if table is None else table[1].decode("utf-8", "replace")
    entries = _LABEL_ENTRY.findall(text)
    return {int(value): unescape(marked or plain).strip() for value, marked, plain in entries}


def _read_dataset_file(path: Path) -> dict[int, str]:
    """Read the names in nnU-Net's file: {"1": "liver"} of its first version, {"liver": 1} of its second one.

    Regions of the second version, which are lists of values, overlap, so they name no value.
    """
    try:
        if not path.is_file() or path.stat().st_size > MAX_TABLE_BYTES:
            return {}
        content = parse_json(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise MedSegError(
            f"{path} names the values of the masks, but cannot be read: {get_reason(error)}. Mend it, move it away, or "
            "give --values."
        ) from error
    labels = content.get("labels") if isinstance(content, dict) else None
    pairs = labels.items() if isinstance(labels, dict) else ()
    named = [(value, key) if isinstance(value, int) else (key, value) for key, value in pairs]
    return {int(value): str(name) for value, name in named if str(value).isdecimal() and isinstance(name, str)}
