"""The voxels of a correction that a person painted or called right: they count more in training."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError, report_damage
from napari_medseg.core.project.case_files import write_case_labels
from napari_medseg.core.project.strokes import find_edited_voxels
from napari_medseg.core.project.undo_journal import StrokeJournal, get_journal_path
from napari_medseg.core.records import Case, Correction


@dataclass(frozen=True)
class CertainVoxels:
    """Planes of a volume with such voxels, and the mask of them in the project with its hash; empty if there are none.

    A mask of a program becomes labels in one stroke, so a correction from such a mask has no mask of certain voxels.
    """

    planes: tuple[int, ...] = ()
    mask_file: str = ""
    mask_sha256: str = ""


def find_certain_voxels(folder: Path, case: Case, correction: Correction) -> CertainVoxels | None:
    """Read them from the journal of a correction, and store their mask; `None` if the journal is damaged.

    Only files are accessed, so it may run in a worker thread. A damaged journal is reported.
    """
    path = get_journal_path(folder, correction.review_id)
    if not path.exists():
        return CertainVoxels()
    try:
        edited = find_edited_voxels(StrokeJournal(path).applied_strokes)
    except MedSegError as error:  # the labels are whole; only which of their voxels were edited is not known
        report_damage(f"{case.name} is trained on like a case without strokes: {error}")
        return None
    planes = _list_planes(case, edited)
    if not edited.size or correction.imported:
        return CertainVoxels(planes)
    mask = np.zeros(case.spatial_shape, np.uint8)
    mask.reshape(-1)[edited[edited < mask.size]] = 1
    stored = write_case_labels(folder, case, "certain", mask)
    return CertainVoxels(planes, stored.file, stored.sha256)


def _list_planes(case: Case, edited: NDArray[np.int64]) -> tuple[int, ...]:
    if not case.axes.startswith("Z"):
        return ()
    return tuple(int(plane) for plane in np.unique(edited // (case.shape[1] * case.shape[2])))
