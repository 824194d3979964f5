"""Compare what trains with what evaluates by content, not by name: corrections, and the images that a version replays.

Only files are accessed, so all of it may run in a worker thread. Fingerprints and comparisons are cached in the project
folder; both are found again if a file of the cache is damaged.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_medseg.core import formats
from napari_medseg.core.atomic_io import atomic_write, atomic_write_text, read_file
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.json_model import parse_json
from napari_medseg.core.project.case_files import read_image_copy
from napari_medseg.core.quality.array_archive import read_arrays
from napari_medseg.core.quality.image_fingerprint import Fingerprint, compute_fingerprint
from napari_medseg.core.quality.shared_content import Likeness, SharedContent, find_shared_content
from napari_medseg.core.records import Case
from napari_medseg.core.snapshot import SnapshotItem

CHECKS_FOLDER = "checks-3"
"""Increase the number when a check or the fingerprint is changed, so that older cached results are ignored."""
COMPARISONS_FILE = "shared_content.json"

_Found = dict[str, tuple[str, float]]


@dataclass(frozen=True)
class ReplayedCopy:
    """An image that a version was trained on and would replay, and the hold-out case that shows the same."""

    item: SnapshotItem
    case: Case
    likeness: Likeness

    @property
    def is_copy(self) -> bool:
        """Whether it is the same image and not only the same place."""
        return self.likeness is not Likeness.SAME_PLACE


def read_case_fingerprint(folder: Path, case: Case) -> Fingerprint:
    """Return the fingerprint of a case, from the cache or from the image copy in the project."""
    kept = folder / CHECKS_FOLDER / f"image-{case.content_hash[:24]}.npz"
    return _read_fingerprint(kept) or _write_fingerprint(kept, compute_fingerprint(read_image_copy(folder, case)))


def read_file_fingerprint(folder: Path, path: Path) -> Fingerprint | None:
    """Return the fingerprint of an image outside the project, from the cache or from the file; `None` if unreadable.

    The cache knows a file by its path, size and time of change.
    """
    try:
        state = path.stat()
        name = hashlib.sha256(f"{path.absolute()}|{state.st_size}|{state.st_mtime_ns}".encode()).hexdigest()[:24]
        kept = folder / CHECKS_FOLDER / f"file-{name}.npz"
        return _read_fingerprint(kept) or _write_fingerprint(kept, compute_fingerprint(formats.read(path)))
    except (OSError, MedSegError):
        return None  # the run says that it cannot be read


def find_shared_cases(folder: Path, learnt: Sequence[Case], held_out: Sequence[Case]) -> list[SharedContent]:
    """Find training cases that show the same as a hold-out case; positions are those in the two lists."""
    return _compare(
        folder,
        {index: read_case_fingerprint(folder, case) for index, case in enumerate(learnt)} if held_out else {},
        {index: read_case_fingerprint(folder, case) for index, case in enumerate(held_out)},
    )


def find_replayed_copies(
    folder: Path, replayed: Sequence[SnapshotItem], held_out: Sequence[Case]
) -> list[ReplayedCopy]:
    """Find images to be replayed that show the same as a hold-out case."""
    if not held_out:
        return []
    prints = {index: read_file_fingerprint(folder, Path(item.image)) for index, item in enumerate(replayed)}
    known = {index: fingerprint for index, fingerprint in prints.items() if fingerprint is not None}
    judging = {index: read_case_fingerprint(folder, case) for index, case in enumerate(held_out)}
    return [
        ReplayedCopy(replayed[found.one], held_out[found.other], found.likeness)
        for found in _compare(folder, known, judging)
    ]


def _compare(folder: Path, ones: Mapping[int, Fingerprint], others: Mapping[int, Fingerprint]) -> list[SharedContent]:
    """Compare two sets like `find_shared_content`; pairs that were compared before are taken from the cache."""
    kept = folder / CHECKS_FOLDER / COMPARISONS_FILE
    known = _read_comparisons(kept)
    found, is_new = [], False
    for index, one in ones.items():
        against = known.setdefault(one.digest, {})
        new = {at: other for at, other in others.items() if other.digest not in against}
        if new:
            is_new = True
            against |= {other.digest: ("", 0.0) for other in new.values()}
            places = list(new)
            for shared in find_shared_content([one], list(new.values())):
                against[new[places[shared.other]].digest] = (shared.likeness.value, shared.similarity)
        for at, other in others.items():
            likeness, similarity = against[other.digest]
            if likeness:
                found.append(SharedContent(index, at, Likeness(likeness), similarity))
    if is_new:
        atomic_write_text(kept, json.dumps(known))
    return found


def _read_comparisons(path: Path) -> dict[str, _Found]:
    try:
        known = parse_json(read_file(path))
        return {
            str(one): {str(other): (str(pair[0]), float(pair[1])) for other, pair in against.items()}
            for one, against in known.items()
        }
    except (OSError, ValueError, TypeError, AttributeError, IndexError, KeyError):
        return {}


def _write_fingerprint(path: Path, fingerprint: Fingerprint) -> Fingerprint:
    with atomic_write(path) as beside:
        np.savez(
            beside,
            digest=np.array(fingerprint.digest),
            plane_digests=np.array(fingerprint.plane_digests),
            planes=fingerprint.planes,
            points=fingerprint.points,
            features=fingerprint.features,
            overviews=fingerprint.overviews,
        )
    return fingerprint


def _read_fingerprint(path: Path) -> Fingerprint | None:
    try:
        kept = read_arrays(path)
        digests = tuple(str(digest) for digest in kept["plane_digests"])
        arrays = (kept[name] for name in ("planes", "points", "features", "overviews"))
        return Fingerprint(str(kept["digest"]), digests, *arrays)
    except (OSError, ValueError, TypeError, KeyError):
        return None
