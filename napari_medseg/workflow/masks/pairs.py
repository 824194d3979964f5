"""Pairs of images and masks by their names; a mask is a file, or a folder with one file for each label.

TotalSegmentator writes a folder of files such as `lung_upper_lobe_left.nii.gz` for each image, and its public data set
has these in `s0001/segmentations` beside `s0001/ct.nii.gz`.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from napari_medseg.core import formats
from napari_medseg.core.atomic_io import compute_file_sha256
from napari_medseg.core.containers.image_source import ImageSource
from napari_medseg.core.containers.inner_files import name_inner_paths
from napari_medseg.core.containers.part_paths import find_inner_path
from napari_medseg.core.containers.zip_archive import UnpackedArchive
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.name_matching import unify_name
from napari_medseg.workflow.masks.packed_folders import open_folder
from napari_medseg.workflow.masks.series_pairs import SeriesPair, find_objects, find_series_pairs
from napari_medseg.workflow.masks.value_names import read_value_names
from training.data.labelled_cases import get_stem
from training.from_folders.mask_files import LABEL_FOLDER_NAMES, MaskFile, find_label_folders, list_mask_files
from training.from_folders.mask_pairing import Mismatch, list_images, pair_by_name
from training.from_folders.name_matching import pair_names

_LATER_CHANNEL = re.compile(r"(.*)_\d{3}[1-9]|(.*)_\d{2}[1-9]\d")


@dataclass(frozen=True)
class LabelFolder:
    """Files of one label each, named after it; voxels that are not 0 have the label.

    `names` are those of the labels, in the order of the files; empty: the files are named after them.
    """

    path: Path
    files: tuple[Path, ...]
    names: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Name of the folder in messages."""
        return self.path.parent.name if self.path.name in LABEL_FOLDER_NAMES else self.path.name

    @property
    def named_files(self) -> list[tuple[str, Path]]:
        """The name of the label of each file, and the file."""
        return list(zip(self.names or map(get_stem, self.files), self.files, strict=True))


@dataclass(frozen=True)
class MaskPair:
    """An image, a file or a folder of one DICOM series, and its mask.

    Parameters
    ----------
    name, image, mask
        Name in messages; where image and mask lie.
    archive
        The archive from which the image was unpacked; `None` if it was not.
    loaded
        The image, if it is open already.
    kept
        The archives from which both were unpacked: their files stay as long as this object.
    source
        The series, if it was found among others; then `image` is its folder.
    """

    name: str
    image: Path
    mask: MaskFile | LabelFolder
    archive: UnpackedArchive | None = field(default=None, repr=False, compare=False)
    loaded: Image | None = field(default=None, repr=False, compare=False)
    kept: tuple[UnpackedArchive | None, ...] = field(default=(), repr=False, compare=False)
    source: ImageSource | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of_series(cls, found: SeriesPair) -> "MaskPair":
        """Return the pair of a series and its object."""
        return cls(found.name, found.image, MaskFile(found.mask), source=found.source)

    def read_image(self) -> Image:
        """Read the image; raises `MedSegError` if it cannot be read."""
        if self.loaded is not None:
            return self.loaded
        image = formats.read(self.image) if self.source is None else formats.read_source(self.source)
        return image if self.archive is None else name_inner_paths(image, self.archive)

    @property
    def single_mask(self) -> Path | None:
        """The file of the mask; `None` if it is a folder, or a part of a file."""
        return self.mask.path if isinstance(self.mask, MaskFile) and self.mask.coco_image is None else None

    def compute_sha256(self, asked: str) -> str:
        """Return the hash of the bytes of both, of the names of the values, and of what was asked for.

        It tells whether this was done before.
        """
        digest = hashlib.sha256(asked.encode())
        if (mask := self.single_mask) is not None:
            digest.update(repr(sorted(read_value_names(mask).items())).encode("utf-8", "surrogatepass"))
        files = self.mask.files if isinstance(self.mask, LabelFolder) else (self.mask.path,)
        entry = self.mask.title if isinstance(self.mask, MaskFile) and self.mask.coco_image is not None else ""
        of_image = _list_files(self.image) if self.source is None else sorted(self.source.files)
        for path in (*of_image, *files):
            digest.update(f"\n{path.name} {compute_file_sha256(path)}".encode("utf-8", "surrogatepass"))
        digest.update(entry.encode("utf-8", "surrogatepass"))
        if isinstance(self.mask, LabelFolder) and self.mask.names:
            digest.update(repr(self.mask.names).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


def find_pairs(
    images: Path, masks: Path, archive: UnpackedArchive | None = None
) -> tuple[list[MaskPair], list[Mismatch]]:
    """Pair the images of a folder with masks, and list what has no partner.

    Parameters
    ----------
    images
        Folder of images, or a zip archive of one; a DICOM series is a folder in it.
    masks
        Folder of mask files, folder of folders with one file for each label, a zip archive of one, or a COCO file. It
        may be the folder or archive of the images.
    archive
        The archive in which both were, if it is unpacked already.

    Raises
    ------
    MedSegError
        If a folder is missing, contains no readable file, or an archive cannot be unpacked.
    """
    of_images = open_folder(images)
    of_masks = of_images if images == masks else open_folder(masks)
    pairs, lacking = _find_pairs(of_images.path, of_masks.path)
    kept = of_images.archive or archive, of_masks.archive or archive
    if not any(kept):
        return pairs, lacking
    return [replace(pair, archive=kept[0], kept=kept) for pair in pairs], lacking


def _find_pairs(images: Path, masks: Path) -> tuple[list[MaskPair], list[Mismatch]]:
    if not images.is_dir():
        raise MedSegError(f"{images} is not a folder. Give a folder of images, or a zip archive of one.")
    nested, incomplete = _find_nested_pairs(images) if images.resolve() == masks.resolve() else ([], [])
    if nested:
        return nested, incomplete
    folders = _find_label_folders(masks) if masks.is_dir() and not _has_mask_files(masks) else {}
    image_of, doubled = list_images(images, masks) if folders else ({}, [])
    matched = pair_names(list(image_of), list(folders))
    if matched and not set(find_label_folders(masks, list(image_of), images)) <= set(map(unify_name, folders)):
        matched = {}  # they are labels, some of which are called as images
    if not matched:  # no folder is that of an image
        try:
            found = pair_by_name(images, masks)
        except MedSegError:  # a study, whose files lie in folders of their series
            pairs, lacking = _add_pairs_by_series(images, masks, [], [])
            if not pairs:
                raise
            return pairs, lacking
        pairs = [MaskPair(case.name, case.image, _take_label_folder(case.mask)) for case in found.cases]
        lacking = _leave_out_channels(found.mismatches, {pair.name for pair in pairs})
        return _add_pairs_by_series(images, masks, pairs, lacking) if lacking else (pairs, lacking)
    lacking = [Mismatch("double", name, "several images have this name") for name in doubled]
    lacking += [
        Mismatch("missing mask", name, f"{image_of[name].name} has no mask") for name in image_of if name not in matched
    ]
    used = set(matched.values())
    lacking += [
        Mismatch("missing image", name, f"the folder {name} has no image") for name in folders if name not in used
    ]
    return [MaskPair(name, image_of[name], folders[folder]) for name, folder in matched.items()], lacking


def _take_label_folder(mask: MaskFile) -> MaskFile | LabelFolder:
    """Return a mask of several files, which lie in a folder for each label, as files of one label each."""
    if not mask.parts:
        return mask
    names, files = zip(*mask.parts, strict=True)
    return LabelFolder(mask.path, files, names)


def _add_pairs_by_series(
    images: Path, masks: Path, pairs: list[MaskPair], lacking: list[Mismatch]
) -> tuple[list[MaskPair], list[Mismatch]]:
    """Pair what has no partner by its name, if it is DICOM that names its series."""
    paired = [path for pair in pairs for path in (pair.image, pair.single_mask) if path is not None]
    objects = find_objects(masks, paired) if masks.is_dir() else []
    if not objects:
        return pairs, lacking
    found = find_series_pairs([images], objects)
    new = [one for one in found.pairs if one.image not in paired]
    settled = {get_stem(path) for one in new for path in (one.image, one.mask, *one.source.files)}
    added = [MaskPair.of_series(one) for one in new]
    doubled = [
        Mismatch("double", path.name, "its series has another mask already; import it by itself")
        for path in found.doubled
    ]
    return [*pairs, *added], [*(one for one in lacking if one.name not in settled), *doubled]


def _leave_out_channels(mismatches: tuple[Mismatch, ...], paired: set[str]) -> list[Mismatch]:
    """Leave out further channels of nnU-Net: the mask of ``case_0001`` is that of ``case_0000``, which has one."""

    def is_channel(name: str) -> bool:
        found = _LATER_CHANNEL.fullmatch(name)
        return found is not None and f"{found[1] or found[2]}_0000" in paired

    return [one for one in mismatches if not (one.kind == "missing mask" and is_channel(one.name))]


def _find_nested_pairs(folder: Path) -> tuple[list[MaskPair], list[Mismatch]]:
    """Return the pairs of folders that hold an image and a folder of labels each, and what folders lack."""
    pairs, lacking = [], []
    for each in sorted(path for path in folder.iterdir() if path.is_dir()):
        labels = next((list_mask_files(each / name) for name in LABEL_FOLDER_NAMES if (each / name).is_dir()), ())
        images = list_mask_files(each)
        if labels and len(images) == 1:
            pairs.append(MaskPair(each.name, images[0], LabelFolder(labels[0].parent, labels)))
        elif labels:
            lacking.append(
                Mismatch("missing image", each.name, f"{each.name} has {len(images)} images beside its masks")
            )
        elif images:
            lacking.append(Mismatch("missing mask", each.name, f"{each.name} has no folder of masks"))
    return pairs, lacking


def _find_label_folders(masks: Path) -> dict[str, LabelFolder]:
    found = {}
    for each in sorted(path for path in masks.iterdir() if path.is_dir() and not path.name.startswith(".")):
        for place in (each, *(each / name for name in LABEL_FOLDER_NAMES)):
            if files := list_mask_files(place) if place.is_dir() else ():
                found[each.name] = LabelFolder(place, files)
                break
    return found


def _has_mask_files(masks: Path) -> bool:
    return bool(list_mask_files(masks))


def _list_files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(file for file in path.rglob("*") if file.is_file())
    else:
        inner = find_inner_path(path)
        yield path if inner is None else inner.file
