"""Groups and copies in folders of images: each patient on one side, and no image on both.

The groups come from a typed pattern, or from the files themselves by the rule of `core.grouping.groups` (DICOM: the
patient).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.grouping.groups import GroupPattern, format_groups
from napari_medseg.core.grouping.split import choose_hold_out_groups
from napari_medseg.core.name_matching import unify_name
from napari_medseg.core.quality.image_fingerprint import Fingerprint, compute_fingerprint
from napari_medseg.core.quality.shared_content import Likeness, find_shared_content
from napari_medseg.core.snapshot import Role, Snapshot
from training.from_folders.mask_pairing import FolderCase

MAX_LISTED = 12


@dataclass(frozen=True, eq=False)
class GroupedImage:
    """An image with its group, and its fingerprint if it was computed."""

    name: str
    group: str
    fingerprint: Fingerprint | None


@dataclass(frozen=True)
class CopyOnBothSides:
    """A training image and a hold-out image that show the same, or the same place."""

    learnt: GroupedImage
    held_out: GroupedImage
    likeness: Likeness

    @property
    def is_copy(self) -> bool:
        """Whether it is the same image and not only the same place."""
        return self.likeness is not Likeness.SAME_PLACE

    @property
    def text(self) -> str:
        """What a person should know about it."""
        held_out = f"{self.held_out.name} ({self.held_out.group}, held out)"
        return {
            Likeness.IDENTICAL: f"the same image as {held_out}",
            Likeness.COPY: f"a copy of {held_out}: moved, resized or compressed",
            Likeness.SAME_PLACE: f"the same place as {held_out}? Then put both into one group",
        }[self.likeness]


def group_cases(cases: Sequence[FolderCase], pattern: str) -> tuple[list[GroupedImage], list[FolderCase]]:
    """Return the images with their groups, and the cases whose name the pattern does not match.

    Parameters
    ----------
    cases
        Cases that were checked, with the groups that their files state.
    pattern
        A `GroupPattern`; empty: the groups of the files.

    Raises
    ------
    MedSegError
        If the pattern is not valid.
    """
    parsed = GroupPattern.parse(pattern) if pattern else None
    named = [(case, parsed.find_group(case.image) if parsed else case.group or case.name) for case in cases]
    images = [GroupedImage(case.name, group, case.fingerprint) for case, group in named if group]
    return images, [case for case, group in named if not group]


def choose_held_out(group_of: Mapping[str, str], named: Sequence[str], validate: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the groups that are held out: the named ones, or those that `core.grouping.split` chooses.

    Parameters
    ----------
    group_of
        Group of each image.
    named, validate
        Groups to hold out, and groups that validate; the name of an image means its group.
    """
    judges = find_named_groups(validate, group_of)
    return find_named_groups(named, group_of) or choose_hold_out_groups(
        group for group in group_of.values() if group not in judges
    )


def find_named_groups(named: Sequence[str], group_of: Mapping[str, str]) -> tuple[str, ...]:
    """Return each named group once; the name of an image means its group. An unknown name stays as it is.

    Published splits list images. `group_of` has the group of each image.
    """
    groups, names = set(group_of.values()), [unify_name(name) for name in named]
    return tuple(dict.fromkeys(name if name in groups else group_of.get(name, name) for name in names))


def map_groups(images: Sequence[GroupedImage]) -> dict[str, str]:
    """Return the group of each image by its name."""
    return {image.name: image.group for image in images}


def find_copies(images: Sequence[GroupedImage], held_out: Iterable[str]) -> list[CopyOnBothSides]:
    """Find training images that a hold-out image shows, too."""
    held = set(held_out)
    known = [(image, image.fingerprint) for image in images if image.fingerprint is not None]
    learnt = [pair for pair in known if pair[0].group not in held]
    judging = [pair for pair in known if pair[0].group in held]
    shared = find_shared_content([fingerprint for _, fingerprint in learnt], [each for _, each in judging])
    return [CopyOnBothSides(learnt[one.one][0], judging[one.other][0], one.likeness) for one in shared]


def join_groups_with_copies(
    images: Sequence[GroupedImage], named: Sequence[str], validate: Sequence[str] = ()
) -> list[GroupedImage]:
    """Put groups together that have an image in common, until no copy stands on both sides.

    A joined group has the name of its first member in alphabetical order, or of the named group in it. The other
    parameters are those of `choose_held_out`.
    """
    joined, named = list(images), find_named_groups(named, map_groups(images))

    def find_copy() -> CopyOnBothSides | None:
        held_out = choose_held_out(map_groups(joined), named, validate)
        return next((one for one in find_copies(joined, held_out) if one.is_copy), None)

    while copy := find_copy():
        pair = sorted((copy.learnt.group, copy.held_out.group), key=lambda group: (group not in named, group))
        joined = [replace(image, group=pair[0]) if image.group in pair else image for image in joined]
    return joined


def describe_groups(group_of: Mapping[str, str], held_out: Iterable[str]) -> str:
    """Return the groups of images with their number, and which are held out."""
    held = sorted(set(held_out) & set(group_of.values()))
    text = format_groups(group_of.values())
    return f"{text}. Held out: {', '.join(held[:8]) or 'none'}{', ...' * (len(held) > 8)}"


def check_content(snapshot: Snapshot, run_dir: Path) -> list[str]:
    """Compare what a run trains on with its hold-out, by content.

    Returns
    -------
    list of str
        Pairs that may show the same place; neighbouring slices of one patient should be on one side.

    Raises
    ------
    MedSegError
        If a training image is a copy of a hold-out image; all are listed.
    """
    if not snapshot.filter_by_role(Role.HOLD_OUT):
        return []
    images = [
        GroupedImage(item.name, item.role.value, compute_fingerprint(formats.read(run_dir / item.image)))
        for item in snapshot.items
        if item.role is not Role.UNLABELLED
    ]
    copies = find_copies(images, [Role.HOLD_OUT.value])
    refuse_copies([one for one in copies if one.is_copy])
    return [f"{one.learnt.name}: the same place as {one.held_out.name}?" for one in copies]


def refuse_copies(copies: Sequence[CopyOnBothSides]) -> None:
    """Raise `MedSegError` with the list, if there is a copy on both sides."""
    if copies:
        listed = "; ".join(f"{one.learnt.name} = {one.held_out.name}" for one in copies[:MAX_LISTED])
        more = f" and {len(copies) - MAX_LISTED} more" if len(copies) > MAX_LISTED else ""
        raise MedSegError(
            f"{len(copies)} training images are copies of hold-out images: {listed}{more}. "
            "Leave them out, or put copies into one group."
        )
