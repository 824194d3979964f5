"""Compare what trains with what evaluates by content, not by name: corrections, and the images that a version replays.

Only files are accessed, so all of it may run in a worker thread. Fingerprints and comparisons are cached in the project
folder; both are found again if a file of the cache is damaged.
"""

import contextlib
import hashlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from napari_medseg.core import formats
from napari_medseg.core.atomic_io import atomic_write
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.project.case_files import read_image_copy
from napari_medseg.core.quality.array_archive import read_arrays
from napari_medseg.core.quality.image_fingerprint import MAX_PLANES, Fingerprint, compute_fingerprint
from napari_medseg.core.quality.shared_content import FingerprintBook, Likeness, SharedContent
from napari_medseg.core.records import Case
from napari_medseg.core.snapshot import SnapshotItem
from napari_medseg.workflow.hold_out.kept_comparisons import KeptComparisons

CHECKS_FOLDER = "checks-3"
"""Increase the number when a check or the fingerprint is changed, so that older cached results are ignored."""
COMPARISONS_FILE = "shared_content.npz"
MAX_PLANES_IN_MEMORY = 4096
"""Of hold-out images whose fingerprints are in memory together, 50 KB each."""


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
    kept = folder / CHECKS_FOLDER / f"{_name_case(case)}.npz"
    return _read_fingerprint(kept) or _write_fingerprint(kept, compute_fingerprint(read_image_copy(folder, case)))


def read_file_fingerprint(folder: Path, path: Path) -> Fingerprint | None:
    """Return the fingerprint of an image outside the project, from the cache or from the file; `None` if unreadable.

    The cache knows a file by its path, size and time of change.
    """
    try:
        kept = folder / CHECKS_FOLDER / f"{_name_file(path)}.npz"
        return _read_fingerprint(kept) or _write_fingerprint(kept, compute_fingerprint(formats.read(path)))
    except (OSError, MedSegError):
        return None  # the run says that it cannot be read


def _name_case(case: Case) -> str:
    return f"image-{case.content_hash[:24]}"


def _name_file(path: Path) -> str:
    """Return the name of a file's fingerprint; raises `OSError` if there is no such file."""
    state = path.stat()
    return "file-" + hashlib.sha256(f"{path.absolute()}|{state.st_size}|{state.st_mtime_ns}".encode()).hexdigest()[:24]


def find_shared_cases(folder: Path, learnt: Sequence[Case], held_out: Sequence[Case]) -> list[SharedContent]:
    """Find training cases that show the same as a hold-out case; positions are those in the two lists."""
    found = [shared for some in iter_shared_cases(folder, learnt, held_out) for shared in some]
    return sorted(found, key=lambda shared: (shared.one, shared.other))


def iter_shared_cases(
    folder: Path, learnt: Sequence[Case], held_out: Sequence[Case]
) -> Generator[list[SharedContent], None, None]:
    """Yield what `find_shared_cases` finds, case after case; what was compared is kept if it ends early.

    Hold-out cases are taken some at a time, so that thousands of cases are compared within bounded memory.
    """
    return _compare(
        folder, [_make_source(folder, one) for one in learnt], [_make_source(folder, one) for one in held_out]
    )


def find_replayed_copies(
    folder: Path, replayed: Sequence[SnapshotItem], held_out: Sequence[Case]
) -> list[ReplayedCopy]:
    """Find images to be replayed that show the same as a hold-out case."""
    known: list[tuple[SnapshotItem, _Source]] = []
    for item in replayed if held_out else ():
        with contextlib.suppress(OSError):  # the run says that it is missing
            path = Path(item.image)
            known.append((item, _Source(_name_file(path), partial(read_file_fingerprint, folder, path), 1)))
    steps = _compare(folder, [source for _, source in known], [_make_source(folder, case) for case in held_out])
    found = sorted((shared for step in steps for shared in step), key=lambda shared: (shared.one, shared.other))
    return [ReplayedCopy(known[shared.one][0], held_out[shared.other], shared.likeness) for shared in found]


@dataclass(frozen=True)
class _Source:
    """An image to compare: the name of its fingerprint in the cache, how to get it, and its number of planes."""

    name: str
    load: Callable[[], Fingerprint | None]
    n_planes: int


def _make_source(folder: Path, case: Case) -> _Source:
    n_planes = min(MAX_PLANES, case.shape[0]) if case.axes.startswith("Z") else 1
    return _Source(_name_case(case), partial(read_case_fingerprint, folder, case), n_planes)


def _compare(
    folder: Path, ones: Sequence[_Source], others: Sequence[_Source]
) -> Generator[list[SharedContent], None, None]:
    """Compare two sets like `find_shared_content`; pairs that were compared before are taken from the cache."""
    if not ones or not others:
        return
    kept = KeptComparisons(folder / CHECKS_FOLDER / COMPARISONS_FILE)
    kept.add_names([one.name for one in ones], [other.name for other in others])
    try:
        begin = 0
        for part in _split(others):
            names, books = [other.name for other in part], dict[tuple[int, ...], FingerprintBook]()
            for index, one in enumerate(ones):
                if new := tuple(kept.list_new(one.name, names)):
                    _compare_one(kept, one, part, new, books)
                yield [
                    replace(found, one=index, other=begin + found.other) for found in kept.list_found(one.name, names)
                ]
            begin += len(part)
    finally:
        kept.save()


def _split(others: Sequence[_Source]) -> Iterator[list[_Source]]:
    """Yield the others in order, some at a time, with at most `MAX_PLANES_IN_MEMORY` planes together."""
    part: list[_Source] = []
    n_planes = 0
    for other in others:
        if part and n_planes + other.n_planes > MAX_PLANES_IN_MEMORY:
            yield part
            part, n_planes = [], 0
        part.append(other)
        n_planes += other.n_planes
    yield part


def _compare_one(
    kept: KeptComparisons,
    one: _Source,
    part: Sequence[_Source],
    new: tuple[int, ...],
    books: dict[tuple[int, ...], FingerprintBook],
) -> None:
    """Compare an image with those of a part that are new to it; the same ones are prepared once."""
    if (fingerprint := one.load()) is None:
        return
    if new not in books:
        books.clear()  # one book at a time: usually all images ask for the same
        loaded = [part[at].load() for at in new]
        books[new] = FingerprintBook([each for each in loaded if each is not None])
    kept.add(one.name, [part[at].name for at in new], books[new].find_shared(fingerprint))


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
