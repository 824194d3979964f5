"""Cases that are read when they are needed: an export of two hundred scans does not hold them all in memory."""

from collections.abc import Callable, Iterator, Sequence
from typing import overload

from napari_medseg.workflow.output.export_plan import ExportItem, Row
from napari_medseg.workflow.output.staged_files import is_never_cancelled, raise_if_cancelled

KEPT_BYTES = 256 * 2**20
"""Of images and labels that stay in memory, so that a small export reads its files once: to check, and to write."""


class StoredItems(Sequence[ExportItem]):
    """Accepted cases in the order of their rows. An access may read files; use it in the thread that writes.

    Parameters
    ----------
    rows
        From `output.export.list_accepted_rows`.
    read
        Reads one of them.
    is_cancelled
        Asked before each one is read; then `ExportCancelled` is raised.

    Notes
    -----
    `left_out` says of which cases the image or the labels could not be read, after an export.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        read: Callable[[Row], ExportItem],
        is_cancelled: Callable[[], bool] = is_never_cancelled,
    ) -> None:
        self._rows = list(rows)
        self._read = read
        self._is_cancelled = is_cancelled
        self.left_out: list[str] = []
        self._kept: dict[int, ExportItem] = {}
        self._free_bytes = KEPT_BYTES

    @property
    def left_out_text(self) -> str:
        """Which cases were left out, and why, one line each; empty if none was."""
        return "\n".join(f"Left out: {problem}" for problem in self.left_out)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> ExportItem: ...

    @overload
    def __getitem__(self, index: slice) -> "StoredItems": ...

    def __getitem__(self, index: int | slice) -> "ExportItem | StoredItems":
        if isinstance(index, slice):
            return StoredItems(self._rows[index], self._read, self._is_cancelled)
        place = range(len(self._rows))[index]
        if place in self._kept:
            return self._kept[place]
        raise_if_cancelled(self._is_cancelled)
        item = self._read(self._rows[place])
        if item.n_bytes <= self._free_bytes:
            self._kept[place] = item
            self._free_bytes -= item.n_bytes
        return item

    def __iter__(self) -> Iterator[ExportItem]:
        for place in range(len(self._rows)):
            yield self[place]
