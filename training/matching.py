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
from scipy import ndimage

from napari_medseg.core import formats
from napari_medseg.core.checks import Finding, check_labels
from napari_medseg.core.errors import MedSegError, OtherGridError
from napari_medseg.core.guess import look_of
from napari_medseg.core.image import Image
from napari_medseg.core.tasks import Task
from training.mask_files import MaskFile, UnknownValueError, find_masks
from training.pairing import key_of_image, name_key, pair_keys
from training.pairs import stem_of

Labels = NDArray[np.integer[Any]]
BINARY = 255
_KINDS_OF_ERRORS = {OtherGridError: "other size", UnknownValueError: "unknown value"}
SHOWN_VALUES = 5


@dataclass(frozen=True)
class Mismatch:
    """One thing that does not fit. A `blocking` one leaves its image out, or stops everything.

    `kind` is ``"missing mask"``, ``"missing image"``, ``"double"``, ``"unreadable"``, ``"other kind"``, ``"other
    size"``, ``"unknown value"``, ``"sides"``, ``"empty"`` or ``"group"``.
    """

    kind: str
    name: str
    text: str
    blocking: bool = True


@dataclass(frozen=True)
class Facts:
    """What is known of one image: its kind, its (z,) y and x in pixels, and which labels it has."""

    look: str
    modality: str
    axes: str
    shape: tuple[int, ...]
    values: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class OwnCase:
    """An image with the file that its labels come from."""

    name: str
    image: Path
    mask: MaskFile
    facts: Facts | None = None


@dataclass(frozen=True, eq=False)
class Matched:
    """All pairs that fit, and all that does not."""

    cases: tuple[OwnCase, ...]
    mismatches: tuple[Mismatch, ...]

    @property
    def blocking(self) -> tuple[Mismatch, ...]:
        """What has to be solved, or left out knowingly, before anything can be trained."""
        return tuple(mismatch for mismatch in self.mismatches if mismatch.blocking)


@dataclass(frozen=True)
class Meaning:
    """How masks become labels.

    Parameters
    ----------
    task
        Whose labels they are.
    values
        Value in the masks of each label, in order; empty: 1, 2, ... , or whatever one value, where there is one label.
    """

    task: Task
    values: tuple[int, ...] = ()


def match(images: Path, masks: Path, meaning: Meaning) -> Matched:
    """Pair images with masks by their names, and look at every pair.

    Parameters
    ----------
    images
        Folder; a DICOM series is a folder in it.
    masks
        Folder of label files or of Aperio XML, or a COCO file. May be the same folder: then masks are told by endings
        of their names such as ``_mask``.
    meaning
        What the values of the masks mean.

    Raises
    ------
    MedSegError
        If a folder is missing, or holds nothing that could be paired.
    """
    image_of, doubled = _listed_images(images, masks)
    mask_of = find_masks(masks, by_ending=images.resolve() == masks.resolve())
    if not image_of or not mask_of:
        empty = images if not image_of else masks
        raise MedSegError(f"{empty} holds nothing that could be read. Choose another folder, or convert the files.")
    pairs = pair_keys(list(image_of), list(mask_of))
    mismatches = [Mismatch("double", name, "several images have this name") for name in doubled]
    mismatches += _unpaired(image_of, mask_of, pairs)
    cases = []
    for image_key, mask_key in pairs.items():
        case, found = look_at(OwnCase(image_key, image_of[image_key], mask_of[mask_key]), meaning)
        mismatches += found
        if not any(mismatch.blocking for mismatch in found):
            cases.append(case)
    return Matched(tuple(cases), tuple(mismatches))


def look_at(case: OwnCase, meaning: Meaning) -> tuple[OwnCase, list[Mismatch]]:
    """Read one pair, and say what does not fit."""
    try:
        image, labels = labels_of(case, meaning)
    except MedSegError as error:
        return case, [Mismatch(_KINDS_OF_ERRORS.get(type(error), "unreadable"), case.name, str(error))]
    if image.axes not in meaning.task.axes and image.spatial_axes not in meaning.task.axes:
        takes = ", ".join(meaning.task.axes)
        return case, [Mismatch("other kind", case.name, f"it has axes {image.axes}, but the task takes {takes}")]
    values = () if meaning.task.instances else tuple(int(value) for value in np.unique(labels) if value)
    facts = Facts(look_of(image), image.modality, image.axes, image.spatial_shape, values)
    return replace(case, facts=facts), [_as_mismatch(found, case.name) for found in _findings(labels, meaning, image)]


def labels_of(case: OwnCase, meaning: Meaning) -> tuple[Image, Labels]:
    """Read the image of a case, and its mask as labels of the task.

    Raises
    ------
    MedSegError
        If one cannot be read, the sizes differ, or a value or category is no label.
    """
    image, task = formats.read(case.image), meaning.task
    names = None if task.instances else {name_key(label.name): label.value for label in task.labels}
    raw = case.mask.read(image, names)
    if case.mask.is_drawn:
        return image, raw
    return image, _numbered(raw) if task.instances else with_label_values(raw, meaning)


def with_label_values(mask: Labels, meaning: Meaning) -> Labels:
    """Translate the values of a mask into label values.

    Raises
    ------
    UnknownValueError
        Naming the values that mean nothing.
    """
    task = meaning.task
    found = [int(value) for value in np.unique(mask) if value]
    meant = dict(zip(meaning.values, (label.value for label in task.labels), strict=False))
    if not meant:
        meant = {label.value: label.value for label in task.labels}
        if len(task.labels) == 1 and found == [BINARY]:
            meant = {BINARY: task.labels[0].value}
    if unknown := [value for value in found if value not in meant]:
        shown = ", ".join(map(str, unknown[:SHOWN_VALUES])) + (" ..." if len(unknown) > SHOWN_VALUES else "")
        known = ", ".join(f"{value} ({task.label_name(label)})" for value, label in meant.items())
        raise UnknownValueError(f"the values {shown} mean nothing; known are 0 (background), {known}")
    table = np.zeros(max([0, *found]) + 1, np.uint8)
    for value, label in meant.items():
        if value < len(table):
            table[value] = label
    translated: Labels = table[mask]
    return translated


def _numbered(mask: Labels) -> Labels:
    """Give each object of a mask with one value for all a number; touching ones are one, as nobody parted them."""
    if len(np.unique(mask[mask > 0])) != 1:
        return mask
    return ndimage.label(mask, structure=np.ones((3,) * mask.ndim))[0].astype(np.uint32)  # type: ignore[no-any-return]


def _findings(labels: Labels, meaning: Meaning, image: Image) -> Iterator[Finding]:
    wanted = {"sides", "empty"}
    return (finding for finding in check_labels(labels, meaning.task, image) if finding.kind in wanted)


def _as_mismatch(finding: Finding, name: str) -> Mismatch:
    advice = "; if they all are, exchange their names in --labels" if finding.kind == "sides" else ""
    return Mismatch(finding.kind, name, finding.text + advice, finding.blocking)


def _listed_images(images: Path, masks: Path) -> tuple[dict[str, Path], list[str]]:
    """Images by the names that they are paired by, and the names that several have."""
    if not images.is_dir():
        raise MedSegError(f"{images} is no folder. Give a folder of images.")
    both = images.resolve() == masks.resolve()
    paths = [path for path in sorted(images.iterdir()) if _is_image(path, masks)]
    paths = [path for path in paths if not (both and key_of_image(stem_of(path)) is None)]
    times = Counter(stem_of(path) for path in paths)
    doubled = sorted(name for name, count in times.items() if count > 1)
    return {stem_of(path): path for path in paths if times[stem_of(path)] == 1}, doubled


def _is_image(path: Path, masks: Path) -> bool:
    return not path.name.startswith(".") and path.resolve() != masks.resolve() and formats.can_read(path)


def _unpaired(
    image_of: Mapping[str, Path], mask_of: Mapping[str, MaskFile], pairs: Mapping[str, str]
) -> Iterator[Mismatch]:
    for name in image_of:
        if name not in pairs:
            yield Mismatch("missing mask", name, f"{image_of[name].name} has no mask")
    paired = set(pairs.values())
    for name, mask in mask_of.items():
        if name not in paired:
            yield Mismatch("missing image", name, f"{mask.title} has no image")


def listing(mismatches: Sequence[Mismatch], at_most: int = 20) -> list[str]:
    """Lines for people: how many of each kind, then each one by name."""
    lines = []
    for kind in dict.fromkeys(mismatch.kind for mismatch in mismatches):
        alike = [mismatch for mismatch in mismatches if mismatch.kind == kind]
        lines.append(f"{kind}: {len(alike)}{'' if alike[0].blocking else ' (a warning)'}")
        lines += [f"  {mismatch.name}: {mismatch.text}" for mismatch in alike[:at_most]]
        if len(alike) > at_most:
            lines.append(f"  and {len(alike) - at_most} more")
    return lines
