"""Pair DICOM segmentations and structure sets with the series that they refer to, whatever their files are called."""

import os
import zipfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from napari_medseg.core import formats
from napari_medseg.core.containers.image_source import ImageSource
from napari_medseg.core.containers.zip_archive import refuse_long_list
from napari_medseg.core.dicom_labels.reader import LABEL_CLASSES, find_label_class, read_referenced_series
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.discovery import MAX_FILES, NON_DICOM_SUFFIXES, get_suffix

_START_BYTES = 4096
"""Of a DICOM file, in which the class of its object stands."""
_ENCRYPTED = 0x1


@dataclass(frozen=True, eq=False)
class SeriesPair:
    """A series, and the object with its labels."""

    source: ImageSource
    mask: Path

    @property
    def name(self) -> str:
        """Name in messages: the folder of the series, or its only file."""
        first = self.source.files[0]
        return first.stem if len(self.source.files) == 1 else first.parent.name

    @property
    def image(self) -> Path:
        """The only file of the series, or the folder in which its first one lies."""
        first = self.source.files[0]
        return first if len(self.source.files) == 1 else first.parent


@dataclass(frozen=True)
class FoundSeriesPairs:
    """Pairs; objects of a series that has another one already; and how many other images there are."""

    pairs: tuple[SeriesPair, ...]
    doubled: tuple[Path, ...]
    n_others: int


def find_objects(folder: Path, but: Collection[Path] = ()) -> list[Path]:
    """Return the segmentations and structure sets in a folder and its subfolders, without those in `but`."""
    files = islice(_walk(folder), MAX_FILES)
    return [path for path in files if path not in but and find_label_class(path)]


def holds_objects(archive: Path) -> bool:
    """Whether a file of a zip archive looks like a segmentation or structure set; fast, and nothing is unpacked."""
    marks = [uid.encode() for uid in LABEL_CLASSES]
    try:
        with archive.open("rb") as file:
            refuse_long_list(file, archive.name)
            with zipfile.ZipFile(file) as packed:
                for entry in packed.infolist():
                    if entry.is_dir() or entry.flag_bits & _ENCRYPTED:
                        continue
                    with packed.open(entry) as one:
                        start = one.read(_START_BYTES)
                    if any(mark in start for mark in marks):
                        return True
    except (MedSegError, OSError, zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, RuntimeError):
        return False  # opening it as an archive says what is wrong
    return False


def find_series_pairs(images: Sequence[Path], objects: Sequence[Path]) -> FoundSeriesPairs:
    """Find the series of each object among the images of files and folders.

    A series that is several images, such as phases, is left out: its labels could be of any.

    Raises
    ------
    MedSegError
        If an object is damaged.
    """
    sources = [source for source in formats.search_images(images).sources if source.files[0] not in objects]
    of_series: dict[str, list[ImageSource]] = {}
    for source in sources:
        if source.series and source.headers:
            of_series.setdefault(source.series, []).append(source)
    pairs: dict[str, SeriesPair] = {}
    doubled = []
    for path in objects:
        found = [source for uid in sorted(read_referenced_series(path)) for source in of_series.get(uid, ())]
        if len(found) == 1 and found[0].series in pairs:
            doubled.append(path)
        elif len(found) == 1:
            pairs[found[0].series] = SeriesPair(found[0], path)
    return FoundSeriesPairs(tuple(pairs.values()), tuple(doubled), len(sources) - len(pairs))


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files that may be DICOM, also of folders of masks, without hidden ones."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(parent, name) for name in sorted(names) if not name.startswith(".")):
            if get_suffix(path) not in NON_DICOM_SUFFIXES and path.is_file():
                yield path
