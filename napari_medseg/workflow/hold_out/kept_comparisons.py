"""Which images were compared already, and which of them show the same: a small file of the project's cache.

It holds a bit for each pair, so that a project of thousands of cases reads it in milliseconds.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.atomic_io import atomic_write
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.quality.array_archive import read_arrays
from napari_medseg.core.quality.shared_content import Likeness, SharedContent

logger = logging.getLogger(__name__)


class KeptComparisons:
    """The comparisons of a project; read from its file, of which a damaged one counts as empty.

    Images are known by the names of their fingerprints. Those of the first set are rows, those of the second columns.

    Parameters
    ----------
    path
        The file; it may not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: dict[str, int] = {}
        self._columns: dict[str, int] = {}
        self._compared: NDArray[np.bool_] = np.zeros((0, 0), bool)
        self._found: dict[str, dict[str, tuple[Likeness, float]]] = {}
        self._is_changed = False
        try:
            self._read()
        except (OSError, ValueError, TypeError, KeyError, IndexError):
            self._rows, self._columns, self._found = {}, {}, {}
            self._compared = np.zeros((0, 0), bool)

    def add_names(self, ones: Sequence[str], others: Sequence[str]) -> None:
        """Make room for images; call it before the other functions are asked about them."""
        for name in ones:
            self._rows.setdefault(name, len(self._rows))
        for name in others:
            self._columns.setdefault(name, len(self._columns))
        more = [
            (0, len(known) - size)
            for known, size in zip((self._rows, self._columns), self._compared.shape, strict=True)
        ]
        if any(end for _, end in more):
            self._compared = np.pad(self._compared, more)

    def list_new(self, one: str, others: Sequence[str]) -> list[int]:
        """Return the positions of those others that `one` was not compared with."""
        row = self._compared[self._rows[one]]
        return np.flatnonzero(~row[[self._columns[name] for name in others]]).tolist()

    def add(self, one: str, others: Sequence[str], found: Sequence[SharedContent]) -> None:
        """Keep that `one` was compared with others; positions of `found` are those in `others`."""
        self._compared[self._rows[one], [self._columns[name] for name in others]] = True
        for shared in found:
            self._found.setdefault(one, {})[others[shared.other]] = (shared.likeness, shared.similarity)
        self._is_changed = True

    def list_found(self, one: str, others: Sequence[str]) -> list[SharedContent]:
        """Return those others that show the same as `one`, by their positions; `one` has position 0."""
        known = self._found.get(one)
        return [SharedContent(0, at, *known[name]) for at, name in enumerate(others) if name in known] if known else []

    def save(self) -> None:
        """Write the file if something is new; if that is impossible, the comparisons are made again next time."""
        if not self._is_changed:
            return
        pairs = [(one, other, *measured) for one, of in self._found.items() for other, measured in of.items()]
        try:
            with atomic_write(self._path) as beside:
                np.savez(
                    beside,
                    rows=np.array(list(self._rows), str),
                    columns=np.array(list(self._columns), str),
                    compared=np.packbits(self._compared),
                    ones=np.array([pair[0] for pair in pairs], str),
                    others=np.array([pair[1] for pair in pairs], str),
                    likenesses=np.array([pair[2].value for pair in pairs], str),
                    similarities=np.array([pair[3] for pair in pairs], float),
                )
            self._is_changed = False
        except MedSegError as error:
            logger.info("%s", error)

    def _read(self) -> None:
        kept = read_arrays(self._path)
        rows, columns = kept["rows"].tolist(), kept["columns"].tolist()
        n_pairs = len(rows) * len(columns)
        compared = np.unpackbits(kept["compared"], count=n_pairs).astype(bool).reshape(len(rows), len(columns))
        names = (
            kept["ones"].tolist(),
            kept["others"].tolist(),
            kept["likenesses"].tolist(),
            kept["similarities"].tolist(),
        )
        for one, other, likeness, similarity in zip(*names, strict=True):
            self._found.setdefault(str(one), {})[str(other)] = (Likeness(likeness), float(similarity))
        self._rows = {str(name): index for index, name in enumerate(rows)}
        self._columns = {str(name): index for index, name in enumerate(columns)}
        if (len(self._rows), len(self._columns)) != compared.shape:
            raise ValueError("a name occurs twice")
        self._compared = compared
