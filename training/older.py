"""What a run on somebody's own folders leaves for its descendants to replay: the places of a few of its images."""

from pathlib import Path

from napari_medseg.core.older import MOST_OLDER, OlderImage, write_older
from napari_medseg.core.snapshots import Role, SnapshotItem, in_turn, read_snapshot


def leave_older(run_dir: Path) -> None:
    """Write the list beside the run's version: of each group one image, then a second one, until there are enough.

    Partly labelled images are left out: a replayed image counts as a whole.
    """
    snapshot = read_snapshot(run_dir / "snapshot.json")
    whole = [item for item in snapshot.with_role(Role.TRAIN) if not item.is_partial]
    write_older(run_dir, [_image(item, run_dir.absolute()) for item in in_turn(whole)[:MOST_OLDER]])


def _image(item: SnapshotItem, run_dir: Path) -> OlderImage:
    return OlderImage(
        name=item.name,
        image=str(run_dir / item.image),
        labels=str(run_dir / item.labels),
        group=item.group,
        labels_sha256=item.labels_sha256,
    )
