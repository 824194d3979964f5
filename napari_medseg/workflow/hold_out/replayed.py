"""The older images that a run on a version replays: bundled samples, and images of a user's folders."""

import logging
from pathlib import Path

from napari_medseg.core.model_card import ModelCard
from napari_medseg.core.replay import read_replay_images, read_replay_samples
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
    return [*_list_bundled_samples(ws.samples, base, held_out), *_list_user_images(ws, base, held_out)]


def _list_bundled_samples(samples: Path, base: ModelCard, held_out: set[str]) -> list[SnapshotItem]:
    return [
        SnapshotItem(
            name=Path(item.image).stem,
            image=str(samples / item.image),
            labels=str(samples / item.labels),
            group=item.group,
            role=Role.REPLAY,
            source="bundled sample",
        )
        for item in read_replay_samples(samples, base)
        if item.group not in held_out
    ]


def _list_user_images(ws: Workspace, base: ModelCard, held_out: set[str]) -> list[SnapshotItem]:
    """Return the images listed by a version that was trained on folders, if they exist.

    Training on folders writes the name of its source before the group: ``bl/c04`` is the patient ``c04`` of a project.
    """
    listed = read_replay_images(ws.registry.get_folder(base.id))
    if gone := [image.name for image in listed if not image.is_available]:
        logger.warning(
            "%d of %d older images of %s are missing and not replayed: %s", len(gone), len(listed), base.id, gone
        )
    return [
        SnapshotItem(**image.model_dump(), role=Role.REPLAY, source=f"learnt by {base.id}")
        for image in listed
        if image.is_available and held_out.isdisjoint({image.group, image.group.partition("/")[2]})
    ]
