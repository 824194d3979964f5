"""The training images of a run with a time budget: as many corrections as the budget and the memory allow.

Thousands of corrections could not be read within a minute, and a short run would see few of them anyway. One correction
of every patient is read before a second of any, the newest first. Which ones were read is written to the run folder, so
that a resumed run trains on the same images.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from napari_medseg.core.atomic_io import atomic_write_text, read_file
from napari_medseg.core.decoded_size.free_memory import measure_free_bytes
from napari_medseg.core.snapshot import Role, Snapshot, SnapshotItem, round_robin
from training.data.dataset import LabelledImage
from training.run_folder import READ_IMAGES_FILE
from training.schedule import TimeBudget

READING_SHARE = 0.2
"""Of the time that the start of the process has left."""
MIN_IMAGES = 24
"""Are read even if that takes longer, as far as the memory allows."""
MAX_BYTES = 4 * 2**30
FREE_MEMORY_SHARE = 0.5
"""Of the free memory, which the images may take."""

_NAMES = TypeAdapter(list[str])


def read_within_budget(
    items: Sequence[SnapshotItem],
    read_image: Callable[[SnapshotItem], LabelledImage],
    clock: TimeBudget,
    run_dir: Path,
) -> tuple[list[SnapshotItem], list[LabelledImage]]:
    """Read training images until time or memory is used up.

    Parameters
    ----------
    items
        The training items, older ones first.
    read_image
        Reads one of them.
    clock, run_dir
        The budget of the run, and its folder. Without a budget, all items are read.

    Returns
    -------
    list of SnapshotItem, list of LabelledImage
        The items that were read, in their order, and their images.
    """
    if clock.budget_s is None:
        return list(items), [read_image(item) for item in items]
    chosen = _read_choice(run_dir, items)
    if chosen is not None:
        return chosen, [read_image(item) for item in chosen]
    began_s, most = clock.elapsed_s(), min(MAX_BYTES, int(FREE_MEMORY_SHARE * measure_free_bytes()))
    until_s = began_s + READING_SHARE * (clock.budget_s - began_s)
    found: dict[int, LabelledImage] = {}
    places = {id(item): place for place, item in enumerate(items)}
    n_bytes = 0
    for item in round_robin(items[::-1]):
        is_late = len(found) >= MIN_IMAGES and clock.elapsed_s() > until_s
        if is_late or n_bytes > most:  # a few long series can fill the memory
            break
        image = read_image(item)
        found[places[id(item)]] = image
        n_bytes += count_bytes(image)
    kept = sorted(found)
    if len(kept) < len(items):
        names = [items[place].labels for place in kept]
        atomic_write_text(run_dir / READ_IMAGES_FILE, _NAMES.dump_json(names, indent=1).decode() + "\n")
    return [items[place] for place in kept], [found[place] for place in kept]


def describe_unread(n_read: int, n_items: int, noun: str = "patient") -> str:
    """Return a notice if not all training images were read, else an empty text; `noun` is what they are grouped by."""
    if n_read == n_items:
        return ""
    return (
        f"the time budget and the memory allow to read {n_read:,} of {n_items:,} training images: those that were "
        f"corrected last, one of every {noun} before a second of any. The others still count as not learnt"
    )


def leave_out_unread(snapshot: Snapshot, items: Sequence[SnapshotItem], read: Sequence[SnapshotItem]) -> Snapshot:
    """Return a snapshot without the training items that were not read: the card tells what was learnt."""
    if len(read) == len(items):
        return snapshot
    unread = {item.labels for item in items} - {item.labels for item in read}
    kept = tuple(item for item in snapshot.items if item.role is not Role.TRAIN or item.labels not in unread)
    return snapshot.model_copy(update={"items": kept})


def count_bytes(image: LabelledImage) -> int:
    """Return the memory that an image takes."""
    return sum(plane.labels.nbytes + sum(view.nbytes for view in plane.views) for plane in image.planes)


def _read_choice(run_dir: Path, items: Sequence[SnapshotItem]) -> list[SnapshotItem] | None:
    """Return the items that an earlier process of the run has read; `None` if it read all, or there was none."""
    path = run_dir / READ_IMAGES_FILE
    try:
        names = set(_NAMES.validate_json(read_file(path))) if path.exists() else None
    except (OSError, ValidationError):
        return None
    chosen = [item for item in items if names is not None and item.labels in names]
    return chosen or None
