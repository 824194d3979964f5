"""Corrected fields in the labels of a slide: what a person accepted replaces what the model predicted there.

A nucleus on the border of a field stays one: what the model saw of it outside joins what the person drew inside, if
both share most of its part inside. A predicted nucleus that a person deleted is gone, also outside, if most of it lay
in the field.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.workflow.whole_slide.chunk_merge import SAME_SHARE, ObjectRecord, measure_objects
from napari_medseg.workflow.whole_slide.chunks import Box, shift
from napari_medseg.workflow.whole_slide.grid import ModelGrid
from napari_medseg.workflow.whole_slide.prediction import WholeSlide

AROUND_PX = 8
"""What is looked at around a field, beside the nuclei that reach out of it."""


@dataclass(frozen=True, eq=False)
class CorrectedField:
    """The accepted labels of a field.

    Parameters
    ----------
    y, x
        Upper left corner in pixels of level 0.
    downsample
        Pixels of level 0 per pixel of the field.
    labels
        Integers (h, w), on the field's own level.
    reviewed
        bool (h, w): what the person looked at; `None` for all of it.
    """

    y: float
    x: float
    downsample: float
    labels: NDArray[Any]
    reviewed: NDArray[np.bool_] | None = None


def place_on_grid(field: CorrectedField, grid: ModelGrid) -> tuple[Box, NDArray[Any], NDArray[np.bool_]] | None:
    """Return where a field lies on the grid, its labels there (nearest neighbour), and which pixels were reviewed.

    `None` if it lies outside.
    """
    step = grid.downsample / field.downsample
    boxes, indices = [], []
    for begin, length, whole in zip((field.y, field.x), field.labels.shape, (grid.height, grid.width), strict=True):
        first = max(0, round(begin / grid.downsample))
        last = min(whole, round((begin + length * field.downsample) / grid.downsample))
        if last <= first:
            return None
        # the pixel of the field that holds the centre of a pixel of the grid
        centres = ((np.arange(first, last) + 0.5) * grid.downsample - begin) / field.downsample
        boxes.append(slice(first, last))
        indices.append(np.clip(np.floor(centres + 1e-6 * step), 0, length - 1).astype(np.intp))
    labels = field.labels[np.ix_(*indices)]
    reviewed = np.ones(labels.shape, bool) if field.reviewed is None else field.reviewed[np.ix_(*indices)]
    return (boxes[0], boxes[1]), labels, reviewed


def apply_corrections(whole: WholeSlide, fields: Sequence[CorrectedField]) -> int:
    """Write corrected fields into the labels of a slide; return how many lie on it.

    Give it a copy: the prediction in its folder stays what the model predicted.
    """
    n_applied = 0
    for field in fields:
        placed = place_on_grid(field, whole.manifest.grid)
        if placed is None:
            continue
        box, labels, reviewed = placed
        if whole.manifest.definition.instances:
            _apply_objects(whole, box, labels, reviewed)
        else:
            before = whole.labels.read(box)
            whole.labels.write(np.where(reviewed, labels, before).astype(whole.labels.dtype), box)
        n_applied += 1
    return n_applied


def _apply_objects(whole: WholeSlide, box: Box, drawn: NDArray[Any], reviewed: NDArray[np.bool_]) -> None:
    table = whole.table
    inside = whole.labels.read(box)
    met = {record.id: record for record in table.find_objects(np.unique(inside[reviewed & (inside > 0)]).tolist())}
    window = _find_window(box, list(met.values()), whole.labels.shape)
    before = whole.labels.read(window)
    is_reviewed, new = np.zeros(before.shape, bool), np.zeros(before.shape, np.uint32)
    part = shift(box, window)
    is_reviewed[part] = reviewed
    first_id = table.next_id
    kept = np.where(reviewed, drawn, 0)
    values, numbered = np.unique(kept, return_inverse=True)
    numbered = numbered.reshape(kept.shape) + (0 if values[0] == 0 else 1)
    new[part] = np.where(kept > 0, numbered + first_id - 1, 0)
    n_new = int(numbered.max(initial=0))
    after = np.where(is_reviewed, new, before)
    removed, trimmed = [], []
    for record in met.values():
        mask = before == record.id
        n_inside = int(np.count_nonzero(mask & is_reviewed))
        outside = mask & ~is_reviewed
        twin = _find_twin(new[mask & is_reviewed], n_inside)
        if twin or n_inside > SAME_SHARE * record.area_px:
            after[outside] = twin
            removed.append(record.id)
        else:
            trimmed.append(record.id)
    records = measure_objects(
        np.where(after >= first_id, after, 0).astype(np.uint32), first_id, n_new, window, is_corrected=True
    )
    records += [record for one in trimmed for record in measure_objects(_isolate(after, one), one, 1, window)]
    whole.labels.write(after, window)
    for chunk, some in _group_by_chunk(whole, records).items():
        table.correct(removed, some, chunk)
    if not records:
        table.correct(removed, [], 0)


def _find_twin(drawn: NDArray[np.uint32], n_inside: int) -> int:
    """Return the drawn object that covers most of a predicted one's part in the field; 0 if none does."""
    if not drawn.size:
        return 0
    ids, counts = np.unique(drawn[drawn > 0], return_counts=True)
    return int(ids[counts.argmax()]) if ids.size and counts.max() >= SAME_SHARE * n_inside else 0


def _find_window(box: Box, records: Sequence[ObjectRecord], shape: tuple[int, int]) -> Box:
    """Return a field with its surroundings, as wide as the objects that reach out of it."""
    tops, lefts = [record.top for record in records], [record.left for record in records]
    bottoms, rights = [record.bottom for record in records], [record.right for record in records]
    return (
        slice(max(0, min([box[0].start, *tops]) - AROUND_PX), min(shape[0], max([box[0].stop, *bottoms]) + AROUND_PX)),
        slice(max(0, min([box[1].start, *lefts]) - AROUND_PX), min(shape[1], max([box[1].stop, *rights]) + AROUND_PX)),
    )


def _isolate(labels: NDArray[Any], number: int) -> NDArray[np.uint32]:
    return np.where(labels == number, labels, 0).astype(np.uint32)


def _group_by_chunk(whole: WholeSlide, records: Sequence[ObjectRecord]) -> dict[int, list[ObjectRecord]]:
    """Return the records by the chunk in whose core their centres lie."""
    chunks, groups = whole.manifest.chunks, dict[int, list[ObjectRecord]]()
    for record in records:
        row, column = int(record.y) // chunks.core_px, int(record.x) // chunks.core_px
        number = min(row, chunks.n_rows - 1) * chunks.n_columns + min(column, chunks.n_columns - 1)
        groups.setdefault(number, []).append(record)
    return groups
