"""Images and masks of a user: everything is checked before training, and each patient gets its side."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.grouping.keyed_groups import choose_group_noun, key_groups
from napari_medseg.core.grouping.split import (
    MIN_GROUPS_TO_VALIDATE_FIRST_MODEL,
    choose_validation_groups,
)
from napari_medseg.core.name_matching import unify_name
from napari_medseg.core.quality.label_checks import Finding
from napari_medseg.core.quality.label_set_checks import check_label_set
from napari_medseg.core.snapshot import Role
from napari_medseg.core.tasks.bundled_tasks import Task
from training.from_folders import mask_pairing
from training.from_folders.group_split import (
    GroupedImage,
    choose_held_out,
    describe_groups,
    find_copies,
    find_named_groups,
    group_cases,
    join_groups_with_copies,
    map_groups,
    refuse_copies,
)
from training.from_folders.mask_pairing import FolderCase, Mismatch, PairingResult
from training.from_folders.mask_values import MaskEncoding


@dataclass(frozen=True)
class FolderData:
    """Images and masks of a user.

    Parameters
    ----------
    name
        Name of the model.
    images, masks
        Folders; `masks` may be a COCO file.
    encoding
        The task, and the meaning of the mask values.
    group_by
        A `core.grouping.groups.GroupPattern`: where the patient, slide or video stands in an image's name. Empty: as
        the files say, DICOM by patient.
    hold_out
        Groups that are held out for evaluation, or images of these. Empty: `core.grouping.split` chooses them.
    validate
        Groups that choose the best epoch, or images of these. Empty: `core.grouping.split` chooses them.
    train_on
        Names of the training images. Empty: all images that are not held out.
    joins_copies
        Whether groups that have an image in common become one group.
    unlabelled
        Folders of images without masks, for consistency training.
    """

    name: str
    images: Path
    masks: Path
    encoding: MaskEncoding
    _: KW_ONLY
    group_by: str = ""
    hold_out: tuple[str, ...] = ()
    validate: tuple[str, ...] = ()
    train_on: tuple[str, ...] = ()
    joins_copies: bool = False
    unlabelled: tuple[Path, ...] = ()


@dataclass(frozen=True)
class GroupSplit:
    """Groups of the hold-out and of validation, and the group of each image."""

    hold_out: tuple[str, ...]
    validate: tuple[str, ...]
    group_of: dict[str, str] = field(default_factory=dict)

    def get_role(self, name: str) -> Role:
        """Return the role of an image."""
        group = self.group_of[name]
        if group in self.hold_out:
            return Role.HOLD_OUT
        return Role.VALIDATE if group in self.validate else Role.TRAIN

    def hide_groups(self, key: bytes, task: Task) -> "GroupSplit":
        """Return the same split with keyed groups, which name no patient."""
        keyed = key_groups(self.group_of.values(), key, choose_group_noun(task))
        hold_out, validate = (tuple(keyed[group] for group in side) for side in (self.hold_out, self.validate))
        return GroupSplit(hold_out, validate, {name: keyed[group] for name, group in self.group_of.items()})


def check_folder_data(data: FolderData, group_of_image: Mapping[str, str] | None = None) -> PairingResult:
    """Check all images and masks as `pair_images_with_masks`, their groups, images on both sides, and the whole set.

    A name that `group_by` does not match, and a training image that is a copy of a hold-out image, are mismatches. A
    copy is no mismatch if `joins_copies` is set: then the groups of both are put together.

    `group_of_image` has the groups of images whose files do not state them.
    """
    found = mask_pairing.pair_images_with_masks(data.images, data.masks, data.encoding)
    known = group_of_image or {}
    found = replace(found, cases=tuple(replace(case, group=known.get(case.name, case.group)) for case in found.cases))
    images, lost = group_cases(found.cases, data.group_by)
    mismatches = [Mismatch("group", case.name, f"{data.group_by!r} does not match its name") for case in lost]
    if data.joins_copies:
        images = join_groups_with_copies(images, data.hold_out, data.validate)
    group_of = map_groups(images)
    for copy in find_copies(images, choose_held_out(group_of, data.hold_out, data.validate)):
        kind = "duplicate" if copy.is_copy else "same place"
        mismatches.append(Mismatch(kind, copy.learnt.name, copy.text, blocking=copy.is_copy))
    left_out = {mismatch.name for mismatch in mismatches if mismatch.blocking}
    cases = (case for case in found.cases if case.name not in left_out)
    grouped = tuple(replace(case, group=group_of[case.name]) for case in cases)
    mismatches += [Mismatch(one.kind, "", one.text, one.blocking) for one in check_whole_set(data, grouped)]
    return replace(found, cases=grouped, mismatches=(*found.mismatches, *mismatches))


def describe_split(data: FolderData, cases: Sequence[FolderCase]) -> str:
    """Return the groups of the cases that `check_folder_data` accepted, with their sizes and which are held out."""
    group_of = {case.name: case.group for case in cases}
    held_out = choose_held_out(group_of, data.hold_out, data.validate)
    validate = find_named_groups(data.validate, group_of)
    return describe_groups(group_of, held_out) + f". To choose the best epoch: {', '.join(validate)}" * bool(validate)


def check_whole_set(data: FolderData, cases: Sequence[FolderCase]) -> list[Finding]:
    """Check the labels of all cases with their roles, as `check_label_set`; nothing if they cannot be split."""
    try:
        chosen, split = choose_cases(data, cases)
    except MedSegError:
        return []  # `fill_run` reports it
    contents = [(split.get_role(case.name), case.facts.content) for case in chosen if case.facts is not None]
    return check_label_set(data.encoding.task, contents)


def choose_cases(data: FolderData, cases: Sequence[FolderCase]) -> tuple[list[FolderCase], GroupSplit]:
    """Return the cases for training and for the hold-out, with their groups.

    Raises
    ------
    MedSegError
        If a named group or image does not exist, no training image is left, or an image is on both sides.
    """
    group_of = {case.name: case.group or case.name for case in cases}
    wanted, judges = (find_named_groups(names, group_of) for names in (data.hold_out, data.validate))
    for names, purpose in ((wanted, "to hold out"), (judges, "to validate on")):
        if unknown := sorted(set(names) - set(group_of.values())):
            known = sorted(set(group_of.values()))[:8]
            raise MedSegError(f"there are no groups or images {unknown[:8]} {purpose}; groups are {known}")
    train_on = {unify_name(name) for name in data.train_on}
    if unknown := sorted(train_on - group_of.keys()):
        raise MedSegError(f"there are no images {unknown[:5]} to train on. Give names without a suffix.")
    held = choose_held_out(group_of, data.hold_out, data.validate)
    if both := sorted(set(held) & set(judges)):
        raise MedSegError(f"{both[:8]} can be held out or validate, not both. Name them once.")
    learnt = [case for case in cases if group_of[case.name] not in held]
    learnt = [case for case in learnt if not train_on or case.name in train_on]
    groups = {group_of[case.name] for case in learnt}
    if not groups - set(judges):
        raise MedSegError("no training images are left. Give more images, or hold fewer groups out.")
    validate = judges or choose_validation_groups(groups, MIN_GROUPS_TO_VALIDATE_FIRST_MODEL)
    judging = [case for case in cases if group_of[case.name] in held]
    images = [GroupedImage(case.name, group_of[case.name], case.fingerprint) for case in [*learnt, *judging]]
    refuse_copies([copy for copy in find_copies(images, held) if copy.is_copy])
    return [*learnt, *judging], GroupSplit(held, validate, group_of)
