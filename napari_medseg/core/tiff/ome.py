"""What the XML of an OME-TIFF may ask for: tifffile opens the files that it names, and lists all planes in it."""

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import tifffile

from napari_medseg.core.errors import MedSegError

MAX_PLANES = 1_000_000
_COUNTS = ("SizeZ", "SizeC", "SizeT", "NumPlanes", "PlaneCount", "IFD", "FirstZ", "FirstC", "FirstT")


def refuse_unsafe_ome(path: Path, tiff: tifffile.TiffFile) -> None:
    """Refuse an OME-TIFF whose XML names files elsewhere, or counts more planes than a file can hold.

    Call it before tifffile looks for the images of the file. XML that cannot be read is left to tifffile.

    Raises
    ------
    MedSegError
        Names the file or the number.
    """
    try:
        root = ElementTree.fromstring(tiff.ome_metadata or "<none/>")
    except ElementTree.ParseError:
        return
    for element in root.iter():
        name = element.attrib.get("FileName")
        if name is not None:
            _refuse_elsewhere(path, name)
        n_planes = max(_find_counts(element), default=0)
        if n_planes > MAX_PLANES:
            raise MedSegError(
                f"{path.name} is damaged: its OME-XML counts {n_planes:,.0f} planes, more than {MAX_PLANES:,}. "
                "Export it again."
            )


def read_ome_annotation(tiff: tifffile.TiffFile, key: str) -> str:
    """Return the value of a key in the map annotations of an OME-TIFF; ``""`` if there is none."""
    try:
        root = ElementTree.fromstring((tiff.ome_metadata or "") if tiff.is_ome else "<none/>")
    except ElementTree.ParseError:
        return ""
    entries = (each for each in root.iter() if each.tag.rpartition("}")[2] == "M" and each.get("K") == key)
    return next((entry.text or "" for entry in entries), "")


def _refuse_elsewhere(path: Path, name: str) -> None:
    """Refuse a name that is not of a file in the same folder: a header must not decide which file is opened."""
    beside = path.parent / name
    is_plain = name not in ("", ".", "..") and not {"/", "\\", ":", "\0"} & set(name)
    if not is_plain or (beside.exists() and not beside.is_file()):
        raise MedSegError(
            f"{path.name} names a file of its image in another folder, which is not opened. "
            "Put the files of the image into one folder, or export it as one file."
        )


def _find_counts(element: ElementTree.Element) -> Iterator[float]:
    """Yield the numbers of planes in an element: each count, the product of the sizes, the steps of a modulo axis."""
    values = {name: _read_number(element, name) for name in _COUNTS}
    yield from values.values()
    yield max(1.0, values["SizeZ"]) * max(1.0, values["SizeC"]) * max(1.0, values["SizeT"])
    if "Start" in element.attrib and "End" in element.attrib:
        length = abs(_read_number(element, "End") - _read_number(element, "Start"))
        step = abs(_read_number(element, "Step", "1"))
        yield length / step if step else float("inf")


def _read_number(element: ElementTree.Element, name: str, default: str = "0") -> float:
    try:
        return float(element.attrib.get(name, default))
    except ValueError:  # tifffile says so
        return 0.0
