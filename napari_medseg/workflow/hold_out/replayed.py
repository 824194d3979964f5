"""The older images that a run on a version replays: bundled samples, and images of a user's folders."""

import logging
from pathlib import Path

from napari_medseg.core.file_names import read_or_make_key
from napari_medseg.core.grouping.keyed_groups import (
    compute_group_digest,
    get_group_digest,
    get_group_of_source,
    is_keyed_group,
    make_keyed_group,
)
from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.replay import ReplayImage, read_replay_images, read_replay_samples
from napari_medseg.core.snapshot import Role, SnapshotItem
from napari_medseg.workflow.workspace import Workspace

logger = logging.getLogger(__name__)


def list_replayed_images(ws: Workspace, task: str, base: ModelCard | None = None) -> list[SnapshotItem]:
    """Return the images that a run on `base` (by default the live version) replays, without groups that are held out.

    A hold-out group with another name may contain them all the same: see `content_check.find_replayed_copies`.
    """
    base = base or ws.registry.find_live_card(task)
    if base is None:
        return []
    held_out = {group for group, is_held_out in ws.project.read_hold_out_groups().items() if is_held_out}
    return [*_list_bundled_samples(ws, base, held_out), *_list_user_images(ws, base, held_out)]


def _list_bundled_samples(ws: Workspace, base: ModelCard, held_out: set[str]) -> list[SnapshotItem]:
    return [
        SnapshotItem(
            name=Path(item.image).stem,
            image=str(ws.samples / item.image),
            labels=str(ws.samples / item.labels),
            group=item.group,  # of a published data set
            role=Role.REPLAY,
            source="bundled sample",
        )
        for item in read_replay_samples(ws.samples, base)
        if ws.project.identities.find_group(item.group) not in held_out
    ]


def read_user_images(ws: Workspace, base: ModelCard) -> tuple[ReplayImage, ...]:
    """Return the images of the user's folders that a version lists, without clear names and groups.

    An older program wrote both; their paths stay, because a run reads the images there.
    """
    listed = read_replay_images(ws.registry.get_folder(base.id))
    clear = list(dict.fromkeys(image.group for image in listed if not is_keyed_group(get_group_of_source(image.group))))
    if not clear:
        return listed
    key = read_or_make_key(ws.registry.user_dir)
    digests = [compute_group_digest(get_group_of_source(group), key) for group in clear]
    keyed = {group: make_keyed_group("patient", n, digests[n - 1]) for n, group in enumerate(clear, start=1)}
    return tuple(
        image.model_copy(update={"name": f"image {n} of {base.id}", "group": keyed[image.group]})
        if image.group in keyed
        else image
        for n, image in enumerate(listed, start=1)
    )


def _list_user_images(ws: Workspace, base: ModelCard, held_out: set[str]) -> list[SnapshotItem]:
    listed = read_user_images(ws, base)
    if gone := sum(not image.is_available for image in listed):
        logger.warning("%d of %d older images of %s are missing and not replayed", gone, len(listed), base.id)
    hidden = _list_hidden_forms(ws, held_out) if listed else set()
    return [
        SnapshotItem(**image.model_dump(), role=Role.REPLAY, source=f"learnt by {base.id}")
        for image in listed
        if image.is_available and hidden.isdisjoint({image.group, get_group_digest(get_group_of_source(image.group))})
    ]


def _list_hidden_forms(ws: Workspace, held_out: set[str]) -> set[str]:
    """Return the held-out groups of a project as versions list them.

    A version of the project lists its keyed groups. A version that was trained on folders lists hashes with the user's
    key, with the name of its source before them.
    """
    key, clear = read_or_make_key(ws.registry.user_dir), ws.project.identities.read_groups()
    return held_out | {compute_group_digest(clear.get(group, group), key) for group in held_out}
