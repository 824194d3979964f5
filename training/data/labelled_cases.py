"""Pairs of images and reference labels, matched by file name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.discovery import get_suffix
from napari_medseg.core.name_matching import find_name, unify_name
from training.data.ignore_regions import ReviewedPart


@dataclass(frozen=True)
class LabelledCase:
    """An image with reference labels, both as files.

    `reviewed_part` is set if only a part is reviewed; `labels_sha256` is the hash of the labels in a snapshot.
    `label_sets` names the values that stand for several classes, see `training.data.label_sets`. `image_shape` is set
    if the image is a copy in a project, see `SnapshotItem`; `may_be_shown` is as there. `parts` are names and files of
    labels or objects if each has its own, see `training.from_folders.mask_files.MaskFile`; `labels` is their folder.
    """

    name: str
    image: Path
    labels: Path
    group: str = ""
    source: str = ""
    reviewed_part: ReviewedPart | None = None
    labels_sha256: str = ""
    label_sets: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    image_shape: tuple[int, ...] = ()
    may_be_shown: bool = True
    parts: tuple[tuple[str, Path], ...] = ()


class LabelFolder:
    """A folder of label files to score; the file of a case has its name, or has ``_labels`` added.

    Names are compared as text, see `core.name_matching`.

    Raises
    ------
    MedSegError
        If the folder does not exist.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise MedSegError(f"{folder} is not a folder. Give the folder of the labels to evaluate.")
        self.folder = folder
        self._files = {get_stem(path).removesuffix("_labels"): path for path in sorted(folder.iterdir())}

    def find(self, name: str) -> Path | None:
        """Return the file of a case; `None` if there is none."""
        found = name if name in self._files else find_name(name, self._files)
        return None if found is None else self._files[found]


def pair_by_stem(images: Path, labels: Path) -> list[LabelledCase]:
    """Pair images with labels of the same stem (`.nii.gz` counts as one suffix), sorted by name.

    Stems are compared as text, see `core.name_matching`. A case has the stem of its image.

    Raises
    ------
    MedSegError
        If a folder is missing or empty, several files have one stem, or labels have no image.
    """
    for folder in (images, labels):
        if not folder.is_dir():
            raise MedSegError(f"{folder} is not a folder. Give a folder of images and a folder of labels.")
    image_of, labels_of = _list_by_stem(images), _list_by_stem(labels)
    if not labels_of:
        raise MedSegError(f"{labels} contains no labels (.png, .tif, .nii, .nii.gz). Choose another folder.")
    pairs = [(stem if stem in image_of else find_name(stem, image_of), paths) for stem, paths in labels_of.items()]
    if orphans := sorted(paths[0].name for found, paths in pairs if found is None):
        raise MedSegError(
            f"{len(orphans)} of {len(labels_of)} labels have no image of the same name in {images}: "
            f"{', '.join(orphans[:5])}. Rename the files, or choose another folder."
        )
    files_of: dict[str, list[Path]] = {}
    for found, paths in pairs:
        files_of.setdefault(found or "", []).extend(paths)
    for stem, paths in files_of.items():
        _refuse_several(paths)
        _refuse_several(image_of[stem])
    return [LabelledCase(stem, image_of[stem][0], paths[0], source=images.name) for stem, paths in files_of.items()]


def _refuse_several(paths: list[Path]) -> None:
    if len(paths) > 1:
        raise MedSegError(
            f"{paths[0].name} and {paths[1].name} in {paths[0].parent} have the same name without the suffix. "
            "Remove one of them."
        )


def _list_by_stem(folder: Path) -> dict[str, list[Path]]:
    """Return the readable files of a folder by stem."""
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(".") and formats.can_read(path):
            files.setdefault(get_stem(path), []).append(path)
    return files


def get_stem(path: Path) -> str:
    """Return the name without a known suffix, in composed Unicode.

    The name of a DICOM file may be its UID, which contains dots.
    """
    suffix = get_suffix(path)
    return unify_name(path.name[: -len(suffix)] if suffix in formats.READERS else path.name)
