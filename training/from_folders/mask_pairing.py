"""Pair a user's images with masks, convert the masks to labels, and report everything that does not fit.

All files are checked before training, so that all mismatches are reported at once.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from napari_medseg.core import formats
from napari_medseg.core.errors import GridMismatchError, HeaderMismatchError, MedSegError
from napari_medseg.core.formats.mask_placement import MaskPlacement, PlacedMask
from napari_medseg.core.image import Image
from napari_medseg.core.quality.image_fingerprint import Fingerprint, compute_fingerprint
from napari_medseg.core.quality.label_checks import Finding, check_labels
from napari_medseg.core.quality.label_set_checks import CONSTANT, LabelContent, summarise_labels
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.core.tasks.detection import detect_look, image_fits_task
from napari_medseg.core.tasks.label_names import find_label, split_words
from training.data.labelled_cases import get_stem
from training.from_folders.mask_files import (
    MaskFile,
    UnknownValueError,
    find_label_folders,
    find_masks,
    list_names_of_masks,
)
from training.from_folders.mask_reading import advise_on, read_mask_labels
from training.from_folders.mask_values import Labels, MaskEncoding, describe_soft_borders
from training.from_folders.name_matching import pair_names

_KIND_BY_ERROR = {
    GridMismatchError: "other size",
    HeaderMismatchError: "other header",
    UnknownValueError: "unknown value",
}


@dataclass(frozen=True)
class Mismatch:
    """One problem of an image or mask. If it is `blocking`, the image is excluded or the command stops.

    `kind` is ``"missing mask"``, ``"missing image"``, ``"double"``, ``"unreadable"``, ``"other kind"``, ``"other
    size"``, ``"other header"``, ``"unknown value"``, ``"sides"``, ``"empty"``, ``"full"``, ``"tiny"``,
    ``"orientation"`` (the mask may lie the other way), ``"reading"``, ``"soft borders"``, ``"not looked at"``,
    ``"group"``, ``"duplicate"``, ``"same place"``, or a kind of `core.quality.label_set_checks` for the whole set; then
    `name` is empty.
    """

    kind: str
    name: str
    text: str
    blocking: bool = True


@dataclass(frozen=True)
class ImageFacts:
    """Properties of one image: look, modality, axes, shape ((z,) y, x) in pixels, and what its labels contain."""

    look: str
    modality: str
    axes: str
    shape: tuple[int, ...]
    content: LabelContent


@dataclass(frozen=True, eq=False)
class FolderCase:
    """An image with the file of its labels.

    `group` is what the image file says of its patient, slide or video. `placement` tells how the mask lies if it
    differs from the encoding's.
    """

    name: str
    image: Path
    mask: MaskFile
    facts: ImageFacts | None = None
    placement: MaskPlacement | None = None
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

    def can_train(self, *, skips: bool) -> bool:
        """Whether a training would start; `skips`: without the files that do not fit."""
        blocking = [one for one in self.blocking_mismatches if not (skips and one.name)]
        return bool(self.cases) and not blocking


def pair_images_with_masks(images: Path, masks: Path, encoding: MaskEncoding) -> PairingResult:
    """Pair images with masks by their names, and check every pair.

    Parameters
    ----------
    images
        Folder of images; a DICOM series is a folder in it.
    masks
        Folder of label files, of Aperio XML, or of folders for each label or image; or a COCO file. It may be the
        folder of the images; then masks are recognised by words in their names such as ``_mask`` and ``MASK_``.
    encoding
        The meaning of the mask values.

    Raises
    ------
    MedSegError
        If a folder is missing, or contains no readable file.
    """
    found = pair_by_name(images, masks)
    mismatches = (*found.mismatches, *_find_lacking_labels(found.cases, encoding.task))
    checked = [check_pair(case, encoding) for case in found.cases]
    checked = _settle_orientation(checked, encoding)
    cases = tuple(pair.case for pair in checked if not any(mismatch.blocking for mismatch in pair.mismatches))
    return PairingResult(cases, (*mismatches, *(mismatch for pair in checked for mismatch in pair.mismatches)))


def _find_lacking_labels(cases: Sequence[FolderCase], task: Task) -> Iterator[Mismatch]:
    """Find images that lack the file of a label, or of a part of it, which others have: nothing says that it is absent.

    Files of objects differ between images, so they are not compared.
    """
    files_of = [
        {frozenset(split_words(name)): name for name, _ in case.mask.parts if find_label(name, task) is not None}
        for case in cases
        if not task.instances
    ]
    known = {words: name for files in files_of for words, name in files.items()}
    for case, files in zip(cases, files_of, strict=False):
        if files and (lacking := [name for words, name in sorted(known.items(), key=str) if words not in files]):
            text = f"it has no mask of {', '.join(lacking)}, which others have; its pixels are taken as background"
            yield Mismatch("reading", case.name, text, blocking=False)


def pair_by_name(images: Path, masks: Path) -> PairingResult:
    """Pair images with masks by their names only; no pixel is read.

    Parameters and errors are those of `pair_images_with_masks`.
    """
    image_of, doubled = list_images(images, masks)
    mask_of, doubled_masks = find_masks(masks, by_word=images.resolve() == masks.resolve())
    if not mask_of and masks.is_dir():
        mask_of = find_label_folders(masks, list(image_of), images)
    if not image_of or not mask_of:
        empty = images if not image_of else masks
        raise MedSegError(f"{empty} contains no readable file. Choose another folder, or convert the files.")
    pairs = pair_names(list(image_of), list(mask_of))
    mismatches = [Mismatch("double", name, "several images have this name") for name in doubled]
    mismatches += [Mismatch("double", name, "several masks have this name") for name in doubled_masks]
    mismatches += [
        one for one in _find_unpaired(image_of, mask_of, pairs) if one.name not in {*doubled, *doubled_masks}
    ]
    cases = tuple(FolderCase(key, image_of[key], mask_of[mask]) for key, mask in pairs.items())
    return PairingResult(cases, tuple(mismatches))


@dataclass(frozen=True, eq=False)
class CheckedPair:
    """A pair with the properties of its image, all its mismatches, and how its mask was laid on the image."""

    case: FolderCase
    mismatches: tuple[Mismatch, ...]
    mask: PlacedMask | None = None


def check_pair(case: FolderCase, encoding: MaskEncoding) -> CheckedPair:
    """Read one pair, and find all its mismatches."""
    try:
        image = formats.read(case.image)
        labels, mask = read_mask_labels(case.mask, image, encoding, case.placement)
    except MedSegError as error:
        return CheckedPair(case, (_describe_error(case, error),))
    if not image_fits_task(image, encoding.task):
        takes = ", ".join(encoding.task.axes)
        text = f"it has axes {image.axes}, but the task takes {takes}"
        return CheckedPair(case, (Mismatch("other kind", case.name, text),))
    counted = None
    if encoding.ignored_value is not None:
        counted = labels != encoding.ignored_value
        if not counted.any():
            text = f"all of its mask is {encoding.ignore} (--ignore)"
            return CheckedPair(case, (Mismatch("not looked at", case.name, text),))
        labels = np.where(counted, labels, 0)
    content = summarise_labels(labels, encoding.task, image, counted)
    facts = ImageFacts(detect_look(image), image.modality, image.axes, image.spatial_shape, content)
    found = [_make_mismatch(finding, case.name) for finding in _find_label_problems(labels, encoding, image)]
    found += _find_doubts(case, mask, encoding)
    if counted is not None and content.is_filled:
        text = "one label covers all pixels that are not unlabelled"
        found.append(Mismatch("full", case.name, text, blocking=False))
    if content.is_constant:
        found.append(Mismatch(CONSTANT, case.name, "all pixels of the image have the same value", blocking=False))
    group, fingerprint = image.group or case.name, compute_fingerprint(image)
    complete = replace(case, facts=facts, group=group, fingerprint=fingerprint)
    return CheckedPair(complete, tuple(found), replace(mask, pixels=np.empty(0)))


def _find_doubts(case: FolderCase, mask: PlacedMask, encoding: MaskEncoding) -> Iterator[Mismatch]:
    """Find what was assumed when a mask was read."""
    for note in mask.notes:
        is_about_axes = "--mask-orientation" in note or "first axis" in note
        yield Mismatch("orientation" if is_about_axes else "reading", case.name, note, blocking=False)
    if case.mask.has_outlines or case.mask.parts:
        return
    if note := describe_soft_borders(mask.pixels, encoding, exact=case.mask.is_exact):
        yield Mismatch("soft borders", case.name, note, blocking=False)


def _describe_error(case: FolderCase, error: MedSegError) -> Mismatch:
    return Mismatch(_KIND_BY_ERROR.get(type(error), "unreadable"), case.name, f"{error}{advise_on(error)}")


def _settle_orientation(checked: Sequence[CheckedPair], encoding: MaskEncoding) -> list[CheckedPair]:
    """Lay masks in doubt as the size of the other masks shows, if these agree."""
    shown_by_size = {pair.mask.orientation for pair in checked if pair.mask is not None} - {None}
    if len(shown_by_size) != 1:
        return list(checked)
    orientation = next(iter(shown_by_size))
    settled = []
    for pair in checked:
        if pair.mask is None or not pair.mask.is_guess or pair.case.mask.has_outlines:
            settled.append(pair)
            continue
        placement = replace(encoding.placement, orientation=orientation)
        again = check_pair(replace(pair.case, placement=placement), encoding)
        text = f"the mask may lie both ways; it was taken to lie as the image is {orientation}, like the other masks"
        note = Mismatch("orientation", pair.case.name, text, blocking=False)
        settled.append(replace(again, mismatches=(*again.mismatches, note)))
    return settled


def read_image_and_labels(case: FolderCase, encoding: MaskEncoding) -> tuple[Image, Labels]:
    """Read the image of a case, and its mask as labels of the task; raises as `mask_reading.read_mask_labels`."""
    image = formats.read(case.image)
    return image, read_mask_labels(case.mask, image, encoding, case.placement)[0]


def _find_label_problems(labels: Labels, encoding: MaskEncoding, image: Image) -> Iterator[Finding]:
    wanted = {"sides", "empty", "full", "tiny"}
    return (finding for finding in check_labels(labels, encoding.task, image) if finding.kind in wanted)


def _make_mismatch(finding: Finding, name: str) -> Mismatch:
    advice = "; if this is so for all images, exchange their names in --labels" if finding.kind == "sides" else ""
    return Mismatch(finding.kind, name, finding.text + advice, finding.blocking)


def list_images(images: Path, masks: Path) -> tuple[dict[str, Path], list[str]]:
    """Return the images by the name used for pairing, and the names that several images have."""
    if not images.is_dir():
        raise MedSegError(f"{images} is not a folder. Give a folder of images.")
    named = list_names_of_masks(images) if images.resolve() == masks.resolve() else set()
    paths = [path for path in sorted(images.iterdir()) if _is_image(path, masks)]
    paths = [path for path in paths if get_stem(path) not in named]
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
        lines += [f"  {mismatch.name}{': ' * bool(mismatch.name)}{mismatch.text}" for mismatch in alike[:at_most]]
        if len(alike) > at_most:
            lines.append(f"  and {len(alike) - at_most} more")
    return lines
