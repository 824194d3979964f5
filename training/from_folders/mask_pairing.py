"""Pair a user's images with masks, convert the masks to labels, and report everything that does not fit.

All files are checked before training, so that all mismatches are reported at once.
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
from napari_medseg.core.quality.image_fingerprint import Fingerprint, compute_fingerprint
from napari_medseg.core.quality.label_checks import Finding, check_labels
from napari_medseg.core.tasks.detection import detect_look, image_fits_task
from training.data.labelled_cases import get_stem
from training.from_folders.mask_files import MaskFile, UnknownValueError, find_masks
from training.from_folders.mask_values import MaskEncoding, convert_mask_to_labels, describe_soft_borders
from training.from_folders.name_matching import get_image_key, normalise_name, pair_names

Labels = NDArray[np.integer[Any]]
_KIND_BY_ERROR = {GridMismatchError: "other size", UnknownValueError: "unknown value"}


@dataclass(frozen=True)
class Mismatch:
    """One problem of an image or mask. If it is `blocking`, the image is excluded or the command stops.

    `kind` is ``"missing mask"``, ``"missing image"``, ``"double"``, ``"unreadable"``, ``"other kind"``, ``"other
    size"``, ``"unknown value"``, ``"sides"``, ``"empty"``, ``"soft borders"``, ``"not looked at"``, ``"group"``,
    ``"duplicate"`` or ``"same place"``.
    """

    kind: str
    name: str
    text: str
    blocking: bool = True


@dataclass(frozen=True)
class ImageFacts:
    """Properties of one image: look, modality, axes, shape ((z,) y, x) in pixels, and the label values it contains."""

    look: str
    modality: str
    axes: str
    shape: tuple[int, ...]
    values: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class FolderCase:
    """An image with the file of its labels; `group` is what the image file says of its patient, slide or video."""

    name: str
    image: Path
    mask: MaskFile
    facts: ImageFacts | None = None
    group: str = ""
    fingerprint: Fingerprint | None = None


@dataclass(frozen=True, eq=False)
class PairingResult:
    """All valid pairs, and all mismatches."""

    cases: tuple[FolderCase, ...]
    mismatches: tuple[Mismatch, ...]

    @property
    def blocking_mismatches(self) -> tuple[Mismatch, ...]:
        """Mismatches that a user has to correct or explicitly skip before training."""
        return tuple(mismatch for mismatch in self.mismatches if mismatch.blocking)


def pair_images_with_masks(images: Path, masks: Path, encoding: MaskEncoding) -> PairingResult:
    """Pair images with masks by their names, and check every pair.

    Parameters
    ----------
    images
        Folder of images; a DICOM series is a folder in it.
    masks
        Folder of label files or of Aperio XML, or a COCO file. It may be the same folder; then masks are recognised by
        name endings such as ``_mask``.
    encoding
        The meaning of the mask values.

    Raises
    ------
    MedSegError
        If a folder is missing, or contains no readable file.
    """
    image_of, doubled = _list_images(images, masks)
    mask_of = find_masks(masks, by_ending=images.resolve() == masks.resolve())
    if not image_of or not mask_of:
        empty = images if not image_of else masks
        raise MedSegError(f"{empty} contains no readable file. Choose another folder, or convert the files.")
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
    """Read one pair; return it with the properties of the image, and all mismatches."""
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
    group, fingerprint = image.group or case.name, compute_fingerprint(image)
    return replace(case, facts=facts, group=group, fingerprint=fingerprint), found


def read_image_and_labels(case: FolderCase, encoding: MaskEncoding) -> tuple[Image, Labels]:
    """Read the image of a case, and its mask as labels of the task; unlabelled pixels get `encoding.ignored_value`.

    Raises
    ------
    MedSegError
        If a file cannot be read, the sizes differ, or a value or category is not a label.
    """
    image, mask = _read_pair(case, encoding)
    return image, _convert_to_labels(case, mask, encoding)


def _read_pair(case: FolderCase, encoding: MaskEncoding) -> tuple[Image, NDArray[Any]]:
    """Read the image and the unconverted mask; outlines become labels of their categories, or numbered objects."""
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
    advice = "; if this is so for all images, exchange their names in --labels" if finding.kind == "sides" else ""
    return Mismatch(finding.kind, name, finding.text + advice, finding.blocking)


def _list_images(images: Path, masks: Path) -> tuple[dict[str, Path], list[str]]:
    """Return the images by the name used for pairing, and the names that several images have."""
    if not images.is_dir():
        raise MedSegError(f"{images} is not a folder. Give a folder of images.")
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
    """Return lines of text for the user: the number of each kind of mismatch, then each one by name."""
    lines = []
    for kind in dict.fromkeys(mismatch.kind for mismatch in mismatches):
        alike = [mismatch for mismatch in mismatches if mismatch.kind == kind]
        lines.append(f"{kind}: {len(alike)}{'' if alike[0].blocking else ' (a warning)'}")
        lines += [f"  {mismatch.name}: {mismatch.text}" for mismatch in alike[:at_most]]
        if len(alike) > at_most:
            lines.append(f"  and {len(alike) - at_most} more")
    return lines
