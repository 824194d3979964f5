"""Which of the dropped files are masks: by their names and folders, and by what an image looks like."""

from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from napari_medseg.core.containers.zip_archive import is_zip
from napari_medseg.core.dicom_labels.reader import find_label_class
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats import MASK_SUFFIXES, ReadProgress
from napari_medseg.core.formats.discovery import get_suffix
from napari_medseg.core.image import Image
from napari_medseg.core.name_matching import fold_name
from napari_medseg.core.volumes.segments import SEG_NRRD_SUFFIX
from napari_medseg.workflow.data_set.find import is_data_set
from napari_medseg.workflow.masks.packed_folders import open_folder
from napari_medseg.workflow.masks.pairs import MaskPair, find_pairs
from napari_medseg.workflow.masks.series_pairs import find_objects, find_series_pairs, holds_objects
from training.data.labelled_cases import get_stem
from training.from_folders.mask_files import MaskFile
from training.from_folders.name_matching import MASK_ENDING, find_mask_names, pair_names, strip_image_ending

MASK_FOLDERS = {
    "labels",
    "label",
    "masks",
    "mask",
    "labelstr",
    "labelsts",
    "segmentations",
    "segmentation",
    "annotations",
    "ground_truth",
    "groundtruth",
    "gt",
    "lesions",
    "instances",
}
IMAGE_FOLDERS = {"images", "image", "imagestr", "imagests", "img", "imgs", "scans", "volumes", "ct", "dicom"}
_NNUNET_IMAGES, _NNUNET_MASKS = "imagestr", "labelstr"
MAX_VALUES = 256
MIN_SAME_NEIGHBOURS = 0.93
SAMPLE_PX = 1 << 20


@dataclass(frozen=True)
class SplitDrop:
    """The files of a drop.

    Parameters
    ----------
    images
        Files and folders to open as images.
    pairs
        Images that came with their masks.
    masks
        Masks without their image, which may be of the open case.
    data_set
        A data set of this program, a folder or an archive, which was dropped alone; `None` if there is none.
    n_left_out
        Other images of a study, of which only those with masks are pairs.
    """

    images: tuple[Path, ...]
    pairs: tuple[MaskPair, ...] = ()
    masks: tuple[Path, ...] = ()
    data_set: Path | None = None
    n_left_out: int = 0


def split_drop(paths: Sequence[Path]) -> SplitDrop:
    """Find the masks among dropped files and folders, as `iterate_split` does."""
    *_, found = iterate_split(paths)
    assert isinstance(found, SplitDrop)  # the last item
    return found


def iterate_split(paths: Sequence[Path]) -> Generator[ReadProgress | SplitDrop]:
    """Find the masks among dropped files and folders by their names and headers; no pixel is read.

    Each file is opened, which takes seconds for hundreds on a slow disk: yield how far it is, and the result last.

    A folder pair is two folders of which one is named as masks are, or one folder that holds both. Of several files,
    a mask is named as one (``a_mask``, ``MASK_1``), lies in a folder of masks, or has the name of an image without its
    ending (``a`` beside ``a_0000``).
    """
    if len(paths) == 1 and is_data_set(paths[0]):
        yield SplitDrop((), data_set=paths[0])
        return
    objects = []
    for number, path in enumerate(paths, start=1):
        yield ReadProgress(number, len(paths), path.name)
        if path.is_file() and find_label_class(path):
            objects.append(path)
    images = [path for path in paths if path not in objects]
    study = _find_study(images, objects)
    yield study or (_split_objects(images, objects) if objects else _split_paths(paths))


def looks_like_mask(image: Image) -> bool:
    """Whether pixels look like labels: few whole numbers from 0, and neighbours that are nearly always equal.

    Judged on a part of the image, so it takes milliseconds. An image of one value is none.
    """
    if image.axes.endswith("C") or image.pixels.dtype.kind not in "ui":
        return False
    planes = image.pixels.reshape(-1, *image.pixels.shape[-2:])
    step = max(1, image.pixels.size // SAMPLE_PX)
    sample = planes[::step]
    if (sample[..., 1:] == sample[..., :-1]).mean() < MIN_SAME_NEIGHBOURS:  # first, because it is quick
        return False
    values = np.unique(sample)
    return 2 <= len(values) <= MAX_VALUES and bool(values[0] == 0)


def is_named_as_mask(path: Path, named: Collection[str]) -> bool:
    """Whether the name of a file, or of its folder, says that it is a mask; `named` are names that say so."""
    if get_suffix(path) == SEG_NRRD_SUFFIX:
        return True
    stem = get_stem(path)
    return stem in named or MASK_ENDING.search(stem) is not None or fold_name(path.parent.name) in MASK_FOLDERS


def _split_paths(paths: Sequence[Path]) -> SplitDrop:
    folders = [path for path in paths if path.is_dir()]
    if not folders:
        return _split_files(paths)
    together = _find_folders(folders) if len(folders) == len(paths) else None
    if together is None:
        return SplitDrop(tuple(paths))
    try:
        pairs, _ = find_pairs(*together)
    except MedSegError:
        return SplitDrop(tuple(paths))
    return SplitDrop(() if pairs else tuple(paths), tuple(pairs))


def _find_study(images: Sequence[Path], objects: Sequence[Path]) -> SplitDrop | None:
    """Pair series in folders and archives with the DICOM labels that lie there, or were dropped, too."""
    folders = [path for path in images if path.is_dir()]
    archives = [path for path in images if is_zip(path) and (objects or holds_objects(path))]
    inside = [path for folder in folders for path in find_objects(folder)]
    if not (folders or archives) or not (objects or inside or archives):
        return None
    try:
        opened = [open_folder(path) for path in archives]
        packed = [path for one in opened for path in find_objects(one.path)]
        where = [*(path for path in images if path not in archives), *(one.path for one in opened)]
        found = find_series_pairs(where, [*objects, *inside, *packed])
    except MedSegError:
        return None  # opening the files says what is wrong
    pairs = []
    for pair in found.pairs:
        archive = next((one.archive for one in opened if pair.image.is_relative_to(one.path)), None)
        pairs.append(replace(MaskPair.of_series(pair), archive=archive, kept=tuple(one.archive for one in opened)))
    return SplitDrop((), tuple(pairs), tuple(found.doubled), None, found.n_others) if pairs else None


def _split_objects(images: Sequence[Path], objects: Sequence[Path]) -> SplitDrop:
    """Return DICOM segmentations and structure sets as masks: one that came with one series is its mask."""
    if len(images) == 1 and len(objects) == 1:
        return SplitDrop((), (MaskPair(get_stem(objects[0]), images[0], MaskFile(objects[0])),))
    return SplitDrop(tuple(images), (), tuple(objects))


def _split_files(paths: Sequence[Path]) -> SplitDrop:
    readable = [path for path in paths if get_suffix(path) in MASK_SUFFIXES]
    named = find_mask_names({get_stem(path) for path in readable})
    masks = [path for path in readable if is_named_as_mask(path, named)]
    if not masks:
        masks = _find_plain_names(readable)
    images = [path for path in paths if path not in masks]
    image_of, mask_of = ({get_stem(path): path for path in group} for group in (images, masks))
    matched = pair_names(list(image_of), list(mask_of)) if len(image_of) == len(images) else {}
    pairs = [MaskPair(name, image_of[name], MaskFile(mask_of[mask])) for name, mask in matched.items()]
    paired = {path for pair in pairs for path in (pair.image, pair.mask.path)}
    return SplitDrop(
        tuple(path for path in images if path not in paired),
        tuple(pairs),
        tuple(path for path in masks if path not in paired),
    )


def _find_plain_names(files: Sequence[Path]) -> list[Path]:
    """Return the files that are named like another one without its image ending, as nnU-Net names masks."""
    plain = {
        strip_image_ending(get_stem(path)) for path in files if strip_image_ending(get_stem(path)) != get_stem(path)
    }
    return [path for path in files if get_stem(path) in plain]


def _find_folders(folders: Sequence[Path]) -> tuple[Path, Path] | None:
    """Return the folder of images and that of masks; `None` if the folders are no such pair."""
    if len(folders) == 2:
        named = [folder for folder in folders if fold_name(folder.name) in MASK_FOLDERS]
        if len(named) != 1:
            return None
        other = next(folder for folder in folders if folder != named[0])
        return other, named[0]
    if len(folders) != 1:
        return None
    inside = sorted(path for path in folders[0].iterdir() if path.is_dir())
    masks = [path for path in inside if fold_name(path.name) in MASK_FOLDERS]
    images = [path for path in inside if fold_name(path.name) in IMAGE_FOLDERS]
    if len(masks) > 1 or len(images) > 1:  # of nnU-Net: training cases, with test cases beside them
        masks = [path for path in masks if fold_name(path.name) == _NNUNET_MASKS]
        images = [path for path in images if fold_name(path.name) == _NNUNET_IMAGES]
    if len(masks) == 1 and len(images) <= 1:
        return (images[0] if images else folders[0]), masks[0]
    return None
