"""Scores of numbered objects (instance segmentation).

If both images have no objects, all scores are 1. If only one of them has objects, all scores are 0.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.quality.object_counts import renumber_consecutively

MATCH_ABOVE_IOU = 0.5
"""Above this IoU, an object can match at most one other object."""


@dataclass(frozen=True)
class ObjectScores:
    """Scores of one image, each in [0, 1].

    Parameters
    ----------
    aji
        Aggregated Jaccard index (Kumar et al., TMI 2017).
    pq, dq, sq
        Panoptic quality and its factors, detection and segmentation quality (Kirillov et al., CVPR 2019).
    f1
        F1 of objects matched at an IoU above 0.5; equal to the detection quality.
    n_predicted, n_reference
        Number of objects in the prediction and in the reference.
    """

    aji: float
    pq: float
    dq: float
    sq: float
    n_predicted: int
    n_reference: int

    @property
    def f1(self) -> float:
        """F1 of the matched objects."""
        return self.dq


def compute_object_scores(prediction: NDArray[Any], reference: NDArray[Any]) -> ObjectScores:
    """Compare two arrays of numbered objects (integers, 0 is background) of the same shape, (y, x) or (z, y, x).

    Raises
    ------
    MedSegError
        If the shapes differ.
    """
    if prediction.shape != reference.shape:
        raise MedSegError(
            f"objects of shape {prediction.shape} cannot be compared with {reference.shape}; "
            "both must belong to the same image."
        )
    (ours, n_ours), (theirs, n_theirs) = renumber_consecutively(prediction), renumber_consecutively(reference)
    if not n_ours or not n_theirs:
        same = float(n_ours == n_theirs)
        return ObjectScores(same, same, same, same, n_ours, n_theirs)
    both = (ours > 0) & (theirs > 0)
    pairs, overlap = np.unique(theirs[both].astype(np.int64) * (n_ours + 1) + ours[both], return_counts=True)
    their_number, our_number = np.divmod(pairs, n_ours + 1)
    our_area, their_area = np.bincount(ours.ravel()), np.bincount(theirs.ravel())
    union = our_area[our_number] + their_area[their_number] - overlap
    share = overlap / union
    matched = share > MATCH_ABOVE_IOU
    n_matched = int(np.count_nonzero(matched))
    dq = 2.0 * n_matched / (n_ours + n_theirs)
    sq = float(share[matched].mean()) if n_matched else 0.0
    best = _find_best_pairs(their_number, share)
    used_theirs, used_ours = np.unique(their_number[best]), np.unique(our_number[best])
    missed = their_area[1:].sum() - their_area[used_theirs].sum()
    invented = our_area[1:].sum() - our_area[used_ours].sum()
    aji = float(overlap[best].sum() / (union[best].sum() + missed + invented))
    return ObjectScores(aji, dq * sq, dq, sq, n_ours, n_theirs)


def _find_best_pairs(their_number: NDArray[np.int64], share: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the index of the pair with the largest IoU for each reference object that overlaps a predicted one."""
    order = np.lexsort((-share, their_number))
    first = np.concatenate([[True], np.diff(their_number[order]) > 0])
    best: NDArray[np.int64] = order[first]
    return best
