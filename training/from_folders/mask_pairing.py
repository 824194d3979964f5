"""A person's own images and masks: what belongs together, what the masks mean, and everything that does not fit.

Everything is looked at before anything is trained, so that all mismatches are known at once.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core import formats
from napari_medseg.core.errors import GridMismatchError, MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.quality.label_checks import Finding, check_labels
from napari_medseg.core.task_detection import detect_look, image_fits_task
from training.data.labelled_cases import get_stem
from training.from_folders.mask_files import MaskFile, UnknownValueError, find_masks
from training.from_folders.mask_values import MaskEncoding, convert_mask_to_labels, describe_soft_borders
from training.from_folders.name_matching import get_image_key, normalise_name, pair_names

Labels = NDArray[np.integer[Any]]
_KIND_BY_ERROR = {GridMismatchError: "other size", UnknownValueError: "unknown value"}


@dataclass(frozen=True)
class Mismatch:
    """One thing that does not fit. A `blocking` one leaves its image out, or stops everything.

    `kind` is ``"missing mask"``, ``"missing image"``, ``"double"``, ``"unreadable"``, ``"other kind"``, ``"other
    size"``, ``"unknown value"``, ``"sides"``, ``"empty"``, ``"soft borders"``, ``"not looked at"`` or ``"group"``.
    """

    kind: str
    name: str
    text: str
    blocking: bool = True


@dataclass(frozen=True)
class ImageFacts:
    """What is known of one image: its kind, its (z,) y and x in pixels, and which labels it has."""

    look: str
    modality: str
    axes: str
    shape: tuple[int, ...]
    values: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class FolderCase:
    """An image with the file that its labels come from."""

    name: str
    image: Path
    mask: MaskFile
    facts: ImageFacts | None = None


@dataclass(frozen=True, eq=False)
class PairingResult:
    """All pairs that fit, and all that does not."""

    cases: tuple[FolderCase, ...]
    mismatches: tuple[Mismatch, ...]

    @property
    def blocking_mismatches(self) -> tuple[Mismatch, ...]:
        """What has to be solved, or left out knowingly, before anything can be trained."""
        return tuple(mismatch for mismatch in self.mismatches if mismatch.blocking)


def pair_images_with_masks(images: Path, masks: Path, encoding: MaskEncoding) -> PairingResult:
    """Pair images with masks by their names, and look at every pair.

    Parameters
    ----------
    images
        Folder; a DICOM series is a folder in it.
    masks
        Folder of label files or of Aperio XML, or a COCO file. May be the same folder: then masks are told by endings
        of their names such as ``_mask``.
    encoding
        What the values of the masks mean.

    Raises
    ------
    MedSegError
        If a folder is missing, or holds nothing that could be paired.
    """
    image_of, doubled = _list_images(images, masks)
    mask_of = find_masks(masks, by_ending=images.resolve() == masks.resolve())
    if not image_of or not mask_of:
        empty = images if not image_of else masks
        raise MedSegError(f"{empty} holds nothing that could be read. Choose another folder, or convert the files.")
    pairs = pair_names(list(image_of), list(mask_of))
    mismatches = [Mismatch("double", name, "several images have this name") for name in doubled]
    mismatches += _find_unpaired(image_of, mask_of, pairs)
    cases = []
    for image_key, mask_key in pairs.items():
        case, found = check_pair(FolderCase(image_key, image_of[image_key], mask_of[mask_key]), encoding)
        mismatches += found
        if not any(mismatch.blocking for mismatch in found):
            cases.append(case)
    return PairingResult(tuple(cases), tuple(mismatches))


def check_pair(case: FolderCase, encoding: MaskEncoding) -> tuple[FolderCase, list[Mismatch]]:
    """Read one pair, and say what does not fit."""
    try:
        image, mask = _read_pair(case, encoding)
        labels = _convert_to_labels(case, mask, encoding)
    except MedSegError as error:
        return case, [Mismatch(_KIND_BY_ERROR.get(type(error), "unreadable"), case.name, str(error))]
    if not image_fits_task(image, encoding.task):
        takes = ", ".join(encoding.task.axes)
        return case, [Mismatch("other kind", case.name, f"it has axes {image.axes}, but the task takes {takes}")]
    if encoding.ignored_value is not None:
        if (labels == encoding.ignored_value).all():
            return case, [Mismatch("not looked at", case.name, f"all of its mask is {encoding.ignore} (--ignore)")]
        labels = np.where(labels == encoding.ignored_value, 0, labels)
    values = () if encoding.task.instances else tuple(int(value) for value in np.unique(labels) if value)
    facts = ImageFacts(detect_look(image), image.modality, image.axes, image.spatial_shape, values)
    found = [_make_mismatch(finding, case.name) for finding in _find_label_problems(labels, encoding, image)]
    if not case.mask.has_outlines and (note := describe_soft_borders(mask, encoding, exact=case.mask.is_exact)):
        found.append(Mismatch("soft borders", case.name, note, blocking=False))
    return replace(case, facts=facts), found


def read_image_and_labels(case: FolderCase, encoding: MaskEncoding) -> tuple[Image, Labels]:
    """Read the image of a case, and its mask as labels of the task, with `meaning.ignored_value` where nobody decided.

    Raises
    ------
    MedSegError
        If one cannot be read, the sizes differ, or a value or category is no label.
    """
    image, mask = _read_pair(case, encoding)
    return image, _convert_to_labels(case, mask, encoding)


def _read_pair(case: FolderCase, encoding: MaskEncoding) -> tuple[Image, NDArray[Any]]:
    """Read the image, and the mask as it is; of outlines, the labels of their categories or numbers."""
    image, task = formats.read(case.image), encoding.task
    if encoding.binarise and not case.mask.has_outlines:
        return image, formats.read_mask(case.mask.path, image)
    one_for_all = task.instances or encoding.binarise
    names = None if one_for_all else {normalise_name(label.name): label.value for label in task.labels}
    return image, case.mask.read(image, names)


def _convert_to_labels(case: FolderCase, mask: NDArray[Any], encoding: MaskEncoding) -> Labels:
    if not case.mask.has_outlines:
        return convert_mask_to_labels(mask, encoding, exact=case.mask.is_exact)
    return (mask > 0).astype(np.uint8) if encoding.binarise and not encoding.task.instances else mask


def _find_label_problems(labels: Labels, encoding: MaskEncoding, image: Image) -> Iterator[Finding]:
    wanted = {"sides", "empty"}
    return (finding for finding in check_labels(labels, encoding.task, image) if finding.kind in wanted)


def _make_mismatch(finding: Finding, name: str) -> Mismatch:
    advice = "; if they all are, exchange their names in --labels" if finding.kind == "sides" else ""
    return Mismatch(finding.kind, name, finding.text + advice, finding.blocking)


def _list_images(images: Path, masks: Path) -> tuple[dict[str, Path], list[str]]:
    """Images by the names that they are paired by, and the names that several have."""
    if not images.is_dir():
        raise MedSegError(f"{images} is no folder. Give a folder of images.")
    both = images.resolve() == masks.resolve()
    paths = [path for path in sorted(images.iterdir()) if _is_image(path, masks)]
    paths = [path for path in paths if not (both and get_image_key(get_stem(path)) is None)]
    times = Counter(get_stem(path) for path in paths)
    doubled = sorted(name for name, count in times.items() if count > 1)
    return {get_stem(path): path for path in paths if times[get_stem(path)] == 1}, doubled


def _is_image(path: Path, masks: Path) -> bool:
    return not path.name.startswith(".") and path.resolve() != masks.resolve() and formats.can_read(path)


def _find_unpaired(
    image_of: Mapping[str, Path], mask_of: Mapping[str, MaskFile], pairs: Mapping[str, str]
) -> Iterator[Mismatch]:
    for name in image_of:
        if name not in pairs:
            yield Mismatch("missing mask", name, f"{image_of[name].name} has no mask")
    paired = set(pairs.values())
    for name, mask in mask_of.items():
        if name not in paired:
            yield Mismatch("missing image", name, f"{mask.title} has no image")


def format_mismatches(mismatches: Sequence[Mismatch], at_most: int = 20) -> list[str]:
    """Lines for people: how many of each kind, then each one by name."""
    lines = []
    for kind in dict.fromkeys(mismatch.kind for mismatch in mismatches):
        alike = [mismatch for mismatch in mismatches if mismatch.kind == kind]
        lines.append(f"{kind}: {len(alike)}{'' if alike[0].blocking else ' (a warning)'}")
        lines += [f"  {mismatch.name}: {mismatch.text}" for mismatch in alike[:at_most]]
        if len(alike) > at_most:
            lines.append(f"  and {len(alike) - at_most} more")
    return lines
